"""What a client knows: the feed folded, frame by frame, into the lists that a snapshot would show.

Theory of operation. A snapshot sets the lists, an event moves them on as the server's own state was moved by it. So at
every cursor a mirror that has seen all frames up to there shows what a fresh snapshot at that cursor would. Only what
the protocol names moves the cursor: an event, a heartbeat, the last part of a snapshot, and the answer of a poll.

A client that changes transports opens the new feed before it lets go of the old one, and sees events twice. Within one
epoch cursors can be compared: what is not after the mirror's own is not folded again.
"""

from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec
from msgspec import UNSET

from cloudchat_core.client_session import Frame, Snapshot
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.events import (
    AnyInstanceEvent,
    Event,
    Joined,
    Left,
    Message,
    PublicEvent,
    Received,
    Redacted,
)
from cloudchat_core.frames import (
    Heartbeat,
    InstanceView,
    OperationView,
    ParticipantView,
    Welcome,
)
from cloudchat_core.workspace import RECENT, redact_message

V = TypeVar("V")

_NOTHING: Final[frozenset[str]] = frozenset()


class Mirror:
    """What is known at `cursor` (empty: nothing yet). The lists are for reading; all are oldest first.

    `participants` by nickname, `messages` (the newest 50) and `worklog` (the newest 50 instance events) by cursor,
    `instances` and `operations` (those under way) by id.
    """

    def __init__(self) -> None:
        """Know nothing: the feed has to begin with a snapshot."""
        self.cursor = ""
        self.participants: dict[str, ParticipantView] = {}
        self.messages: dict[str, Message] = {}
        self.instances: dict[str, InstanceView] = {}
        self.operations: dict[str, OperationView] = {}
        self.worklog: dict[str, AnyInstanceEvent] = {}
        self._parts: list[Snapshot] = []

    def apply(self, frame: Frame | None) -> frozenset[str]:
        """Fold `frame` and return the names of the lists that it changed: `participants`, `messages`, …

        Frames that say nothing about the workspace (answers to commands, a gap, a type that is unknown: None) change
        nothing.
        """
        match frame:
            case Snapshot():
                return self._replace(frame)
            case Event():
                return self._move(frame)
            case Heartbeat():
                self.advance(frame.cursor)
            case Welcome():
                # A new feed: what is missing of the old one's snapshot will not come.
                self._parts.clear()
            case _:
                pass
        return _NOTHING

    def advance(self, cursor: str) -> None:
        """Move to `cursor`, the one that stands in the answer of a poll."""
        self.cursor = cursor

    def snapshot(self) -> Snapshot:
        """Return all that is known, as one snapshot."""
        return Snapshot(
            self.cursor,
            tuple(self.participants.values()),
            tuple(self.messages.values()),
            tuple(self.instances.values()),
            tuple(self.operations.values()),
            tuple(self.worklog.values()),
        )

    def _replace(self, part: Snapshot) -> frozenset[str]:
        if self._parts and self._parts[0].cursor != part.cursor:
            self._parts.clear()
        self._parts.append(part)
        if part.more:
            return _NOTHING
        parts, self._parts = self._parts, []
        self.participants = {one.nickname: one for part in parts for one in part.participants}
        self.messages = {one.cursor: one for part in parts for one in part.messages}
        self.instances = {one.id: one for part in parts for one in part.instances}
        self.operations = {one.id: one for part in parts for one in part.operations}
        self.worklog = {one.cursor: one for part in parts for one in part.worklog}
        self.cursor = part.cursor
        return frozenset({"participants", "messages", "instances", "operations", "worklog"})

    def _move(self, event: PublicEvent) -> frozenset[str]:
        if self._has_seen(event.cursor):
            return _NOTHING
        self.cursor = event.cursor
        match event:
            case Joined():
                self.participants[event.nickname] = ParticipantView(event.nickname, event.at)
                return frozenset({"participants"})
            case Left():
                self.participants.pop(event.nickname, None)
                return frozenset({"participants"})
            case Message():
                self.messages = _newest((*self.messages.items(), (event.cursor, event)))
                return frozenset({"messages"})
            case Redacted():
                known = self.messages.get(event.message)
                if known is None:
                    return _NOTHING
                self.messages[event.message] = redact_message(known)
                return frozenset({"messages"})
            case _:
                self.worklog = _newest((*self.worklog.items(), (event.cursor, event)))
                changed = self._begin(event) if isinstance(event, Received) else self._end(event)
                return frozenset({"worklog", "operations"} | ({"instances"} if changed else set()))

    def _begin(self, event: Received) -> bool:
        ref, view = event.operation, event.instance
        self.operations[ref.id] = OperationView(
            ref.id,
            ref.command,
            view.id,
            event.by,
            done=False,
            received_at=ref.received_at,
            expected=ref.expected,
        )
        listed = view.id in self.instances
        if listed:
            self.instances[view.id] = msgspec.structs.replace(view, operation=ref)
        return listed

    def _end(self, event: AnyInstanceEvent) -> bool:
        view = event.instance
        self.operations.pop(event.operation.id, None)
        if view.state is UNSET:
            return self.instances.pop(view.id, None) is not None
        self.instances[view.id] = view
        return True

    def _has_seen(self, cursor: str) -> bool:
        here, there = parse_cursor(self.cursor), parse_cursor(cursor)
        return (
            here is not None and there is not None and here[0] == there[0] and there[1] <= here[1]
        )


def _newest(items: Iterable[tuple[str, V]]) -> dict[str, V]:
    return dict(list(items)[-RECENT:])
