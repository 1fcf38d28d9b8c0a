"""What is fuzzed: each target takes any bytes, and raises where a promise about them is broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from tests.fuzzing import port, texts, told, wire

if TYPE_CHECKING:
    from collections.abc import Callable


class Target(NamedTuple):
    """What to call with any bytes, how many there may be, and words that are worth trying."""

    check: Callable[[bytes], None]
    longest: int
    words: tuple[bytes, ...] = ()


_FIELDS: Final = (
    *(b"GET ", b"POST ", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b"\r\n\r\n", b"/v1/ws", b"/v1/sse"),
    *(b"Host: localhost\r\n", b"Upgrade: websocket\r\n", b"Connection: Upgrade\r\n", b"Origin: "),
    *(b"Sec-WebSocket-Version: 13\r\n", b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
    *(
        b"Sec-WebSocket-Protocol: cloudchat.v1\r\n",
        b"Content-Length: 0\r\n",
        b"Expect: 100-continue\r\n",
    ),
    *(b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Last-Event-ID: ", b"http://"),
    *(b"Content-Type: application/json\r\n", b"Cloudchat-Token: ", b"Idempotency-Key: "),
)
_QUERY: Final = (b"after=", b"topics=", b"chat", b"instances", b"workspace=main", b"&", b"%C3%A4")
_JSON: Final = (
    *(
        b'{"',
        b'":',
        b'","',
        b'"}',
        b"[",
        b"]",
        b"null",
        b"true",
        b"NaN",
        b"-0",
        b"1e999",
        b"\\ud83d",
    ),
    *(
        b'"type":"',
        b'"id":"c1"',
        b'"id":"c2"',
        b'"id":"j1"',
        b'"cursor":"e-1"',
        b'"at":"',
        b"\\ude00",
    ),
)

TARGETS: Final[dict[str, Target]] = {
    "callers": Target(
        wire.callers, 300, (b"localhost", b"http://", b"[::1]", b":80", b".", b"xn--")
    ),
    "command": Target(
        texts.command, 1_000, (*_JSON, b'"say"', b'"create"', b'"spec":{', b'"text":"')
    ),
    "config": Target(
        told.config_file, 500, (b"[serve]\n", b"[limits]\n", b"log = ", b'"""', b"= [", b"0x")
    ),
    "cursor": Target(texts.cursor, 40, (b"a-", b"b-", b"b2-", b"c-", b"9223372036854775807")),
    "frames": Target(
        wire.frames,
        4_000,
        (b"\x81\x80", b"\x89\x80", b"\x88\x82", b"\x01\x81", b"\xfe\x04", b"\xff\0\0\0\0"),
    ),
    "handshake": Target(wire.handshake, 600, (*_FIELDS, *_QUERY)),
    "head": Target(wire.request_head, 600, _FIELDS),
    "json": Target(texts.json_value, 1_000, _JSON),
    "nickname": Target(
        texts.nickname, 200, ("ſ".encode(), "Σ".encode(), "㍿".encode(), "ß".encode())
    ),
    "options": Target(
        told.options,
        200,
        (b"sqlite:", b"memory:", b"simulated:?", b"duration=", b"fail=", b"30d", b"1GB"),
    ),
    "port": Target(port.requests, 1_200, (*_FIELDS, *_QUERY, *_JSON)),
    "query": Target(wire.query, 200, _QUERY),
    "server_frames": Target(
        texts.server_frames, 2_000, (*_JSON, b"\nclosed\n", b'"ack"', b'"error"')
    ),
    "sse": Target(
        texts.event_stream, 1_000, (b"data:", b"event:", b"id:", b"retry:", b"\r\n", b"\n\n")
    ),
}
