"""The workspace: one immutable value, and `evolve`, which moves it on by one record.

`evolve` only copies what stands in the record and never raises: whatever had to be looked up was looked up by `decide`
(`decide.py`) and written into the record. So live state, replayed state and snapshot plus tail are the same value.
The state is immutable so that a batch whose append fails is dropped by forgetting it.
"""

from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from cloudchat_core.cursor import Epoch, epoch_at, format_cursor, parse_cursor
from cloudchat_core.events import (
    AnyInstanceEvent,
    Created,
    Failed,
    Forgotten,
    InstanceEvent,
    Joined,
    Left,
    Message,
    Opened,
    Received,
    Record,
    Redacted,
)
from cloudchat_core.frames import Ack, InstanceView
from cloudchat_core.history import OrderedMap
from cloudchat_core.instances import ABSENT, Instance, Operation
from cloudchat_core.memory import Memories
from cloudchat_core.nicknames import Participation, Registry

T = TypeVar("T")

RECENT: Final = 50
"""How many messages, and how many instance events, a snapshot shows (protocol)."""

EPOCHS: Final = 1_000
"""How many openings of the log are on record; a cursor from before them is answered by a gap."""


class Authored(msgspec.Struct, frozen=True, gc=False):
    """A message and the scope that wrote it."""

    message: Message
    author: str


class Workspace(msgspec.Struct, frozen=True):
    """Everything that the log's records up to `offset` amount to; `at` (ms) is the newest record's time."""

    offset: int = 0
    at: int = 0
    epochs: tuple[Epoch, ...] = ()
    participants: Registry = Registry()
    messages: OrderedMap[int, Authored] = OrderedMap()
    worklog: OrderedMap[int, AnyInstanceEvent] = OrderedMap()
    instances: OrderedMap[str, Instance] = OrderedMap()
    operations: OrderedMap[str, Operation] = OrderedMap()
    finished: OrderedMap[str, Operation] = OrderedMap()
    memories: Memories = Memories()

    @property
    def epoch(self) -> str:
        """The name of the epoch that new records belong to; empty before the log was first opened."""
        return self.epochs[-1].name if self.epochs else ""

    @property
    def cursor(self) -> str:
        """The cursor of the log's head."""
        return self.cursor_at(self.offset)

    def cursor_at(self, offset: int) -> str:
        """Return the cursor of `offset`, in the epoch it was appended in."""
        return (
            format_cursor(epoch_at(self.epochs, offset), offset)
            if self.epochs
            else format_cursor("0", offset)
        )

    def present(self, scope: str) -> bool:
        """Tell whether the token with this hash holds a nickname."""
        return self.participants.participation(scope) is not None

    def knows_token(self, scope: str) -> bool:
        """Tell whether the token with this hash has had a command accepted that is still remembered."""
        return scope in self.memories.scopes or self.present(scope)

    def operation_of(self, instance: Instance) -> Operation | None:
        """Return the operation that is under way on `instance`."""
        return None if instance.operation is None else self.operations.get(instance.operation)

    def view_of(self, instance: Instance) -> InstanceView:
        """Return what everybody may see of `instance` now."""
        operation = self.operation_of(instance)
        return instance.view(None if operation is None else operation.ref())

    def listed(self) -> list[InstanceView]:
        """Return the instances that exist, oldest first: from `created` on until `removed`."""
        return [
            self.view_of(instance)
            for instance in self.instances.values()
            if instance.state != ABSENT
        ]


def evolve(state: Workspace, record: Record) -> Workspace:
    """Return the workspace after `record`; never raises for a record that `decide` made."""
    event, private = record.event, record.private
    changes: dict[str, Any] = {"offset": record.offset, "at": max(state.at, record.at)}
    match event:
        case Joined():
            changes["participants"] = state.participants.claim(
                private.holder, Participation(event.nickname, private.key, event.at, record.offset)
            )
        case Left():
            changes["participants"] = state.participants.release(private.holder)
            changes["memories"] = state.memories.touch(private.holder, record.at)
        case Message():
            changes["messages"] = _recent(
                state.messages, record.offset, Authored(event, private.holder)
            )
        case Redacted():
            changes["messages"] = _redact(state.messages, event.message)
        case Received():
            changes |= _begin(state, record, event)
        case InstanceEvent():
            changes |= _finish(state, record, event)
        case Opened():
            changes["epochs"] = (*state.epochs, Epoch(event.epoch, record.offset))[-EPOCHS:]
        case Forgotten():
            changes["memories"] = state.memories.forget(event, state.present)
        case _:  # `Accepted`: there is only the memory
            pass
    if private.memory is not None:
        memory = private.memory
        memories = changes.get("memories", state.memories)
        changes["memories"] = memories.remember(
            memory, memory.ack or Ack(memory.id, event.cursor), record.at
        )
    return msgspec.structs.replace(state, **changes)


def _recent(kept: OrderedMap[int, T], offset: int, value: T) -> OrderedMap[int, T]:
    """Return a copy with one more, and no more than the newest `RECENT`."""
    return kept.set(offset, value, kept.oldest(len(kept) + 1 - RECENT))


def _redact(messages: OrderedMap[int, Authored], cursor: str) -> OrderedMap[int, Authored]:
    parsed = parse_cursor(cursor)
    known = None if parsed is None else messages.get(parsed[1])
    if parsed is None or known is None:
        return messages
    return messages.set(parsed[1], Authored(redact_message(known.message), known.author))


def redact_message(message: Message) -> Message:
    """Return `message` as it stands once its text was taken back."""
    return msgspec.structs.replace(message, text="", redacted=True)


def _begin(state: Workspace, record: Record, event: Received) -> dict[str, Any]:
    ref, view, private = event.operation, event.instance, record.private
    operation = Operation(
        ref.id,
        event.command,
        view.id,
        event.by,
        record.at,
        private.deadline,
        private.expected,
        private.spec,
    )
    known = Instance.from_view(view)
    return {
        "worklog": _recent(state.worklog, record.offset, event),
        "operations": state.operations.set(ref.id, operation),
        "instances": state.instances.set(view.id, msgspec.structs.replace(known, operation=ref.id)),
    }


def _finish(state: Workspace, record: Record, event: AnyInstanceEvent) -> dict[str, Any]:
    view, ref = event.instance, event.operation
    worklog = _recent(state.worklog, record.offset, event)
    operation = state.operations.get(ref.id)
    if operation is None:
        return {"worklog": worklog}
    done = msgspec.structs.replace(
        operation,
        outcome=str(event.__struct_config__.tag),
        reason=event.reason if isinstance(event, Failed) else "",
        detail=event.detail if isinstance(event, Failed) else "",
        done_at=record.at,
        spec=None,
    )
    finished = state.finished
    for old in record.private.forget_operations:
        finished = finished.delete(old)
    instances = state.instances
    if view.state is UNSET or isinstance(event, Created):
        # Listed from `created` on, so its place is that of this event, not of the wish for it.
        instances = instances.delete(view.id)
    if view.state is not UNSET:
        instances = instances.set(view.id, Instance.from_view(view))
    return {
        "worklog": worklog,
        "operations": state.operations.delete(ref.id),
        "finished": finished.set(ref.id, done),
        "instances": instances,
    }
