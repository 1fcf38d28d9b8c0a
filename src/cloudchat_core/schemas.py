"""The message types as JSON Schema, with an example of each: what the served specifications are made of.

Everything is read off the types themselves, so a schema says what is encoded and decoded and nothing else. Objects may
have further members: the protocol grows by adding. `Limits` say which numbers hold on this server.
"""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

import msgspec

from cloudchat_core.client_session import Frame, Snapshot
from cloudchat_core.codec import encode
from cloudchat_core.commands import (
    Away,
    ClientCommand,
    Create,
    Join,
    Leave,
    Ping,
    Redact,
    Remove,
    Say,
    Start,
    Stop,
)
from cloudchat_core.errors import Code
from cloudchat_core.events import (
    AnyInstanceEvent,
    Created,
    Failed,
    Joined,
    Left,
    Message,
    Received,
    Redacted,
    Removed,
    Started,
    Stopped,
)
from cloudchat_core.frames import (
    Ack,
    Closing,
    Gap,
    Heartbeat,
    InstanceView,
    OperationRef,
    OperationView,
    ParticipantView,
    Refusal,
    Reply,
    Welcome,
    WireLimits,
)
from cloudchat_core.limits import Limits
from cloudchat_core.session import PROTOCOL

COMMANDS: Final[tuple[type[msgspec.Struct], ...]] = ClientCommand.__args__
"""The types of everything that a client says."""
FRAMES: Final[tuple[type[msgspec.Struct], ...]] = Frame.__args__
"""The types of everything that a server says."""

_PREFIX: Final = "#/components/schemas/"
_TEMPLATE: Final = _PREFIX + "{name}"


_UNIONS: Final[dict[str, Any]] = {
    "Command": ClientCommand,
    "Frame": Frame,
    "Reply": Reply,
    "InstanceEvent": AnyInstanceEvent,
}
"""Unions that go by a name, wherever they stand."""
_NUMBERS: Final = ("maxLength", "maxItems")


def schemas(kinds: Iterable[Any], limits: Limits) -> tuple[list[Any], dict[str, Any]]:
    """Return the schemas of `kinds` (types), and those that they refer to by `#/components/schemas/NAME`."""
    wanted = list(kinds)
    found, shared = msgspec.json.schema_components(
        [*wanted, *_UNIONS.values()], ref_template=_TEMPLATE
    )
    unions = dict(zip(_UNIONS, found[len(wanted) :], strict=True))
    write = _Writer(asdict(limits), unions).write
    own = [write(schema) for schema in found[: len(wanted)]]
    known = {name: write(schema) for name, schema in shared.items()}
    for kind in (*COMMANDS, *FRAMES):
        known[kind.__name__]["examples"] = [example(kind)]
    return own, _reached(own, {**known, **unions})


class _Writer:
    """Puts numbers in place of the limits' names, and names in place of unions.

    What a member is taken for where it is absent is the reader's own matter: those who make types of schemas take one
    with a `default` for one that is always there.
    """

    def __init__(self, numbers: dict[str, Any], unions: dict[str, Any]) -> None:
        self._numbers, self._unions = numbers, unions

    def write(self, schema: Any) -> Any:
        if isinstance(schema, list):
            return [self.write(each) for each in schema]
        if not isinstance(schema, dict):
            return schema
        for name, union in self._unions.items():
            if schema == union:
                return {"$ref": _TEMPLATE.format(name=name)}
        return {
            key: self._numbers[value] if key in _NUMBERS else self.write(value)
            for key, value in schema.items()
            if key != "default"
        }


def _reached(schema: Any, known: dict[str, Any]) -> dict[str, Any]:
    """Return those of `known` to which something in `schema` leads, in their own order."""
    found: set[str] = set()
    rest = [schema]
    while rest:
        each = rest.pop()
        if isinstance(each, list):
            rest += each
        elif isinstance(each, dict):
            rest += each.values()
        elif isinstance(each, str) and each.startswith(_PREFIX) and each not in found:
            found.add(each)
            rest.append(known[each.removeprefix(_PREFIX)])
    return {name: schema for name, schema in known.items() if _PREFIX + name in found}


def tag(kind: type[msgspec.Struct]) -> str:
    """Return what stands in the `type` of a message of this kind."""
    return str(kind.__struct_config__.tag)


def summary(kind: type) -> str:
    """Return the first paragraph of what a type says of itself."""
    return " ".join((kind.__doc__ or "").partition("\n\n")[0].split())


_AT, _LATER = "2026-11-23T10:00:00.000Z", "2026-11-23T10:00:20.000Z"
_WEB, _WORK = "0192f0c1-6d5e-7c3a-9b1f-2f6d1c0e8a41", "0192f0c1-8f7a-7d10-8c55-a94c7be02d13"
_NEW = InstanceView(_WEB, name="web-1")
_IDLE = InstanceView(_WEB, "stopped", "web-1", created_at=_LATER)
_BUSY = InstanceView(_WEB, "running", "web-1", created_at=_LATER)
_CREATE, _START = (OperationRef(_WORK, command, _AT, _LATER) for command in ("create", "start"))
_STOP, _REMOVE = (OperationRef(_WORK, command, _AT, _LATER) for command in ("stop", "remove"))
_SAID = Message("k3f9-43", _AT, "Alexandra", "Making a server.", "c2")

EXAMPLES: Final[tuple[msgspec.Struct, ...]] = (
    Join("c1", "Alexandra", "vX2pQe7mT0aZ5nR8uL1cYw"),
    Leave("c9"),
    Away("c9", "c1"),
    Say("c2", "Making a server."),
    Redact("c8", "k3f9-43"),
    Create("c3", "web-1", {"image": "debian-13"}),
    Start("c4", _WEB),
    Stop("c5", _WEB),
    Remove("c6", _WEB),
    Ping("c7"),
    Welcome(PROTOCOL, "Zk3vQ0aT5nR8uL1c", "k3f9-41", _AT, 15, WireLimits(4096, 32, 65_536, 100)),
    Gap("k3f9-7", "retention"),
    Snapshot(
        "k3f9-47",
        (ParticipantView("Alexandra", _AT),),
        (_SAID,),
        (_IDLE,),
        (OperationView(_WORK, "start", _WEB, "Alexandra", done=False, received_at=_AT),),
        (Created("k3f9-45", _LATER, _IDLE, _CREATE, "Alexandra"),),
    ),
    Heartbeat("k3f9-41", _AT),
    Closing(2.7),
    Ack("c3", "k3f9-44", operation=_CREATE, instance=_NEW),
    Refusal("c1", Code.NICKNAME_TAKEN, "somebody holds this nickname", ("Alexandra2",)),
    Joined("k3f9-42", _AT, "Alexandra"),
    Left("k3f9-50", _AT, "Alexandra", "disconnected"),
    _SAID,
    Redacted("k3f9-49", _AT, "k3f9-43", "Alexandra"),
    Received("k3f9-44", _AT, _NEW, _CREATE, "Alexandra", "create", _LATER),
    Created("k3f9-45", _LATER, _IDLE, _CREATE, "Alexandra"),
    Started("k3f9-46", _LATER, _BUSY, _START, None),
    Stopped("k3f9-47", _LATER, _IDLE, _STOP, None),
    Removed("k3f9-48", _LATER, _IDLE, _REMOVE, "Alexandra"),
    Failed("k3f9-46", _LATER, _IDLE, _START, None, "start", "quota", "no machine is free"),
)
"""One of each message, in one story."""


def example(kind: type[msgspec.Struct]) -> Any:
    """Return the example of a message of this kind, as it is decoded from JSON."""
    value = next(each for each in EXAMPLES if type(each) is kind)
    built = msgspec.json.decode(encode(value))
    # What a client leaves out is not shown as null.
    return {name: said for name, said in built.items() if said is not None or name == "by"}
