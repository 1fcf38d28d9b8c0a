"""What the server says besides events: answers to commands, and the frames that make up a feed."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from cloudchat_core.fields import (
    Asker,
    CommandId,
    CursorText,
    ErrorCode,
    FeedName,
    InstanceId,
    InstanceName,
    InstanceState,
    Moment,
    Nickname,
    OperationId,
    Outcome,
    Seconds,
    Verb,
)


class OperationRef(msgspec.Struct, frozen=True, gc=False):
    """An operation as events and answers name it; moments are RFC 3339."""

    id: OperationId
    command: Verb
    received_at: Moment
    expected: Moment | UnsetType = UNSET


class InstanceView(msgspec.Struct, frozen=True, gc=False):
    """An instance as everybody may see it; `state` (`running`, `stopped`) is left out while there is none."""

    id: InstanceId
    state: InstanceState | UnsetType = UNSET
    name: InstanceName | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    created_at: Moment | UnsetType = UNSET


class Problem(msgspec.Struct, frozen=True):
    """Why an operation failed: `reason` for machines, `detail` for people."""

    reason: str
    detail: str


class OperationView(msgspec.Struct, frozen=True, gc=False):
    """An operation as a resource: under way (`done` false), or with its outcome (the event's type)."""

    id: OperationId
    command: Verb
    instance: InstanceId
    by: Asker
    done: bool
    received_at: Moment
    expected: Moment | UnsetType = UNSET
    outcome: Outcome | UnsetType = UNSET
    error: Problem | UnsetType = UNSET
    done_at: Moment | UnsetType = UNSET


class Ack(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="ack"):
    """The command happened, durably; `cursor` is where its last event stands (or the log's head)."""

    id: CommandId
    cursor: CursorText
    nickname: Nickname | UnsetType = UNSET
    resumed: bool | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    instance: InstanceView | UnsetType = UNSET


class Refusal(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag="error"):
    """The command was declined and left no trace; `code` is one of `cloudchat_core.errors.Code`."""

    id: CommandId | None
    code: ErrorCode
    detail: str
    suggestions: tuple[Nickname, ...] | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    retry_after: Seconds | UnsetType = UNSET


Reply = Ack | Refusal
"""Each command is answered by exactly one of these."""


class WireLimits(msgspec.Struct, frozen=True):
    """The limits that a client needs to know."""

    text: Annotated[int, Meta(description="Code points of a text.")]
    nickname: Annotated[int, Meta(description="Code points of a nickname.")]
    frame: Annotated[int, Meta(description="Bytes of a frame, either way.")]
    unanswered: Annotated[int, Meta(description="Commands that a client may have unanswered.")]


class Welcome(msgspec.Struct, frozen=True, tag_field="type", tag="welcome"):
    """The first frame of a feed; `feed` is its random name, `heartbeat` in seconds."""

    protocol: Annotated[str, Meta(extra_json_schema={"const": "cloudchat.v1"})]
    feed: FeedName
    cursor: CursorText
    at: Moment
    heartbeat: Seconds
    limits: WireLimits


class Gap(msgspec.Struct, frozen=True, tag_field="type", tag="gap"):
    """What came after the cursor `after` is lost to this feed: `retention`, `epoch`, `future` or `invalid`."""

    after: str
    reason: Annotated[
        str, Meta(extra_json_schema={"enum": ["retention", "epoch", "future", "invalid"]})
    ]


class ParticipantView(msgspec.Struct, frozen=True):
    """Who is here, since when (RFC 3339)."""

    nickname: Nickname
    since: Moment


class Heartbeat(msgspec.Struct, frozen=True, tag_field="type", tag="heartbeat"):
    """Nothing happened up to `cursor`, this feed's own position."""

    cursor: CursorText
    at: Moment


class Closing(msgspec.Struct, frozen=True, tag_field="type", tag="closing"):
    """A planned end; come back after `retry_after` seconds."""

    retry_after: Seconds
