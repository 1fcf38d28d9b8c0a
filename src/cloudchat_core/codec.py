"""Bytes to commands, records to bytes and back.

Strict: what comes from outside either becomes a command or raises `RefusedError` with a code of the protocol, whatever
it is. What comes from our own log is trusted; a damaged record raises `LocalProtocolError` and names itself.
"""

import hashlib
import re
from typing import Any

import msgspec

from cloudchat_core.clock import rfc3339
from cloudchat_core.commands import ClientCommand, Command, Join
from cloudchat_core.errors import Code, LocalProtocolError, RefusedError
from cloudchat_core.events import AnyEvent, Private, Record

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}\Z", re.ASCII)
_BAD_ID = "a command has an `id`: 1 to 64 of A-Z a-z 0-9 . _ : -"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{22,128}\Z", re.ASCII)
_TYPES: dict[str, type[ClientCommand]] = {
    kind.__struct_config__.tag: kind for kind in ClientCommand.__args__
}

DEEPEST = 64
"""How deep JSON from outside may be nested; a command's own fields need 3."""

_encoder = msgspec.json.Encoder()
_canonical = msgspec.json.Encoder(order="deterministic")
_decode_any = msgspec.json.Decoder().decode
_decode_event = msgspec.json.Decoder(AnyEvent).decode
_decode_private = msgspec.json.Decoder(Private).decode

encode = _encoder.encode
"""Encode one frame, event or resource as JSON (UTF-8, no spaces)."""


def decode_json(data: bytes | str) -> Any:
    """Read strict JSON: no NaN, no lone surrogates, nested at most `DEEPEST` deep.

    Raises `RefusedError` with `bad_json`.
    """
    try:
        value = _decode_any(data)
        deep = _nested(value, data)
    except RecursionError:
        deep = True
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise RefusedError(Code.BAD_JSON, f"this is not JSON: {error}") from None
    if deep:
        raise RefusedError(Code.BAD_JSON, f"this JSON is nested more than {DEEPEST} deep")
    return value


def _nested(value: Any, data: bytes | str) -> bool:
    """Tell whether `value`, read from `data`, is nested more than `DEEPEST` deep.

    How deep the interpreter itself could go depends on who calls, so what was once read might not be written later.
    """
    if isinstance(data, str):
        data = data.encode(errors="surrogatepass")
    if data.count(b"[") + data.count(b"{") <= DEEPEST:
        return False
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def decode_command(data: bytes | str) -> ClientCommand:
    """Read one command.

    Raises `RefusedError`: `bad_json` (not JSON), `bad_frame` (no object), `unknown_type`, or `bad_command` (a missing
    or wrong field, or `id`); its `command_id` is the command's id where it could be read.
    """
    return command_from(decode_json(data))


def command_from(value: object) -> ClientCommand:
    """Turn what `decode_json` returned, or a part of it, into a command, as `decode_command` does."""
    named = value.get("type") if isinstance(value, dict) else None
    kind = _TYPES.get(named) if isinstance(named, str) else None
    if kind is None:
        raise _explain(value)
    try:
        # By its own type: given the union, msgspec looks through all of it anew for each command.
        command: ClientCommand = msgspec.convert(value, kind)
    except msgspec.MsgspecError as error:
        raise _explain(value, f"this is no {named} command: {error}") from None
    if not valid_command_id(command.id):
        raise RefusedError(Code.BAD_COMMAND, _BAD_ID)
    return command


def _explain(value: object, wrong: str = "") -> RefusedError:
    """Say why `value`, which is JSON, is no command; `wrong` is what is wrong with one of a known type."""
    if not isinstance(value, dict):
        return RefusedError(Code.BAD_FRAME, "a command is a JSON object")
    given = value.get("id")
    command_id = given if isinstance(given, str) and _ID.match(given) else None
    if command_id is None:
        return RefusedError(Code.BAD_COMMAND, _BAD_ID)
    if wrong:
        return RefusedError(Code.BAD_COMMAND, wrong, command_id)
    if not isinstance(value.get("type"), str):
        return RefusedError(Code.BAD_COMMAND, "a command has a `type`, a string", command_id)
    known = f"there is no command of this type; there are: {', '.join(_TYPES)}"
    return RefusedError(Code.UNKNOWN_TYPE, known, command_id)


def valid_command_id(text: str) -> bool:
    """Tell whether `text` may stand as a command's `id`."""
    return _ID.match(text) is not None


def token_hash(token: str) -> str | None:
    """Return the scope of a participation token: its SHA-256 in hexadecimal. None: it is malformed.

    The token itself is a secret (at least 128 random bits) and is kept nowhere.
    """
    return hashlib.sha256(token.encode()).hexdigest() if _TOKEN.match(token) else None


def content_hash(command: Command) -> str:
    """Return what tells a command's content apart: all decoded but its `id` and a `join`'s `token`, `feed`."""
    content = msgspec.structs.replace(command, id="")
    if isinstance(content, Join):
        content = msgspec.structs.replace(content, token=None, feed=None)
    return hash_json(content)


def hash_json(value: object) -> str:
    """Return 128 bits of SHA-256 over the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(_canonical.encode(value)).hexdigest()[:32]


def encode_event(record: Record) -> bytes:
    """Return the public event of a record as JSON, or nothing where the record is private."""
    return _encoder.encode(record.event) if record.event.topic else b""


class StoredRecord(msgspec.Struct, frozen=True, gc=False):
    """A record as a log keeps it.

    `kind` is the event's type, `topic` its topic (empty: private), `body` its JSON exactly as feeds show it (also of
    private events, which none does), `private` the JSON of the private part.
    """

    offset: int
    at: int
    kind: str
    topic: str
    body: bytes
    private: bytes


def store(record: Record) -> StoredRecord:
    """Encode a record for the log."""
    event = record.event
    return StoredRecord(
        record.offset,
        record.at,
        str(event.__struct_config__.tag),
        event.topic,
        _encoder.encode(event),
        _encoder.encode(record.private),
    )


def load(stored: StoredRecord) -> Record:
    """Decode a record from the log; `LocalProtocolError` names the offset of one that is damaged."""
    try:
        event, private = _decode_event(stored.body), _decode_private(stored.private)
        if rfc3339(stored.at) != event.at:
            raise ValueError("its row says that it is of another time")
    except (msgspec.MsgspecError, ValueError, TypeError, ArithmeticError) as error:
        raise LocalProtocolError(
            f"the log's record {stored.offset} ({stored.kind}) is damaged: {error}"
        ) from error
    return Record(stored.offset, stored.at, event, private)
