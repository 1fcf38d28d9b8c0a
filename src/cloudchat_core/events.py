"""What happened: the facts that the log holds and the feed tells.

A `Record` is one entry of the log: the public event and, beside it, what only the server may know (`Private`). Whatever
`decide` looked up stands in one of the two, so that `evolve` only copies and replay depends on no version, no
configuration and no Unicode table. Only the public event is ever framed, paged or exported.

Values like these have no cycles, so the garbage collector need not look through them (`gc=False`, here and in the other
modules whose values a workspace keeps): that took half of a busy node's time.
"""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from cloudchat_core.fields import Asker, CursorText, Moment, Nickname, Text, Verb
from cloudchat_core.frames import Ack, InstanceView, OperationRef

CHAT = "chat"
INSTANCES = "instances"
TOPICS = (CHAT, INSTANCES)
"""The topics of a feed. A record without one (empty) is private: it has an offset, and no feed shows it."""


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=str.lower):
    """A public fact; `cursor` is `<epoch>-<offset>`, `at` RFC 3339 in UTC with milliseconds."""

    topic: ClassVar[str] = ""
    cursor: CursorText
    at: Moment


class Joined(Event, frozen=True):
    """A nickname entered the chat."""

    topic: ClassVar[str] = CHAT
    nickname: Nickname


class Left(Event, frozen=True):
    """A nickname is gone; `reason` is `left`, `disconnected` or `kicked`."""

    topic: ClassVar[str] = CHAT
    nickname: Nickname
    reason: Annotated[str, Meta(extra_json_schema={"enum": ["left", "disconnected", "kicked"]})]


class Message(Event, frozen=True):
    """Something was said; `ref` is the author's command id. A redacted one has an empty text."""

    topic: ClassVar[str] = CHAT
    nickname: Nickname
    text: Text
    ref: str
    redacted: bool | UnsetType = UNSET


class Redacted(Event, frozen=True):
    """The text of the message at cursor `message` was taken back by the nickname `by`."""

    topic: ClassVar[str] = CHAT
    message: CursorText
    by: Asker


class InstanceEvent(Event, frozen=True):
    """What happened to an instance; `by` is who asked, None for callers without a nickname or an identity."""

    topic: ClassVar[str] = INSTANCES
    instance: InstanceView
    operation: OperationRef
    by: Asker


class Received(InstanceEvent, frozen=True):
    """A command on an instance was accepted; the work begins and is expected to end at `expected`."""

    command: Verb
    expected: Moment | UnsetType = UNSET


class Created(InstanceEvent, frozen=True):
    """The instance is there, stopped."""


class Started(InstanceEvent, frozen=True):
    """The instance runs."""


class Stopped(InstanceEvent, frozen=True):
    """The instance is stopped."""


class Removed(InstanceEvent, frozen=True):
    """The instance is gone."""


class Failed(InstanceEvent, frozen=True):
    """The work could not be done; the state is as before."""

    command: Verb
    reason: str
    detail: str


class Opened(Event, frozen=True):
    """A new epoch begins with this record (private)."""

    epoch: str


class Accepted(Event, frozen=True):
    """A command was accepted that changed nothing; only its memory is kept (private)."""


class Forgotten(Event, frozen=True):
    """The memory of commands that are older than these moments (ms since the epoch) is given up (private)."""

    tokens_before: int
    shared_before: int


PublicEvent = (
    Joined | Left | Message | Redacted | Received | Created | Started | Stopped | Removed | Failed
)
"""What a feed may show."""
AnyInstanceEvent = Received | Created | Started | Stopped | Removed | Failed
"""What the worklog holds."""
AnyEvent = PublicEvent | Opened | Accepted | Forgotten
"""What the log may hold."""


class Memory(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An accepted command is remembered: by `scope` and `id`, with the hash of its content and its answer.

    `ack` is left out where it is only the command's id and this record's cursor. `forget` names the ids of the scope
    that make room, `forget_scopes` the scopes that do.
    """

    scope: str = ""
    id: str = ""
    content: str = ""
    ack: Ack | None = None
    forget: tuple[str, ...] = ()
    forget_scopes: tuple[str, ...] = ()


class Private(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """The part of a record that no client sees.

    `holder` is the token hash behind the nickname that joined, left or spoke, `key` the nickname's comparison key.
    `deadline` (ms) is when an operation counts as failed, `spec` its parameters, `forget_operations` the finished ones
    that make room. `provider` names who does the work.
    """

    memory: Memory | None = None
    holder: str = ""
    key: str = ""
    deadline: int = 0
    expected: int = 0
    spec: dict[str, Any] | None = None
    forget_operations: tuple[str, ...] = ()


NOTHING_PRIVATE = Private()


class Record(msgspec.Struct, frozen=True, gc=False):
    """One entry of the log: `offset` (dense, from 1), `at` (ms since the epoch), the event and its private part."""

    offset: int
    at: int
    event: AnyEvent
    private: Private = NOTHING_PRIVATE
