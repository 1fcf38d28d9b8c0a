"""What the server says besides events: answers to commands, and the frames that make up a feed."""

import msgspec
from msgspec import UNSET, UnsetType


class OperationRef(msgspec.Struct, frozen=True, gc=False):
    """An operation as events and answers name it; moments are RFC 3339."""

    id: str
    command: str
    received_at: str
    expected: str | UnsetType = UNSET


class InstanceView(msgspec.Struct, frozen=True, gc=False):
    """An instance as everybody may see it; `state` (`running`, `stopped`) is left out while there is none."""

    id: str
    state: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    created_at: str | UnsetType = UNSET


class Problem(msgspec.Struct, frozen=True):
    """Why an operation failed: `reason` for machines, `detail` for people."""

    reason: str
    detail: str


class OperationView(msgspec.Struct, frozen=True, gc=False):
    """An operation as a resource: under way (`done` false), or with its outcome (the event's type)."""

    id: str
    command: str
    instance: str
    by: str | None
    done: bool
    received_at: str
    expected: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET
    error: Problem | UnsetType = UNSET
    done_at: str | UnsetType = UNSET


class Ack(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ack"):
    """The command happened, durably; `cursor` is where its last event stands (or the log's head)."""

    id: str
    cursor: str
    nickname: str | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    instance: InstanceView | UnsetType = UNSET


class Refusal(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """The command was declined and left no trace; `code` is one of `cloudchat_core.errors.Code`."""

    id: str | None
    code: str
    detail: str
    suggestions: tuple[str, ...] | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    retry_after: float | UnsetType = UNSET


Reply = Ack | Refusal
"""Each command is answered by exactly one of these."""


class WireLimits(msgspec.Struct, frozen=True):
    """The limits that a client needs to know."""

    text: int
    nickname: int
    frame: int
    unanswered: int


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    """The first frame of a feed; `feed` is its random name, `heartbeat` in seconds."""

    protocol: str
    feed: str
    cursor: str
    at: str
    heartbeat: float
    limits: WireLimits


class Gap(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """What came after the cursor `after` is lost to this feed: `retention`, `epoch`, `future` or `invalid`."""

    after: str
    reason: str


class ParticipantView(msgspec.Struct, frozen=True):
    """Who is here, since when (RFC 3339)."""

    nickname: str
    since: str


class Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing happened up to `cursor`, this feed's own position."""

    cursor: str
    at: str


class Closing(msgspec.Struct, frozen=True, tag_field="type", tag="closing"):
    """A planned end; come back after `retry_after` seconds."""

    retry_after: float
