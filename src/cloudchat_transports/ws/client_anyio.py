"""A WebSocket for asyncio: wsproto over anyio's streams. (On Trio it is trio-websocket: `client_trio.py`.)

There is no task of its own: who calls `receive` reads from the socket, answers pings and the closing handshake. So a
client that does not read holds up its server, which keeps a cursor for it, and nothing is buffered in between.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
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
from cloudchat_transports.client_transport import LOST, Connection, UnreachableError, reason
from cloudchat_transports.ws.client import MAX_MESSAGE, OPENING, Address, rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from anyio.abc import ByteStream

RECEIVE: Final = 65_536
_TOO_BIG: Final = 1009


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Connection]:
    """Open a WebSocket; raises `UnreachableError` or `RejectedError` when entered."""
    request = Request(
        host=address.authority,
        target=address.target,
        subprotocols=[PROTOCOL],
        extra_headers=address.headers,
    )
    stream: ByteStream | None = None
    try:
        try:
            with anyio.fail_after(OPENING):
                stream = await _open_stream(address)
                connection = _Connection(stream)
                await connection.open(request)
        except TimeoutError:
            raise UnreachableError(f"{address.url}: no answer within {OPENING:g} s") from None
        except (OSError, anyio.BrokenResourceError) as error:
            raise UnreachableError(f"{address.url}: {reason(error)}") from error
        except (anyio.EndOfStream, RemoteProtocolError):
            raise UnreachableError(
                f"{address.url}: what answers there is no cloudchat server"
            ) from None
        yield connection
    finally:
        if stream is not None:
            await anyio.aclose_forcefully(stream)


async def _open_stream(address: Address) -> ByteStream:
    if address.tls is None:
        return await anyio.connect_tcp(address.host, address.port)
    return await anyio.connect_tcp(
        address.host, address.port, ssl_context=address.tls, tls_standard_compatible=False
    )


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
                raise rejected(status, headers, bytes(body))
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
