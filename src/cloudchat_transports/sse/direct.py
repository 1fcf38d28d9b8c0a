"""Event streams without an HTTP library between the application and the connection.

The application is the same, and so is what is said over ASGI. But a stream is one request without a body, mostly on a
connection that ends with it, and needs of HTTP no more than a head, chunks (RFC 9112 §7.1), and somebody who notices
that the client is gone. Hypercorn keeps three tasks and an HTTP parser for that. What is not as plain as
that (another version or method, a body) goes to Hypercorn, and so does what follows on the same connection.
"""

from __future__ import annotations

from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import trio

from cloudchat_transports.head import read_head
from cloudchat_transports.outlet import RECEIVE
from cloudchat_transports.responses import phrase
from cloudchat_transports.sse.frames import chunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchat_transports.head import Head
    from cloudchat_transports.outlet import Outlet

STREAM: Final = "/v1/sse"
"""Where streams are served."""

_START: Final = f"GET {STREAM}".encode()
_NOT_PLAIN: Final = {b"content-length", b"transfer-encoding", b"expect", b"upgrade"}


def plain_stream(data: bytes) -> Head | None:
    """Return the head in `data` where it asks for a stream and for nothing else; None: let Hypercorn see to it."""
    if not data.startswith(_START):
        return None
    head = read_head(data)
    if head is None or head.target.partition("?")[0] != STREAM:
        return None
    return None if any(name in _NOT_PLAIN for name, _ in head.fields) else head


async def serve_stream(
    app: Callable[..., Awaitable[None]],
    outlet: Outlet,
    head: Head,
    state: dict[str, object],
    then: Callable[[], Awaitable[None]],
) -> None:
    """Have `app` answer one request; `then` serves what comes after it on the same connection."""
    early = await _serve_one(app, outlet, head, state)
    del head, state
    if early is None:
        await outlet.aclose()
    else:
        outlet.unread(early)
        await then()


async def _serve_one(
    app: Callable[..., Awaitable[None]], outlet: Outlet, head: Head, state: dict[str, object]
) -> bytes | None:
    """Have `app` answer one request; what came of the next one already, or None where the connection is over."""
    path, _, query = head.target.partition("?")
    # `alone`: nobody else reads from the connection, so who follows a feed sees for itself when the client has gone.
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": head.fields,
        "client": (outlet.peer, 0),
        "server": None,
        "state": {**state, "alone": True},
    }
    del head
    exchange = _Exchange(outlet)
    await app(scope, exchange.receive, exchange.send)
    return None if exchange.gone or outlet.closed else exchange.early


class _Exchange:
    """One request and its answer, as ASGI has them."""

    __slots__ = ("_asked", "_chunked", "_head", "_outlet", "early", "gone")

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._asked = False
        self._head: bytes | None = None
        self._chunked = False
        self.gone = False
        """Whether the client has gone."""
        self.early = b""
        """What the client has sent of its next request, which may come before this one is answered."""

    async def receive(self) -> Mapping[str, Any]:
        """Return the request, which has no body; after that, the end of the connection."""
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        try:
            while len(self.early) < RECEIVE and (data := await self._outlet.receive_some()):
                self.early += data
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        self.gone = True
        return {"type": "http.disconnect"}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Write a part of the answer; what can no longer be written is let go of, as ASGI wants it."""
        if message["type"] == "http.response.start":
            self._begin(message)
            return
        data, more = message.get("body", b""), message.get("more_body", False)
        if self._chunked:
            data = (chunk(data) if data else b"") + (b"" if more else b"0\r\n\r\n")
        if self._head is not None:
            data, self._head = self._head + data, None
        try:
            await self._outlet.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    def _begin(self, message: Mapping[str, Any]) -> None:
        status, headers = message["status"], list(message["headers"])
        self._chunked = not any(name == b"content-length" for name, _ in headers)
        if self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        headers.append((b"date", formatdate(usegmt=True).encode()))
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self._head = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, phrase(status).encode(), lines)
