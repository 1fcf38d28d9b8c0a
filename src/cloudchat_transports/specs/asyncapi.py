"""The feeds as an AsyncAPI 3.0 document: https://www.asyncapi.com/docs/reference/specification/v3.0.0.

It is written from the server's side: it *receives* commands and *sends* frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cloudchat_core.frames import Ack, Heartbeat, Refusal
from cloudchat_core.schemas import COMMANDS, FRAMES, example, schemas, summary, tag
from cloudchat_transports.responses import JSON
from cloudchat_transports.specs.info import info
from cloudchat_transports.specs.operations import PARAMETERS, PollAnswer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    import msgspec

    from cloudchat_core.limits import Limits

_ABOUT: Final = (
    "A feed over WebSocket, server-sent events or long-polling; all three carry the same frames. Commands go up the "
    "WebSocket, or by `POST /v1/commands`. Members that are not described here may be added to any object, and types "
    "of frames may be added: clients ignore what they do not know. The resources are described by OpenAPI, at "
    "`/v1/openapi.json`."
)
_ANSWERS: Final = (tag(Ack), tag(Refusal))
_COMMANDS: Final = tuple(map(tag, COMMANDS))
_FRAMES: Final = tuple(map(tag, FRAMES))
_STREAMED: Final = tuple(name for name in _FRAMES if name not in _ANSWERS)
_POLLED: Final = tuple(name for name in _STREAMED if name != tag(Heartbeat))


class _Channel(NamedTuple):
    """What a channel is, the messages that it carries, and the parameters that its address takes."""

    about: str
    messages: tuple[str, ...]
    parameters: tuple[str, ...]


_CHANNELS: Final = {
    "ws": _Channel(
        "WebSocket. Each message is a text frame; the subprotocol is `cloudchat.v1`.",
        (*_COMMANDS, *_FRAMES),
        ("After", "Topics", "Workspace"),
    ),
    "sse": _Channel(
        "Server-sent events. `event` is the frame's type, `data` the frame, `id` the cursor where the frame moves it; "
        "`Last-Event-ID` wins over `after`.",
        _STREAMED,
        ("After", "Topics", "Workspace"),
    ),
    "poll": _Channel(
        "Long-polling. The cursor of each answer is the `after` of the next request.",
        ("polled",),
        ("After", "Topics", "Wait", "Workspace"),
    ),
    "commands": _Channel(
        "Commands by POST: one, or a list of them that is answered by a list.",
        (*_COMMANDS, *_ANSWERS),
        ("Workspace",),
    ),
}
"""The channels of a server, each at `/v1/NAME`."""

_TOKEN: Final = {
    "type": "httpApiKey",
    "in": "header",
    "name": "Cloudchat-Token",
    "description": (
        "The participation token, a bearer's secret. On a WebSocket it is given in `join` instead. Who has none reads, "
        "and takes no part."
    ),
}


def servers(host: str, root: str = "", *, secure: bool = False) -> dict[str, Any]:
    """Return the `servers` of a document: found at `host` (and port), mounted at `root`, behind TLS or not."""
    place = {"host": host, **({"pathname": root} if root else {})}
    token = {"$ref": "#/components/securitySchemes/participation"}
    return {
        "websocket": {**place, "protocol": "wss" if secure else "ws"},
        "http": {**place, "protocol": "https" if secure else "http", "security": [token]},
    }


def asyncapi(limits: Limits, transports: Collection[str]) -> dict[str, Any]:
    """Return the document for a server on this machine with these `limits` and `transports`."""
    names = [name for name in _CHANNELS if name in {*transports, "commands"}]

    (polled, *_), shared = schemas([PollAnswer, *COMMANDS, *FRAMES], limits)
    messages = {tag(kind): _message(kind) for kind in (*COMMANDS, *FRAMES)}
    messages["polled"] = {
        "name": "polled",
        "title": "The answer to a poll",
        "summary": summary(PollAnswer),
        "payload": polled,
    }
    return {
        "asyncapi": "3.0.0",
        "info": info("cloudchat feeds", _ABOUT),
        "defaultContentType": JSON,
        "servers": servers("localhost:8000"),
        "channels": {name: _channel(name) for name in names},
        "operations": {key: each for name in names for key, each in _operations(name).items()},
        "components": {
            "messages": messages,
            "schemas": {name: _plain(schema) for name, schema in shared.items()},
            "securitySchemes": {"participation": _TOKEN},
        },
    }


def _message(kind: type[msgspec.Struct]) -> dict[str, Any]:
    name = tag(kind)
    return {
        "name": name,
        "title": kind.__name__,
        "summary": summary(kind),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
        "examples": [{"name": name, "payload": example(kind)}],
    }


def _plain(schema: Any) -> Any:
    """Leave out `discriminator`, which is another thing in AsyncAPI; `type` tells members of a union apart anyway."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "discriminator"}
    return schema


def _channel(name: str) -> dict[str, Any]:
    about, messages, parameters = _CHANNELS[name]
    channel: dict[str, Any] = {
        "address": f"/v1/{name}",
        "description": about,
        "servers": [{"$ref": f"#/servers/{'websocket' if name == 'ws' else 'http'}"}],
        "messages": {each: {"$ref": f"#/components/messages/{each}"} for each in messages},
    }
    if name == "ws":
        query = _query(parameters)
        channel["bindings"] = {"ws": {"method": "GET", "query": query}}
    return channel


def _operations(name: str) -> dict[str, Any]:
    """Return what the server does on a channel: it receives commands and answers them, and sends frames."""
    _, messages, parameters = _CHANNELS[name]
    operations: dict[str, Any] = {}

    def add(action: str, summary: str, method: str, *told: str, **more: Any) -> None:
        operation = {
            "action": action,
            "channel": {"$ref": f"#/channels/{name}"},
            "summary": summary,
            "messages": _some(name, told),
            **more,
        }
        if name != "ws":
            http = {"method": method, "query": _query(parameters)}
            operation["bindings"] = {"http": http}
        operations[f"{action}On{name.capitalize()}"] = operation

    if _COMMANDS[0] in messages:
        reply = {"channel": {"$ref": f"#/channels/{name}"}, "messages": _some(name, _ANSWERS)}
        about = "Commands; each is answered by exactly one `ack` or `error`."
        add("receive", about, "POST", *_COMMANDS, reply=reply)
    if told := [each for each in (*_STREAMED, "polled") if each in messages]:
        add("send", "The feed.", "GET", *told)
    return operations


def _some(channel: str, names: Iterable[str]) -> list[dict[str, str]]:
    return [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names]


def _query(names: Iterable[str]) -> dict[str, Any]:
    """Return the parameters of a query as the schema of an object."""
    return {
        "type": "object",
        "properties": {
            PARAMETERS[name]["name"]: {
                **PARAMETERS[name]["schema"],
                "description": PARAMETERS[name]["description"],
            }
            for name in names
        },
    }
