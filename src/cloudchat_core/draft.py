"""What a decision is made of: the records of one command as they come about, and what is answered."""

from collections.abc import Callable

import msgspec

from cloudchat_core.clock import rfc3339
from cloudchat_core.cursor import format_cursor
from cloudchat_core.events import Accepted, AnyEvent, Memory, Private, Record
from cloudchat_core.frames import Ack, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.workspace import Workspace


class Decision(msgspec.Struct, frozen=True):
    """What follows from a command: records for the log (none: nothing happens), and the answer for who asked."""

    records: tuple[Record, ...] = ()
    reply: Reply | None = None


class Draft:
    """The records of one decision as they come about: each gets the next offset, its cursor and the time."""

    __slots__ = ("at", "ended", "epoch", "forgotten", "limits", "now", "records", "state")

    def __init__(self, limits: Limits, state: Workspace, now: int) -> None:
        self.limits, self.state, self.now, self.at = limits, state, now, rfc3339(now)
        self.epoch, self.forgotten = state.epoch, 0
        self.ended: list[str] = []
        self.records: list[Record] = []

    def add(self, kind: Callable[..., AnyEvent], private: Private, **fields: object) -> None:
        offset = self.state.offset + len(self.records) + 1
        event = kind(cursor=format_cursor(self.epoch, offset), at=self.at, **fields)
        self.records.append(Record(offset, self.now, event, private))

    def room_for(self, operation: str) -> tuple[str, ...]:
        """Return the finished operations that have to go before one more is finished."""
        known, over = self.state.finished, self.forgotten
        over = max(over, len(known) + len(self.ended) + 1 - self.limits.finished_operations)
        room = (*known.oldest(over), *self.ended)[self.forgotten : over]
        self.ended.append(operation)
        self.forgotten = over
        return room

    def finish(self, scope: str, command_id: str, content: str, answer: Ack) -> Decision:
        """Attach the memory of the command to its last record, and say in the answer where that stands.

        `command_id` is empty where it is not to be remembered. A command that changed nothing gets a private record,
        so that it, too, is remembered after a restart.
        """
        if command_id and not self.records:
            self.add(Accepted, Private())
        if not self.records:
            return Decision(reply=msgspec.structs.replace(answer, cursor=self.state.cursor))
        last = self.records[-1]
        ack = msgspec.structs.replace(answer, cursor=last.event.cursor)
        if command_id:
            forget, forget_scopes = self.state.memories.room(scope, self.limits, self.state.present)
            kept = None if answer == Ack(command_id, "") else ack
            memory = Memory(scope, command_id, content, kept, forget, forget_scopes)
            private = msgspec.structs.replace(last.private, memory=memory)
            self.records[-1] = Record(last.offset, last.at, last.event, private)
        return Decision(tuple(self.records), ack)
