"""The client half of the WebSocket transport: where to connect to, and by which library.

On Trio that is trio-websocket; it runs nowhere else, so on asyncio it is wsproto over anyio's streams.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec
import sniffio

from cloudchat_transports.client_transport import RejectedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from cloudchat_transports.client_transport import Connection

PATH: Final = "/v1/ws"
OPENING: Final = 10.0
"""Seconds in which a connection has to be there and answer."""
MAX_MESSAGE: Final = 1_048_576
"""The longest frame taken (characters); a server sends at most its `limits.frame` bytes (65,536 unless told)."""

_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SECURE: Final = {"https", "wss"}


class Address(NamedTuple):
    """One WebSocket to open: `url` for people, the rest for the handshake; `tls` is None where there is none."""

    url: str
    host: str
    port: int
    authority: str
    target: str
    headers: list[tuple[bytes, bytes]]
    tls: ssl.SSLContext | None


class WebSocketTransport:
    """Opens WebSockets to the server at `url` (`http`, `https`, `ws` or `wss`; its path stands before `/v1/ws`)."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with each handshake. Raises `ValueError` where `url` is none."""
        parts = urlsplit(url)
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; it looks like http://HOST:PORT")
        self._url, self._parts = url, parts
        self._host, self._port = parts.hostname, parts.port or _PORTS[parts.scheme]
        self._headers = [(k.encode(), v.encode()) for k, v in (headers or {}).items()]

    def connect(self, after: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Connection]:
        """Open a feed; see `Transport.connect`."""
        query = {"after": after, "topics": ",".join(topics)}
        asked = urlencode({name: value for name, value in query.items() if value}, safe=",")
        address = Address(
            self._url,
            self._host,
            self._port,
            self._parts.netloc.rpartition("@")[2],
            f"{self._parts.path.rstrip('/')}{PATH}{'?' if asked else ''}{asked}",
            self._headers,
            ssl.create_default_context() if self._parts.scheme in _SECURE else None,
        )
        if sniffio.current_async_library() == "trio":
            from cloudchat_transports.ws import client_trio  # noqa: PLC0415 - only what runs

            return client_trio.connect(address)
        from cloudchat_transports.ws import client_anyio  # noqa: PLC0415

        return client_anyio.connect(address)


def rejected(
    status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes | None
) -> RejectedError:
    """Say what the server said: its problem's detail (RFC 9457), or the bare status where that is no problem."""
    detail = f"the server answered with HTTP status {status}"
    with suppress(msgspec.MsgspecError, UnicodeError, LookupError, TypeError):
        detail = str(msgspec.json.decode(body or b"")["detail"])
    after = dict(headers).get(b"retry-after", b"").decode("latin-1")
    return RejectedError(status, detail, float(after) if after.isdecimal() else None)
