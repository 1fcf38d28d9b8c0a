"""The opening handshake (RFC 6455 §4.2), over wsproto: a request for a WebSocket, and the two answers to it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, RejectConnection, RejectData, Request
from wsproto.utilities import RemoteProtocolError

from cloudchat_core.session import PROTOCOL
from cloudchat_transports.responses import problem

if TYPE_CHECKING:
    from wsproto.connection import Connection


_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{21}[AQgw]==\Z")
_BAD_REQUEST: Final = RejectConnection(status_code=400)


class HandshakeError(Exception):
    """This request cannot become a WebSocket; `answer` is what to send before closing."""

    def __init__(self, answer: bytes) -> None:
        super().__init__()
        self.answer = answer


class Upgrade:
    """A valid request for a WebSocket: `host`, `origin` (None: not sent), `path` and `query` are what was asked for."""

    def __init__(self, head: bytes) -> None:
        """Read the request head (with its final empty line); raises `HandshakeError` where it is no such request."""
        self._wsproto = WSConnection(ConnectionType.SERVER)
        try:
            request = self._request(head)
            url = urlsplit(request.target)
        except RemoteProtocolError as error:
            hint = error.event_hint or _BAD_REQUEST
            raise HandshakeError(self._wsproto.send(hint)) from error
        except (
            ValueError
        ) as error:  # a Host that is no IDNA (wsproto decodes it), a target that is no URL
            raise HandshakeError(self._wsproto.send(_BAD_REQUEST)) from error
        # A target in absolute form stands for the Host header as well (RFC 9112 §3.2.2).
        self.host: str = url.netloc or request.host
        self.path, self.query = url.path, url.query
        origins = [value for name, value in request.extra_headers if name == b"origin"]
        self.origin: str | None = origins[0].decode("latin-1") if origins else None
        self._subprotocol = PROTOCOL if PROTOCOL in request.subprotocols else None

    def _request(self, head: bytes) -> Request:
        self._wsproto.receive_data(head)
        request = next(self._wsproto.events(), None)
        if not isinstance(request, Request):
            raise RemoteProtocolError("an incomplete head")
        if head.partition(b"\n")[0].rstrip(b"\r").endswith(b"HTTP/1.0"):
            raise RemoteProtocolError("an upgrade takes HTTP/1.1 (RFC 9110 §7.8)")
        if [name for name, _ in request.extra_headers].count(b"origin") > 1:
            raise RemoteProtocolError("more than one Origin")
        # wsproto takes any key; §4.2.1 wants 16 bytes in base64.
        keys = [value for name, value in request.extra_headers if name == b"sec-websocket-key"]
        if len(keys) != 1 or not _KEY.match(keys[0]):
            raise RemoteProtocolError("Sec-WebSocket-Key is not 16 bytes in base64")
        return request

    def accept(self) -> tuple[bytes, Connection]:
        """Return the answer that opens the WebSocket, and wsproto's frame engine for what follows.

        No extension is accepted: shared frames are not compressed for each connection, and what is not inflated does
        not grow past the limit. The HTTP half of the engine is let go of.
        """
        answer = self._wsproto.send(AcceptConnection(subprotocol=self._subprotocol))
        engine = self._wsproto.connection
        assert engine is not None, "a connection that was accepted is open"  # noqa: S101
        return answer, engine

    def reject(self, code: str, detail: str) -> bytes:
        """Return the answer that refuses it: a problem (RFC 9457) with the protocol's `code`."""
        answer = problem(code, detail)
        headers = [
            *((name.encode(), value.encode()) for name, value in answer.headers),
            (b"content-type", answer.content_type.encode()),
            (b"content-length", b"%d" % len(answer.body)),
            (b"connection", b"close"),
        ]
        start = self._wsproto.send(
            RejectConnection(status_code=answer.status, headers=headers, has_body=True)
        )
        return start + self._wsproto.send(RejectData(data=answer.body, body_finished=True))
