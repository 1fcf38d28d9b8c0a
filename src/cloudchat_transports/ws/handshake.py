"""The opening handshake (RFC 6455 §4.2): a request for a WebSocket, and the two answers to it.

Read by hand (`head.py`): what an HTTP library makes of it is thrown away a moment later, and costs more than all else
that a connection begins with.
"""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha1
from typing import Final
from urllib.parse import urlsplit

from cloudchat_core.errors import Code
from cloudchat_core.session import PROTOCOL
from cloudchat_transports.head import read_head
from cloudchat_transports.responses import Headers, last_words, problem

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==")
_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION: Final = b"13"
_SINGLE: Final = (b"host", b"sec-websocket-key", b"origin")
"""Fields that may not come twice."""
_KNOWN: Final[Headers] = (
    ("sec-websocket-version", "13"),  # RFC 6455 §4.4
    # RFC 9110 §15.5.22 and §7.8.
    ("upgrade", "websocket"),
    ("connection", "upgrade"),
)
"""What a client is told that has no version, or one that is not spoken here."""


class HandshakeError(Exception):
    """This request cannot become a WebSocket; `answer` (a problem, RFC 9457) is what to send before closing."""

    def __init__(self, detail: str, status: int = 400, headers: Headers = ()) -> None:
        super().__init__(detail)
        self.answer = last_words(problem(Code.BAD_REQUEST, detail, status=status, headers=headers))


class Upgrade:
    """A valid request for a WebSocket: `host`, `origin` (None: not sent), `path` and `query` are what was asked for."""

    __slots__ = ("_key", "_subprotocol", "host", "origin", "path", "query")

    def __init__(self, head: bytes) -> None:
        """Read the request head (with its final empty line); raises `HandshakeError` where it is no such request."""
        read = read_head(head)
        if read is None:
            raise HandshakeError("this is no HTTP/1.1 request to GET something")
        fields = _fields(read.fields)
        if "upgrade" not in _tokens(fields.get(b"connection")):
            raise HandshakeError("Connection: Upgrade is missing")
        if "websocket" not in _tokens(fields.get(b"upgrade")):
            raise HandshakeError("Upgrade: websocket is missing")
        if b"transfer-encoding" in fields or fields.get(b"content-length", b"0") != b"0":
            raise HandshakeError("a request to upgrade has no body")
        version = fields.get(b"sec-websocket-version")
        if version != _VERSION:
            detail = (
                "Sec-WebSocket-Version is not 13" if version else "Sec-WebSocket-Version is missing"
            )
            raise HandshakeError(detail, 426 if version else 400, _KNOWN)
        self._key = fields.get(b"sec-websocket-key", b"")
        if not _KEY.fullmatch(self._key):
            raise HandshakeError("Sec-WebSocket-Key is not 16 bytes in base64")
        offered = _tokens(fields.get(b"sec-websocket-protocol"), lower=False)
        self._subprotocol = PROTOCOL if PROTOCOL in offered else None
        self._read_target(read.target, fields.get(b"host"))
        origin = fields.get(b"origin")
        self.origin = None if origin is None else origin.decode("latin-1")

    def _read_target(self, target: str, host: bytes | None) -> None:
        try:
            if host is None:
                raise HandshakeError("Host is missing")
            self.host = host.decode("ascii")
            if target.startswith("/"):
                self.path, _, self.query = target.partition("?")
                return
            url = urlsplit(target)
        except ValueError:  # a Host that is not ASCII, a target that is no URL
            raise HandshakeError("this names no host, or no resource") from None
        # A target in absolute form stands for the Host header as well (RFC 9112 §3.2.2).
        self.host = url.netloc or self.host
        self.path, self.query = url.path, url.query

    def accept(self) -> bytes:
        """Return the answer that opens the WebSocket.

        No extension is accepted: shared frames are not compressed for each connection, and what is not inflated does
        not grow past the limit.
        """
        digest = b64encode(sha1(self._key + _GUID, usedforsecurity=False).digest())
        chosen = "" if self._subprotocol is None else f"Sec-WebSocket-Protocol: {PROTOCOL}\r\n"
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {digest.decode()}\r\n{chosen}\r\n"
        ).encode()

    def reject(self, code: str, detail: str) -> bytes:
        """Return the answer that refuses it: a problem (RFC 9457) with the protocol's `code`."""
        return last_words(problem(code, detail))


def _fields(given: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the header fields by name; a list may come in several."""
    fields: dict[bytes, bytes] = {}
    for name, value in given:
        known = fields.get(name)
        if known is not None and name in _SINGLE:
            raise HandshakeError(f"more than one {name.decode()}")
        fields[name] = value if known is None else known + b"," + value
    return fields


def _tokens(value: bytes | None, *, lower: bool = True) -> list[str]:
    """Return the members of a list (RFC 9110 §5.6.1)."""
    if value is None:
        return []
    text = value.decode("latin-1")
    return [member.strip(" \t") for member in (text.lower() if lower else text).split(",")]
