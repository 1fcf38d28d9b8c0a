"""Feeds over HTTP without an HTTP library between the application and the connection.

The application is the same, and so is what is said over ASGI. But an event stream and a poll are each one request
without a body, and need of HTTP no more than a head, a body or chunks (RFC 9112 §7.1), and somebody who notices that
the client is gone. Hypercorn keeps three tasks and an HTTP parser for that. What is not as plain as that (another
version or method, a body, a connection that is to end) goes to Hypercorn.
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

FEEDS: Final = frozenset({"/v1/sse", "/v1/poll"})
"""Where feeds are served over HTTP."""

_STARTS: Final = tuple(f"GET {path}".encode() for path in sorted(FEEDS))
_NOT_PLAIN: Final = {b"content-length", b"transfer-encoding", b"expect", b"upgrade"}


def plain_request(data: bytes) -> Head | None:
    """Return the head in `data` where it asks for a feed and for nothing else; None: let Hypercorn see to it."""
    if not data.startswith(_STARTS):
        return None
    head = read_head(data)
    if head is None or head.target.partition("?")[0] not in FEEDS:
        return None
    for name, value in head.fields:
        if name in _NOT_PLAIN or (name == b"connection" and b"close" in value.lower()):
            return None
    return head


async def serve_plain(
    app: Callable[..., Awaitable[None]], outlet: Outlet, head: Head, state: dict[str, object]
) -> bool:
    """Have `app` answer one request; False: the connection is over. What came of the next one is read again."""
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
    del head, state  # a stream may last for days
    exchange = _Exchange(outlet)
    await app(scope, exchange.receive, exchange.send)
    if exchange.gone or outlet.closed:
        await outlet.aclose()
        return False
    outlet.unread(exchange.early)
    return True


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
            while data := await self._outlet.receive_some():
                self.early += data
                if len(self.early) >= RECEIVE:
                    # The rest may wait where it is: it is answered in its turn (RFC 9112 §9.3.2). Meanwhile only what
                    # is written shows whether the client has gone.
                    await self._outlet.wait_closed()
                    break
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
