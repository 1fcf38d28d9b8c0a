"""The corpus and the promises catch something: with a bug planted in what a target checks, its replay fails."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from cloudchat_core.codec import command_from
from cloudchat_core.commands import ClientCommand
from cloudchat_core.errors import Code, RefusedError
from cloudchat_core.nicknames import RESERVED, Nickname, NicknameProblem
from cloudchat_transports.access import parse_authority
from tests.fuzzing.corpus import inputs
from tests.fuzzing.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchat_core.client_session import ClientSession


def union_command(data: bytes) -> ClientCommand:
    """A command as a decoder of the union of all reads it: of two types it takes the first."""
    try:
        command: ClientCommand = msgspec.json.decode(data, type=ClientCommand)
        return command
    except msgspec.MsgspecError:
        return command_from(json.loads(data))


def lenient_json(data: bytes | str) -> Any:
    """Takes NaN, lone surrogates, and any depth."""
    try:
        return json.loads(data)
    except ValueError as error:
        raise RefusedError(Code.BAD_JSON, str(error)) from None


def sends_all_again(session: ClientSession) -> list[bytes]:
    return [msgspec.json.encode(command) for command in session.unanswered]


def as_typed(raw: str, most: int, _: int) -> Nickname | NicknameProblem:
    name = raw.strip()
    if 0 < len(name) <= most and name.isascii() and name not in RESERVED:
        return Nickname(name, name)
    return NicknameProblem(Code.NICKNAME_INVALID, "no")


async def fails(*_: object) -> None:
    raise ZeroDivisionError


READER, HANDSHAKE = "cloudchat_transports.ws.reader.", "cloudchat_transports.ws.handshake."
PLANTED: dict[str, tuple[str, str, object]] = {
    "text is not checked to be UTF-8": ("frames", READER + "_decoded", lambda text: None),
    "a length is taken as it comes": (
        "frames",
        READER + "_long",
        lambda _, given: int.from_bytes(given),
    ),
    "reserved bits mean nothing": ("frames", READER + "_RESERVED", 0),
    "control frames may be long": ("frames", READER + "_SHORT", 127),
    "a field's name may have spaces": (
        "head",
        "cloudchat_transports.head._HEAD",
        re.compile(rb"GET (\S+) HTTP/1\.1\r?\n((?:[^:\n]+:[^\n]*\r?\n)+)\r?\n"),
    ),
    "a body is plain": ("head", "cloudchat_transports.direct._NOT_PLAIN", set()),
    "the key is answered with another GUID": ("handshake", HANDSHAKE + "_GUID", b"x" * 36),
    "any version is spoken": ("handshake", HANDSHAKE + "_VERSION", b"8"),
    "a refusal has no length": (
        "handshake",
        HANDSHAKE + "last_words",
        lambda *_: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ),
    "NaN is JSON": ("json", "tests.fuzzing.texts.decode_json", lenient_json),
    "a frame is read in another way than a list": (
        "command",
        "tests.fuzzing.texts.decode_command",
        union_command,
    ),
    "a command is sent again on the same connection": (
        "server_frames",
        "cloudchat_core.client_session.ClientSession.transmit",
        sends_all_again,
    ),
    "a CR ends no line": ("sse", "cloudchat_transports.sse.parser._LINE_END", re.compile("\n")),
    "an offset may begin with zeros": (
        "cursor",
        "cloudchat_core.cursor._CURSOR",
        re.compile(r"([a-z0-9]{1,16})-([0-9]{1,19})\Z"),
    ),
    "offsets have no end": ("cursor", "cloudchat_core.cursor._LARGEST", 10**30),
    "a nickname is compared as it was typed": (
        "nickname",
        "cloudchat_core.nicknames._prepare",
        as_typed,
    ),
    "a cursor may be of any length": ("query", "cloudchat_transports.feeds.CURSOR_LENGTH", 10**9),
    "a name may end with dots": (
        "callers",
        "cloudchat_transports.access._comparable",
        lambda host: host.lower().removesuffix("."),
    ),
    "a line of a file is not known": (
        "config",
        "cloudchat_cli.config._lines",
        lambda _: SimpleNamespace(get=lambda *_: 0),
    ),
    "what is kept may be beyond all": ("options", "cloudchat_cli.settings._MOST", float("inf")),
    "a resource fails": ("port", "cloudchat_transports.resources.Resources.instances", fails),
    "a WebSocket fails": (
        "port",
        "cloudchat_transports.ws.channel.close_code",
        lambda payload: 1 // 0,
    ),
}


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_caught_by_the_corpus(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, place, instead = PLANTED[bug]
    monkeypatch.setattr(place, instead)
    parse_authority.cache_clear()
    try:
        assert caught(name)
    finally:
        monkeypatch.undo()
        parse_authority.cache_clear()


def caught(name: str) -> bool:
    check: Callable[[bytes], None] = TARGETS[name].check
    for path in inputs(name):
        try:
            check(path.read_bytes())
        except Exception:  # noqa: BLE001 - a broken promise, or what the bug itself raises
            return True
    return False
