"""What RFC 6455 has a server answer, row by row, in the areas of the Autobahn test suite; `test_rfc6455.py` asks it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.transports.support import BINARY, CLOSE, PING, PONG, TEXT, frame

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT: Final = 65_536
"""Bytes of the largest message that the server takes."""

FIRST_TEXT, FIRST_BINARY, MORE, LAST = 0x01, 0x02, 0x00, 0x80

Said = tuple[str, object]
"""What the server says: `ack` and its id, `error` and its code, `pong` and its payload, `close` and its code."""

ACK: Final = ("ack", "a")


class Row(NamedTuple):
    """What a client sends, and what the server says to it; `close` is the last thing that it says."""

    section: str
    sends: bytes
    says: tuple[Said, ...]


def ping(size: int = 0) -> bytes:
    """A command that is answered by `ACK`, of `size` bytes."""
    return b'{"type":"ping","id":"a"}'.ljust(size)


def noting(text: bytes) -> bytes:
    """A command that is answered by `ACK`, with some text in it."""
    return b'{"type":"ping","id":"a","note":"%b"}' % text


def fragments(*parts: bytes) -> bytes:
    """One message in several frames."""
    first, *others = parts
    return frame(FIRST_TEXT, first) + b"".join(
        frame(MORE if place < len(others) else LAST, part) for place, part in enumerate(others, 1)
    )


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


def closed(code: int) -> tuple[Said, ...]:
    return (("close", code),)


def _long(size: int, said: int) -> bytes:
    """The head of a text frame whose length stands in so many bytes, and its payload."""
    length = bytes((TEXT, 0x80 | (126 if said == 2 else 127))) + size.to_bytes(said, "big")
    return length + bytes(4) + ping().ljust(size)[:size]


LENGTHS: Final = {
    **{
        f"a message of {size} bytes": Row("5.2", frame(TEXT, ping(size)), (ACK,))
        for size in (24, 125, 126, 127, 128, 65_535, LIMIT)
    },
    "an empty message": Row("5.2", frame(TEXT, b""), (("error", "bad_json"),)),
    "a message of 1 byte": Row("5.2", frame(TEXT, b"x"), (("error", "bad_json"),)),
    "messages one after another": Row("5.4", frame(TEXT, ping()) * 10, (ACK,) * 10),
    "125 bytes with a length of two": Row("5.2", _long(125, 2), closed(1002)),
    "65,535 bytes with a length of eight": Row("5.2", _long(65_535, 8), closed(1002)),
    "5 bytes with a length of eight": Row("5.2", _long(5, 8), closed(1002)),
    "a length beyond 63 bits": Row("5.2", _long(0, 2)[:2].replace(b"\xfe", b"\xff") + b"\xff" * 8, closed(1002)),
    "a message beyond the limit": Row("7.4.1", frame(TEXT, ping(LIMIT + 1)), closed(1009)),
    "a message far beyond the limit": Row("7.4.1", frame(TEXT, ping(4 * LIMIT)), closed(1009)),
    "a message that announces 2^62 bytes": Row("7.4.1", b"\x81\xff" + (2**62).to_bytes(8, "big"), closed(1009)),
}  # fmt: skip

MASKS: Final = {
    "a mask of zeros": Row("5.3", bytes((TEXT, 0x80 | 24)) + bytes(4) + ping(), (ACK,)),
    "a mask of ones": Row(
        "5.3", bytes((TEXT, 0x80 | 24)) + b"\xff" * 4 + bytes(255 - byte for byte in ping()), (ACK,)
    ),
    "a message without a mask": Row("5.1", frame(TEXT, ping(), masked=False), closed(1002)),
    "an empty message without a mask": Row("5.1", frame(TEXT, b"", masked=False), closed(1002)),
    "a ping without a mask": Row("5.1", frame(PING, b"x", masked=False), closed(1002)),
    "a close without a mask": Row("5.1", b"\x88\x02\x03\xe8", closed(1002)),
    "a fragment without a mask": Row(
        "5.1", frame(FIRST_TEXT, ping()) + frame(LAST, b"", masked=False), closed(1002)
    ),
}

CONTROL: Final = {
    "a ping without a payload": Row("5.5.2", frame(PING, b""), (("pong", b""),)),
    "a ping with a payload": Row("5.5.3", frame(PING, b"now?"), (("pong", b"now?"),)),
    "a ping that is no text": Row("5.5.3", frame(PING, b"\0\xff\xfe"), (("pong", b"\0\xff\xfe"),)),
    "a ping of 125 bytes": Row("5.5", frame(PING, b"x" * 125), (("pong", b"x" * 125),)),
    "a ping of 126 bytes": Row("5.5", frame(PING, b"x" * 126), closed(1002)),
    "pings one after another": Row(
        "5.5.3",
        b"".join(frame(PING, b"%d" % number) for number in range(10)),
        tuple(("pong", b"%d" % number) for number in range(10)),
    ),
    "a ping in two fragments": Row("5.5", frame(0x09, b"x") + frame(LAST, b"y"), closed(1002)),
    "a pong that nobody asked for": Row("5.5.3", frame(PONG, b"") + frame(TEXT, ping()), (ACK,)),
    "a pong of 125 bytes": Row("5.5", frame(PONG, b"x" * 125) + frame(TEXT, ping()), (ACK,)),
    "a pong of 126 bytes": Row("5.5", frame(PONG, b"x" * 126), closed(1002)),
    "a pong in two fragments": Row("5.5", frame(0x0A, b"x") + frame(LAST, b"y"), closed(1002)),
    "a close in two fragments": Row("5.5", frame(0x08, b"\x03\xe8"), closed(1002)),
    "a close of 126 bytes": Row("5.5", closing(1000, b"x" * 124), closed(1002)),
}

RESERVED: Final = {
    **{
        f"reserved bits {bits:03b} of a {kind}": Row("5.2", frame(first | bits << 4, payload), closed(1002))
        for bits in (0b100, 0b010, 0b001, 0b111)
        for kind, first, payload in (
            *(("message", TEXT, ping()), ("ping", PING, b"x"), ("pong", PONG, b"")),
            *(("close", CLOSE, b"\x03\xe8"), ("first fragment", FIRST_TEXT, b"{")),
        )
    },
    "a reserved bit of a continuation": Row(
        "5.2", frame(FIRST_TEXT, b"{") + frame(LAST | 0x40, b"}"), closed(1002)
    ),
    "a reserved bit behind a ping": Row(
        "5.2", frame(PING, b"x") + frame(TEXT | 0x10, ping()), (("pong", b"x"), ("close", 1002))
    ),
    **{
        f"the opcode {opcode:#x} {'with' if payload else 'without'} a payload": Row(
            "5.2", frame(0x80 | opcode, payload), closed(1002)
        )
        for opcode in (0x3, 0x4, 0x5, 0x6, 0x7, 0xB, 0xC, 0xD, 0xE, 0xF)
        for payload in (b"", b"x")
    },
}  # fmt: skip

_TEXT: Final = ping()
FRAGMENTS: Final = {
    "a message in two fragments": Row("5.4", fragments(_TEXT[:9], _TEXT[9:]), (ACK,)),
    "a message in a fragment for each byte": Row(
        "5.4", fragments(*(_TEXT[at : at + 1] for at in range(24))), (ACK,)
    ),
    "an empty first fragment": Row("5.4", fragments(b"", _TEXT), (ACK,)),
    "an empty fragment in the middle": Row("5.4", fragments(_TEXT[:9], b"", _TEXT[9:]), (ACK,)),
    "an empty last fragment": Row("5.4", fragments(_TEXT, b""), (ACK,)),
    "fragments that are all empty": Row("5.4", fragments(b"", b"", b""), (("error", "bad_json"),)),
    "a ping between fragments": Row(
        "5.4",
        frame(FIRST_TEXT, _TEXT[:9]) + frame(PING, b"now") + frame(LAST, _TEXT[9:]),
        (("pong", b"now"), ACK),
    ),
    "a pong between fragments": Row(
        "5.4", frame(FIRST_TEXT, _TEXT[:9]) + frame(PONG, b"") + frame(LAST, _TEXT[9:]), (ACK,)
    ),
    "a close between fragments": Row(
        "5.4", frame(FIRST_TEXT, b"{") + closing(1000) + frame(LAST, b"}"), closed(1000)
    ),
    "two messages in fragments": Row("5.4", fragments(_TEXT[:9], _TEXT[9:]) * 2, (ACK, ACK)),
    "a continuation of nothing": Row("5.4", frame(MORE, b"x"), closed(1002)),
    "the last continuation of nothing": Row("5.4", frame(LAST, b"x"), closed(1002)),
    "a continuation of a message that has ended": Row(
        "5.4", fragments(b"{", b"}") + frame(LAST, b""), (("error", "bad_command"), ("close", 1002))
    ),
    "a message inside of another": Row(
        "5.4", frame(FIRST_TEXT, b"{") + frame(TEXT, _TEXT), closed(1002)
    ),
    "the first fragment inside of a message": Row(
        "5.4", frame(FIRST_TEXT, b"{") + frame(FIRST_TEXT, b"}"), closed(1002)
    ),
    "a binary fragment inside of a message": Row(
        "5.4", frame(FIRST_TEXT, b"{") + frame(FIRST_BINARY, b"}"), closed(1002)
    ),
    "fragments up to the limit": Row(
        "5.4", fragments(_TEXT, b" " * 40_000, b" " * (LIMIT - 40_024)), (ACK,)
    ),
    "fragments beyond the limit": Row(
        "7.4.1", fragments(_TEXT, b" " * 40_000, b" " * (LIMIT - 40_023)), closed(1009)
    ),
    "a binary message": Row("7.4.1", frame(BINARY, ping()), closed(1003)),
    "a binary message in fragments": Row("7.4.1", frame(FIRST_BINARY, b"{"), closed(1003)),
}

WHOLE: Final = {
    "two bytes": "\u0080\u07ff",
    "three bytes": "\u0800\uffff",
    "four bytes": "\U00010000\U0010ffff",
    "around the surrogates": "\ud7ff\ue000",
    "noncharacters": "\ufdd0\ufffe\U0001ffff",
    "a byte order mark": "\ufeff",
    "words": "κόσμε, привет, 你好, 😀",
}
BROKEN: Final = {
    "a continuation alone": b"\x80",
    "two continuations": b"\x80\xbf",
    "the first of two bytes": b"\xc3",
    "two of three bytes": b"\xe2\x82",
    "three of four bytes": b"\xf0\x9f\x98",
    "two bytes for one": b"\xc0\xaf",
    "three bytes for two": b"\xe0\x9f\xbf",
    "four bytes for three": b"\xf0\x8f\xbf\xbf",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a pair of surrogates": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond Unicode": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "six bytes": b"\xfc\x84\x80\x80\x80\x80",
    "FE": b"\xfe",
    "FF": b"\xff",
}
UTF8: Final = {
    **{
        f"text with {name}": Row("8.1", frame(TEXT, noting(text.encode())), (ACK,))
        for name, text in WHOLE.items()
    },
    **{
        f"text with {name}, a byte in each fragment": Row(
            "5.6", fragments(*(bytes((byte,)) for byte in noting(text.encode()))), (ACK,)
        )
        for name, text in WHOLE.items()
    },
    **{
        f"bad UTF-8, {name}, {where}": Row("8.1", sends, closed(1007))
        for name, bad in BROKEN.items()
        for where, sends in (
            ("alone", frame(TEXT, bad)),
            ("at the beginning", frame(TEXT, bad + ping())),
            ("in the middle", frame(TEXT, noting(bad))),
            ("at the end", frame(TEXT, ping() + bad)),
            ("in the last fragment", fragments(ping(), bad)),
            ("in the first fragment", fragments(bad, ping())),
            ("a byte in each fragment", fragments(b"", *(bytes((byte,)) for byte in bad))),
        )
    },
}

ENDS: Final = {
    **{
        f"close {code}": Row("7.4.1", closing(code), closed(code))
        for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013)
    },
    **{
        f"close {code}": Row("7.4.2", closing(code), closed(code))
        for code in (3000, 3999, 4000, 4999)
    },
    **{
        f"close {code}, which nobody may send": Row("7.4", closing(code), closed(1002))
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
    },
    "close without a code": Row("5.5.1", frame(CLOSE, b""), closed(1005)),
    "close with half a code": Row("5.5.1", frame(CLOSE, b"\x03"), closed(1002)),
    "close with a reason": Row("5.5.1", closing(1000, "tschüß".encode()), closed(1000)),
    "close with a reason of 123 bytes": Row("5.5", closing(1000, b"x" * 123), closed(1000)),
    **{
        f"close with a reason that is bad UTF-8, {name}": Row(
            "8.1", closing(1000, b"x" + bad), closed(1007)
        )
        for name, bad in BROKEN.items()
    },
    "a ping behind the close": Row("5.5.1", closing(1000) + frame(PING, b"x"), closed(1000)),
    "a message behind the close": Row("5.5.1", closing(1000) + frame(TEXT, ping()), closed(1000)),
    "a second close": Row("5.5.1", closing(1000) + closing(1001), closed(1000)),
    "nonsense behind the close": Row("5.5.1", closing(1001) + b"\xff" * 99, closed(1001)),
    "a ping before the close": Row(
        "5.5.1", frame(PING, b"x") + closing(1000), (("pong", b"x"), ("close", 1000))
    ),
}

ROWS: Final = {**LENGTHS, **MASKS, **CONTROL, **RESERVED, **FRAGMENTS, **UTF8, **ENDS}


THEIRS: Final = {
    # An ASGI server has the frames to itself. Those that we know wait for the end of what was begun,
    "a message that announces 2^62 bytes",
    "a binary message in fragments",
    # and one of them takes lengths as they come, and no close inside of a message.
    "125 bytes with a length of two",
    "65,535 bytes with a length of eight",
    "5 bytes with a length of eight",
    "a close between fragments",
}
"""Rows whose answer is another where the server runs on somebody else's WebSockets."""


# ---------------------------------------------------------------------- the opening handshake


_NONE: Final[Mapping[str, str | None]] = MappingProxyType({})


class Opening(NamedTuple):
    """The request's first line and fields, the status of the answer, and a field that the answer has or has not."""

    section: str
    status: int
    fields: Mapping[str, str | None] = _NONE
    """Fields besides the usual ones, or instead of them; None: left out."""
    first: str = "GET /v1/ws HTTP/1.1"
    answer: Mapping[str, str | None] = _NONE


OPENINGS: Final = {
    "the usual one": Opening(
        "4.2.2",
        101,
        answer={
            # What RFC 6455 §1.3 has for this key.
            "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            "sec-websocket-protocol": None,
            "sec-websocket-extensions": None,
        },
    ),
    "values in capitals": Opening("4.2.1", 101, {"Upgrade": "WEBSOCKET", "Connection": "UPGRADE"}),
    "one of several connection options": Opening("4.2.1", 101, {"Connection": "keep-alive, Upgrade"}),
    "a target in absolute form": Opening("4.1", 101, first="GET http://127.0.0.1/v1/ws HTTP/1.1"),
    "fields that nobody knows": Opening("4.2.1", 101, {"X-Forwarded-For": "10.0.0.1", "Cookie": "a=b"}),
    "our subprotocol": Opening(
        "4.2.2", 101, {"Sec-WebSocket-Protocol": "cloudchat.v1"},
        answer={"sec-websocket-protocol": "cloudchat.v1"},
    ),
    "our subprotocol among others": Opening(
        "4.2.2", 101, {"Sec-WebSocket-Protocol": "chat, cloudchat.v1, superchat"},
        answer={"sec-websocket-protocol": "cloudchat.v1"},
    ),
    "other subprotocols": Opening(
        "4.2.2", 101, {"Sec-WebSocket-Protocol": "chat"}, answer={"sec-websocket-protocol": None}
    ),
    "our subprotocol in capitals": Opening(
        "11.3.4", 101, {"Sec-WebSocket-Protocol": "CLOUDCHAT.V1"}, answer={"sec-websocket-protocol": None}
    ),
    "extensions": Opening(
        "9.1", 101, {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits, x-other"},
        answer={"sec-websocket-extensions": None},
    ),
    "no Host": Opening("4.2.1", 400, {"Host": None}),
    "no Connection": Opening("4.2.1", 400, {"Connection": None}),
    "another Connection": Opening("4.2.1", 400, {"Connection": "keep-alive"}),
    "no Upgrade": Opening("4.2.1", 426, {"Upgrade": None}, answer={"upgrade": "websocket"}),
    "another Upgrade": Opening("4.2.1", 426, {"Upgrade": "h2c"}, answer={"upgrade": "websocket"}),
    "no key": Opening("4.2.1", 400, {"Sec-WebSocket-Key": None}),
    "an empty key": Opening("4.2.1", 400, {"Sec-WebSocket-Key": ""}),
    "a short key": Opening("4.2.1", 400, {"Sec-WebSocket-Key": "c2hvcnQ="}),
    "a long key": Opening("4.2.1", 400, {"Sec-WebSocket-Key": "dGhpcyBpcyBtb3JlIHRoYW4gMTY="}),
    "a key that is no base64": Opening("4.2.1", 400, {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25j!!=="}),
    "two keys": Opening(
        "11.3.1", 400, {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="},
    ),
    "no version": Opening("4.2.1", 400, {"Sec-WebSocket-Version": None}, answer={"sec-websocket-version": "13"}),
    **{
        f"version {version}": Opening(
            "4.4", 426, {"Sec-WebSocket-Version": version}, answer={"sec-websocket-version": "13"}
        )
        for version in ("0", "8", "12", "14", "013", "13, 8", "x")
    },
    "POST": Opening("4.1", 405, first="POST /v1/ws HTTP/1.1"),
    "HTTP/1.0": Opening("4.1", 400, first="GET /v1/ws HTTP/1.0"),
    "a body": Opening("4.1", 400, {"Content-Length": "2"}),
    "a body in chunks": Opening("4.1", 400, {"Transfer-Encoding": "chunked"}),
    "another resource": Opening("4.2.2", 404, first="GET /v1/other HTTP/1.1"),
    "another origin": Opening("10.2", 403, {"Origin": "https://evil.example"}),
    "its own origin": Opening("10.2", 101, {"Host": "localhost", "Origin": "http://localhost"}),
    "another host": Opening("10.2", 403, {"Host": "evil.example"}),
    "two hosts": Opening("4.2.1", 400, {"Host": "localhost\r\nHost: localhost"}),
    "a folded field": Opening("4.2.1", 400, {"X-Folded": "a\r\n b"}),
    "a space before a colon": Opening("4.2.1", 400, {"X-Space ": "a"}),
    "a control character": Opening("4.2.1", 400, {"X-Control": "a\x01b"}),
    "a field without a colon": Opening("4.2.1", 400, {"Upgrade": "websocket\r\nnonsense"}),
    "two spaces in the first line": Opening("4.2.1", 400, first="GET  /v1/ws HTTP/1.1"),
}  # fmt: skip
