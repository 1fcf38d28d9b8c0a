"""The client half of the WebSocket transport: wsproto over anyio's streams, on asyncio and Trio alike.

There is no task of its own: who calls `receive` reads from the socket, answers pings and the closing handshake. So a
client that does not read holds up its server, which keeps a cursor for it, and nothing is buffered in between.
"""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit

import anyio
import msgspec
from wsproto import ConnectionType, WSConnection
from wsproto.connection import ConnectionState
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    RejectConnection,
    RejectData,
    Request,
)
from wsproto.utilities import LocalProtocolError, RemoteProtocolError

from cloudchat_core.session import PROTOCOL
from cloudchat_transports.client_transport import (
    LOST,
    Connection,
    RejectedError,
    UnreachableError,
    reason,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from anyio.abc import ByteStream

PATH: Final = "/v1/ws"
OPENING: Final = 10.0
"""Seconds in which a connection has to be there and answer."""
MAX_MESSAGE: Final = 1_048_576
"""The longest frame taken (characters); a server sends at most its `limits.frame` bytes (65,536 unless told)."""
RECEIVE: Final = 65_536

_TOO_BIG: Final = 1009
_PORTS: Final = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SECURE: Final = {"https", "wss"}


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

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        """Open a feed; see `Transport.connect`."""
        query = {"after": after, "topics": ",".join(topics)}
        asked = urlencode({name: value for name, value in query.items() if value}, safe=",")
        target = f"{self._parts.path.rstrip('/')}{PATH}{'?' if asked else ''}{asked}"
        request = Request(
            host=self._parts.netloc.rpartition("@")[2],
            target=target,
            subprotocols=[PROTOCOL],
            extra_headers=self._headers,
        )
        stream: ByteStream | None = None
        try:
            try:
                with anyio.fail_after(OPENING):
                    stream = await self._open_stream()
                    connection = _Connection(stream)
                    await connection.open(request)
            except TimeoutError:
                raise self._unreachable(f"no answer within {OPENING:g} s") from None
            except (OSError, anyio.BrokenResourceError) as error:
                raise self._unreachable(reason(error)) from error
            except (anyio.EndOfStream, RemoteProtocolError):
                raise self._unreachable("what answers there is no cloudchat server") from None
            yield connection
        finally:
            if stream is not None:
                await anyio.aclose_forcefully(stream)

    async def _open_stream(self) -> ByteStream:
        if self._parts.scheme not in _SECURE:
            return await anyio.connect_tcp(self._host, self._port)
        context = ssl.create_default_context()
        return await anyio.connect_tcp(
            self._host, self._port, ssl_context=context, tls_standard_compatible=False
        )

    def _unreachable(self, why: str) -> UnreachableError:
        return UnreachableError(f"{self._url}: {why}")


class _Connection:
    """A WebSocket over a stream."""

    def __init__(self, stream: ByteStream) -> None:
        self.close_code = LOST
        self._stream, self._wsproto = stream, WSConnection(ConnectionType.CLIENT)
        self._sending = anyio.Lock()
        self._events: list[Event] = []

    async def open(self, request: Request) -> None:
        """Shake hands; raises `RejectedError`, or what the stream and wsproto raise."""
        await self._send(request)
        match await self._next():
            case RejectConnection(status_code=status, headers=headers, has_body=has_body):
                body = bytearray()
                while has_body and isinstance(piece := await self._next(), RejectData):
                    body += piece.data
                    has_body = not piece.body_finished
                raise _rejected(status, dict(headers), bytes(body))
            case AcceptConnection():
                pass

    async def receive(self) -> str | None:
        parts: list[str] = []
        size = 0
        while True:
            try:
                event = await self._next()
            except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
                return None
            match event:
                case Message(data=data, message_finished=finished):
                    # The protocol has no binary frames; read as text, the session says what is wrong.
                    parts.append(data if isinstance(data, str) else data.decode("latin-1"))
                    size += len(data)
                    if size > MAX_MESSAGE:
                        await self._say(CloseConnection(_TOO_BIG))
                        return None
                    if finished:
                        return "".join(parts)
                case Ping():
                    await self._say(event.response())
                case CloseConnection(code=code):
                    # The server's, or wsproto's word for what the server did wrong.
                    self.close_code = code
                    await self._say(event.response())
                    return None
                case _:
                    pass

    async def send(self, frame: bytes) -> None:
        await self._say(Message(frame.decode()))

    async def close(self, code: int) -> None:
        await self._say(CloseConnection(code))
        while await self.receive() is not None:
            pass

    async def _say(self, event: Event) -> None:
        """Send `event`, unless the connection is at its end already: whoever receives is told."""
        try:
            await self._send(event)
        except (LocalProtocolError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            await anyio.lowlevel.checkpoint()

    async def _send(self, event: Event) -> None:
        async with self._sending:
            await self._stream.send(self._wsproto.send(event))

    async def _next(self) -> Event:
        while not self._events:
            if self._wsproto.state is ConnectionState.CLOSED:
                raise anyio.EndOfStream
            self._wsproto.receive_data(await self._stream.receive(RECEIVE))
            self._events += self._wsproto.events()
        return self._events.pop(0)


def _rejected(status: int, headers: Mapping[bytes, bytes], body: bytes) -> RejectedError:
    """Say what the server said: its problem's detail (RFC 9457), or the bare status where that is no problem."""
    detail = f"the server answered with HTTP status {status}"
    with suppress(msgspec.MsgspecError, UnicodeError, LookupError, TypeError):
        detail = str(msgspec.json.decode(body)["detail"])
    after = headers.get(b"retry-after", b"").decode("latin-1")
    return RejectedError(status, detail, float(after) if after.isdecimal() else None)
