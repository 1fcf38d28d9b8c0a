"""What stands inside of frames, bodies and streams: JSON, commands, a server's frames, cursors, nicknames, events."""

from __future__ import annotations

import json
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

from cloudchat_core.client_session import (
    Answered,
    ClientSession,
    Frame,
    decode_frame,
)
from cloudchat_core.codec import (
    DEEPEST,
    command_from,
    content_hash,
    decode_command,
    decode_json,
    encode,
    hash_json,
)
from cloudchat_core.commands import ClientCommand, Ping, Say
from cloudchat_core.cursor import Epoch, Lost, Position, format_cursor, locate, parse_cursor
from cloudchat_core.errors import Code, RefusedError, RemoteProtocolError
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.nicknames import Nickname, Participation, Registry, prepare, suggestions
from cloudchat_transports.sse.parser import EventStreamParser
from tests.fuzzing.pieces import pieces, text_of
from tests.transports.test_sse_parser import model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloudchat_transports.sse.parser import ServerEvent


# ---------------------------------------------------------------------- JSON and commands


def json_value(data: bytes) -> None:
    """What we take for JSON is the same value to Python's own decoder; what we refuse, it refuses, or we say why."""
    try:
        value = decode_json(data)
    except RefusedError as error:
        assert error.code == Code.BAD_JSON
        _refused_with_reason(data, error.detail)
        return
    assert value == _strict(data)
    assert decode_json(encode(value)) == value
    assert hash_json(value) == hash_json(decode_json(encode(value)))


def _strict(data: bytes) -> Any:
    def no_constant(name: str) -> NoReturn:
        raise ValueError(name)

    decoder = json.JSONDecoder(parse_constant=no_constant)
    # The one in Python, whose branches the fuzzer sees; ours is written in C.
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    value = decoder.decode(data.decode())
    json.dumps(value, ensure_ascii=False).encode()  # raises for a lone surrogate
    return value


def _refused_with_reason(data: bytes, detail: str) -> None:
    try:
        value = _strict(data)
    except (ValueError, RecursionError):
        return
    # Numbers that no double can hold, numbers of thousands of digits, and towers of brackets.
    assert "out of range" in detail or "nested" in detail or len(data) > 4_000, (value, detail)
    assert "nested" not in detail or data.count(b"[") + data.count(b"{") > DEEPEST


def command(data: bytes) -> None:
    """A command alone and in a list is judged alike; what is accepted can be written, hashed and read again."""
    alone = _judge(decode_command, data)
    listed = _judge(lambda item: command_from(decode_json(item)), data)
    if isinstance(alone, RefusedError):
        assert isinstance(listed, RefusedError)
        assert (alone.code, alone.command_id) == (listed.code, listed.command_id)
        assert alone.code in {Code.BAD_JSON, Code.BAD_FRAME, Code.BAD_COMMAND, Code.UNKNOWN_TYPE}
        assert decode_json(encode(Refusal(alone.command_id, alone.code, alone.detail)))
        return
    assert alone == listed
    again = decode_command(encode(alone))
    assert again == alone
    assert content_hash(again) == content_hash(alone)


def _judge(read: Callable[[bytes], ClientCommand], data: bytes) -> ClientCommand | RefusedError:
    try:
        return read(data)
    except RefusedError as error:
        return error


# ---------------------------------------------------------------------- what a server says to a client


def server_frames(data: bytes) -> None:
    """What a server says, line by line, is a frame or a protocol error; no command is sent twice or settled twice."""
    ids = count(1)
    session = ClientSession(lambda: f"j{next(ids)}", token="t" * 22)
    session.join("Ann")
    for each in (Say("c1", "hello"), Ping("c2")):
        session.submit(each)
    session.opened()
    said = session.transmit()
    settled: list[str] = []
    for line in data.split(b"\n"):
        if line == b"closed":
            session.closed()
            assert session.transmit() == []
            session.opened()
            said = []
        elif line == b"retry":
            session.retry()
            said = []
        frame = _frame(line)
        if frame is not None:
            session.is_stale(frame)
            for outcome in session.receive(frame):
                settled.append(outcome.command.id)
                assert isinstance(outcome, Answered) or outcome.command.id in {"c1", "c2"}
        said += session.transmit()
        assert len(said) == len(set(said))
    assert len(settled) == len(set(settled))
    waiting = {each.id for each in session.unanswered}
    assert not waiting & set(settled)
    assert waiting | set(settled) >= {"c1", "c2"}


def _frame(line: bytes) -> Frame | None:
    try:
        frame = decode_frame(line)
    except RemoteProtocolError as error:
        assert error.close_code == 1002
        return None
    if frame is not None and not isinstance(frame, Ack | Refusal):
        assert decode_frame(encode(frame)) == frame
    return frame


# ---------------------------------------------------------------------- cursors, nicknames, event streams

EPOCHS = (Epoch("a", 1), Epoch("b", 10), Epoch("b2", 10), Epoch("c", 20))
FIRST, HEAD = 5, 30


def cursor(data: bytes) -> None:
    """A cursor is written as it was read, and is served exactly where its epoch has it and the log still does."""
    text = text_of(data)
    parsed = parse_cursor(text)
    place = locate(text, EPOCHS, FIRST, HEAD)
    if parsed is None:
        assert place == Lost("invalid")
        return
    name, offset = parsed
    assert format_cursor(name, offset) == text
    assert 0 <= offset < 2**63
    # From the offset before the epoch's first record to its last one.
    served = {"a": (0, 9), "b": (9, 9), "b2": (9, 19), "c": (19, HEAD)}.get(name)
    if served is not None and served[0] <= offset <= served[1]:
        assert place == (Position(offset) if offset >= FIRST - 1 else Lost("retention"))
    else:
        assert place == Lost("future" if name == "c" and offset > HEAD else "epoch")


LIMITS = Limits()


def nickname(data: bytes) -> None:
    """A nickname is refused in words or is a fixed point within its limits; whoever is refused is offered real ones."""
    raw = text_of(data)
    prepared = prepare(raw)
    if isinstance(prepared, Nickname):
        display, key = prepared.display, prepared.key
        assert prepare(display) == prepared
        again = prepare(key)
        assert isinstance(again, Nickname)
        assert again.key == key
        assert key == key.lower()
        if raw.isascii():
            same = prepare(raw.swapcase())
            assert isinstance(same, Nickname)
            assert same.key == key
        for form in (display, key):
            assert 1 <= len(form) <= LIMITS.nickname
            assert len(form.encode()) <= LIMITS.nickname_bytes
            assert form == form.strip()
        registry = Registry().claim("ann", Participation(display, key, "", 1))
        assert registry.check(raw, "ann") == prepared
        assert not isinstance(registry.check(key, "ben"), Nickname)
        assert registry.release("ann") == Registry()
        taken = {key}
    else:
        assert prepared.code in {Code.NICKNAME_INVALID, Code.NICKNAME_RESERVED}
        assert encode(prepared.detail)
        taken = {"guest1"}
    offered = suggestions(raw, taken.__contains__)
    assert offered
    keys = [each.key for each in map(prepare, offered) if isinstance(each, Nickname)]
    assert len(set(keys) - taken) == len(offered)


STREAM_LIMIT = 300


def event_stream(data: bytes) -> None:
    """A stream is read the same however it is cut, as the rules of the WHATWG have it over the whole text."""
    whole = _events([data])
    for parts in pieces(data):
        assert _events(parts) == whole
    if isinstance(whole, list):
        assert whole == model(data)
        assert all(len(event.data) <= STREAM_LIMIT for event in whole)


def _events(parts: Iterable[bytes]) -> list[ServerEvent] | None:
    """The events; None where something was too long."""
    parser, events = EventStreamParser(STREAM_LIMIT), list["ServerEvent"]()
    with suppress(ValueError):
        for part in parts:
            events += parser.feed(part)
        assert parser.retry is None or parser.retry >= 0
        return events
    return None
