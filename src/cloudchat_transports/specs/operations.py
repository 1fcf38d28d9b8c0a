"""What can be asked over HTTP: one `Operation` for each route, of which the OpenAPI document is made.

What stands in bodies is a message type or one of the resources' own types, and errors are codes of the protocol: their
statuses and headers are those of `responses.py`. So this table says only which of them belong together.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from cloudchat_core.client_session import Snapshot
from cloudchat_core.commands import ClientCommand
from cloudchat_core.cursor import CURSOR_LENGTH
from cloudchat_core.errors import Code
from cloudchat_core.events import TOPICS, AnyInstanceEvent, Message, PublicEvent
from cloudchat_core.fields import CursorText
from cloudchat_core.frames import (
    Closing,
    Gap,
    InstanceView,
    OperationView,
    ParticipantView,
    Reply,
    Welcome,
)
from cloudchat_transports.feeds import WORKSPACE
from cloudchat_transports.metrics import CONTENT_TYPE as EXPOSITION
from cloudchat_transports.orders import Begun, InstancePlan, InstanceWish
from cloudchat_transports.poll.server import LONGEST_WAIT, WAIT
from cloudchat_transports.resources import LONGEST_PAGE, PAGE
from cloudchat_transports.responses import JSON
from cloudchat_transports.sse.server import CONTENT_TYPE as EVENT_STREAM

_FRAME: Final = {
    "contentMediaType": JSON,
    "contentSchema": {"$ref": "#/components/schemas/Frame"},
}


class MessagePage(msgspec.Struct, frozen=True):
    """Messages, newest first; `next` is the `before` of the next page, null on the last."""

    items: tuple[Message, ...]
    next: CursorText | None


class WorklogPage(msgspec.Struct, frozen=True):
    """Events of instances, newest first; `next` is the `before` of the next page, null on the last."""

    items: tuple[AnyInstanceEvent, ...]
    next: CursorText | None


class PollAnswer(msgspec.Struct, frozen=True):
    """What came after the cursor that the poll named; `cursor` is the `after` of the next poll."""

    frames: tuple[Welcome | Gap | Snapshot | Closing | PublicEvent, ...]
    cursor: CursorText


class StreamEvent(msgspec.Struct, frozen=True):
    """One event of an event stream (WHATWG HTML §9.2); `id` is there where the frame moves the reader's cursor."""

    event: Annotated[str, msgspec.Meta(description="The frame's type.")]
    data: Annotated[str, msgspec.Meta(description="The frame.", extra_json_schema=_FRAME)]
    id: CursorText | msgspec.UnsetType = msgspec.UNSET


Commands = Annotated[
    tuple[ClientCommand, ...], msgspec.Meta(extra_json_schema={"maxItems": "commands_per_list"})
]


class Health(msgspec.Struct, frozen=True):
    """All is well."""

    status: Literal["ok"]


class Operation(msgspec.Struct, frozen=True):
    """One method of one path. `name` is unique; `body` and `answer` are types, None where there is none.

    `status` and `media` (empty: nothing) are those of the answer when all goes well, `codes` the errors beside those
    that any request may get. `parameters` and `headers` are names of `PARAMETERS` and `HEADERS`.
    """

    name: str
    summary: str
    tag: str
    answer: Any = None
    status: int = 200
    media: str = JSON
    parameters: tuple[str, ...] = ()
    body: Any = None
    body_required: bool = True
    headers: tuple[str, ...] = ()
    codes: tuple[Code, ...] = ()
    statuses: tuple[tuple[int, Code], ...] = ()
    """Errors whose status is not that of their code."""
    details: str = ""


def _query(name: str, schema: dict[str, Any], description: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": description, "schema": schema, **more}


def _header(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": schema}


_STRING: Final = {"type": "string"}

PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "Workspace": _query(
        "workspace",
        {"type": "string", "default": WORKSPACE},
        "Which workspace; an unknown one is `404`.",
    ),
    "After": _query(
        "after",
        {"type": "string", "maxLength": CURSOR_LENGTH},
        "The cursor after which the feed goes on; without one it begins with a snapshot.",
    ),
    "Topics": _query(
        "topics",
        {"type": "array", "items": {"type": "string", "enum": list(TOPICS)}},
        "What the feed is about; without: all topics.",
        style="form",
        explode=False,
    ),
    "Wait": _query(
        "wait",
        {"type": "number", "default": WAIT},
        f"Seconds to wait for something to tell; clamped to 0 to {LONGEST_WAIT:g}.",
    ),
    "Before": _query(
        "before",
        {"type": "string", "maxLength": CURSOR_LENGTH},
        "The cursor before which the page begins, exclusive; without: at the newest.",
    ),
    "Limit": _query(
        "limit",
        {"type": "integer", "default": PAGE},
        f"How many items; clamped to 1 to {LONGEST_PAGE}.",
    ),
    "Id": {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
    "IfNoneMatch": _header(
        "If-None-Match", _STRING, "The `ETag` that the client has; `304` while it is current."
    ),
    "LastEventId": _header(
        "Last-Event-ID",
        {"type": "string", "maxLength": CURSOR_LENGTH},
        "The cursor after which the stream goes on; it wins over `after`.",
    ),
    "IdempotencyKey": _header(
        "Idempotency-Key",
        {"type": "string", "pattern": r'^("[A-Za-z0-9._:-]{1,64}"|[A-Za-z0-9._:-]{1,64})$'},
        "Sent again with the same key, the request happens once. Without a token it is a UUID.",
    ),
}
"""Parameters, by the name of their component."""

_SECONDS: Final = {"type": "integer", "minimum": 1}

HEADERS: Final[dict[str, dict[str, Any]]] = {
    "ETag": {"description": "A validator (RFC 9110 §8.8.3).", "schema": _STRING},
    "Location": {"description": "The URL of the operation.", "schema": _STRING},
    "Retry-After": {"description": "Seconds after which to come back.", "schema": _SECONDS},
    "WWW-Authenticate": {"description": "The header that carries a token.", "schema": _STRING},
    "Upgrade": {"description": "`websocket`.", "schema": _STRING},
}
"""Headers of answers, by name; where one belongs to an answer, it is always there."""

ERRORS: Final = (Code.BAD_REQUEST, Code.FORBIDDEN, Code.NOT_FOUND, Code.INTERNAL)
"""What any request may be answered with: its headers or query, its origin, its workspace, a bug."""

_READ: Final[dict[str, Any]] = {"tag": "resources", "headers": ("ETag",)}
_ORDER: Final[dict[str, Any]] = {
    "tag": "resources",
    "answer": Begun,
    "status": 202,
    "headers": ("Location",),
    "statuses": ((408, Code.BAD_REQUEST),),
}
_BODY_CODES: Final = (Code.BAD_JSON, Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE)
_ORDER_CODES: Final = (
    *_BODY_CODES,
    Code.BAD_COMMAND,
    Code.TOKEN_INVALID,
    Code.ID_REUSED,
    Code.UNAVAILABLE,
)
_INSTANCE_CODES: Final = (Code.INSTANCE_UNKNOWN, Code.INSTANCE_BUSY, Code.INSTANCE_STATE)
_PAGE_PARAMETERS: Final = ("Before", "Limit", "IfNoneMatch")
_PAGE_CODES: Final = (Code.GONE, Code.UNAVAILABLE)

OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/v1/instances"): Operation(
        "listInstances",
        "All instances",
        answer=tuple[InstanceView, ...],
        parameters=("IfNoneMatch",),
        **_READ,
    ),
    ("POST", "/v1/instances"): Operation(
        "createInstance",
        "Create an instance",
        body=InstancePlan,
        body_required=False,
        parameters=("IdempotencyKey",),
        codes=(*_ORDER_CODES, Code.QUOTA_EXCEEDED),
        **_ORDER,
    ),
    ("GET", "/v1/instances/{id}"): Operation(
        "getInstance",
        "An instance",
        "resources",
        InstanceView,
        parameters=("Id",),
        codes=(Code.INSTANCE_UNKNOWN,),
    ),
    ("PATCH", "/v1/instances/{id}"): Operation(
        "changeInstance",
        "Start or stop an instance",
        body=InstanceWish,
        parameters=("Id", "IdempotencyKey"),
        codes=(*_ORDER_CODES, *_INSTANCE_CODES),
        **_ORDER,
    ),
    ("DELETE", "/v1/instances/{id}"): Operation(
        "removeInstance",
        "Remove an instance",
        parameters=("Id", "IdempotencyKey"),
        codes=(*_ORDER_CODES, *_INSTANCE_CODES),
        **_ORDER,
    ),
    ("GET", "/v1/operations"): Operation(
        "listOperations",
        "Operations under way and the newest finished, newest first",
        answer=tuple[OperationView, ...],
        parameters=("IfNoneMatch",),
        **_READ,
    ),
    ("GET", "/v1/operations/{id}"): Operation(
        "getOperation", "An operation", "resources", OperationView, parameters=("Id",)
    ),
    ("GET", "/v1/worklog"): Operation(
        "listWorklog",
        "What happened to instances, page by page, newest first",
        answer=WorklogPage,
        parameters=_PAGE_PARAMETERS,
        codes=_PAGE_CODES,
        **_READ,
    ),
    ("GET", "/v1/messages"): Operation(
        "listMessages",
        "What was said, page by page, newest first",
        answer=MessagePage,
        parameters=_PAGE_PARAMETERS,
        codes=_PAGE_CODES,
        **_READ,
    ),
    ("GET", "/v1/participants"): Operation(
        "listParticipants",
        "Who is here",
        answer=tuple[ParticipantView, ...],
        parameters=("IfNoneMatch",),
        **_READ,
    ),
    ("POST", "/v1/commands"): Operation(
        "sendCommands",
        "Send a command, or a list of them",
        "feeds",
        Reply | tuple[Reply, ...],
        body=ClientCommand | Commands,
        codes=(*_BODY_CODES, Code.TOKEN_INVALID, Code.UNAVAILABLE),
        statuses=((408, Code.BAD_REQUEST),),
        details=(
            "Each command is answered by itself, in the order of the list; one that is refused, or is no command at "
            "all, by an `error` in the `200`. Other statuses refuse the request as a whole."
        ),
    ),
    ("GET", "/v1/ws"): Operation(
        "openWebSocket",
        "The feed and commands over WebSocket",
        "feeds",
        status=101,
        media="",
        parameters=("After", "Topics"),
        headers=("Upgrade",),
        codes=(Code.UNAVAILABLE,),
        statuses=((426, Code.BAD_REQUEST),),
        details="What is said on it is described at `/v1/asyncapi.json`. Subprotocol: `cloudchat.v1`.",
    ),
    ("GET", "/v1/sse"): Operation(
        "openEventStream",
        "The feed as server-sent events",
        "feeds",
        StreamEvent,
        media=EVENT_STREAM,
        parameters=("After", "Topics", "LastEventId"),
        codes=(Code.TOKEN_INVALID,),
        details=(
            "Without an end; each event is as described. "
            "What is `429` or `503` elsewhere is `200` with `retry` and a `closing` frame here."
        ),
    ),
    ("GET", "/v1/poll"): Operation(
        "poll",
        "The feed by long-polling",
        "feeds",
        PollAnswer,
        parameters=("After", "Topics", "Wait"),
        codes=(Code.TOKEN_INVALID, Code.UNAVAILABLE),
    ),
    ("GET", "/v1/openapi.json"): Operation(
        "getOpenApi",
        "This document",
        "meta",
        answer=dict[str, Any],
        parameters=("IfNoneMatch",),
        headers=("ETag",),
    ),
    ("GET", "/v1/asyncapi.json"): Operation(
        "getAsyncApi",
        "The feeds, as AsyncAPI",
        "meta",
        answer=dict[str, Any],
        parameters=("IfNoneMatch",),
        headers=("ETag",),
    ),
    ("GET", "/healthz"): Operation("isAlive", "The server runs", "meta", Health),
    ("GET", "/readyz"): Operation(
        "isReady", "The server accepts commands", "meta", Health, codes=(Code.UNAVAILABLE,)
    ),
    ("GET", "/metrics"): Operation(
        "getMetrics", "Metrics for Prometheus", "meta", media=EXPOSITION
    ),
    ("GET", "/"): Operation(
        "getPage",
        "The web client",
        "meta",
        media="text/html; charset=utf-8",
        parameters=("IfNoneMatch",),
        headers=("ETag",),
    ),
}
"""All operations, by method and path."""
