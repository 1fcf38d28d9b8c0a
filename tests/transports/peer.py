"""A server that does what a test tells it to, also what no server should: for tests of our own client."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import anyio
import anyio.abc
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT = "2026-11-23T10:00:00.000Z"


class Peer:
    """A listening socket; `accept` takes the next connection."""

    def __init__(self, listener: anyio.abc.SocketListener) -> None:
        self._listener = listener
        self._streams: list[anyio.abc.SocketStream] = []
        self.port: int = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.url = f"http://127.0.0.1:{self.port}"

    async def accept(self, *, frames: int = 1) -> Link:
        """Take the next connection and shake hands; `frames` in which each text is sent."""
        link = Link(await self._next(), frames)
        request = await link.event()
        assert isinstance(request, Request)
        link.request = request
        await link.say(AcceptConnection(subprotocol="cloudchat.v1"))
        return link

    async def welcome(self, **fields: Any) -> Link:
        """Take the next connection and say welcome."""
        link = await self.accept()
        await link.tell(**{**WELCOME, **fields})
        return link

    async def reject(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> Link:
        """Take the next connection and answer with an HTTP error."""
        link = Link(await self._next(), 1)
        assert isinstance(await link.event(), Request)
        length = (b"content-length", b"%d" % len(body))
        await link.say(
            RejectConnection(status_code=status, headers=[length, *headers], has_body=True)
        )
        await link.say(RejectData(data=body))
        return link

    async def hang_up(self, data: bytes = b"") -> None:
        """Take the next connection, say `data`, and be gone."""
        stream = await self._next()
        await stream.receive()
        if data:
            await stream.send(data)
        await stream.aclose()

    async def aclose(self) -> None:
        """Be gone, with all connections."""
        for stream in self._streams:
            await anyio.aclose_forcefully(stream)
        await self._listener.aclose()

    async def _next(self) -> anyio.abc.SocketStream:
        self._streams.append(await self._listener.accept())
        return self._streams[-1]


WELCOME = {
    "type": "welcome",
    "protocol": "cloudchat.v1",
    "feed": "f",
    "cursor": "e-0",
    "at": AT,
    "heartbeat": 60,
    "limits": {"text": 4096, "nickname": 32, "frame": 65536, "unanswered": 100},
}


class Link:
    """One WebSocket, as its server sees it."""

    def __init__(self, stream: anyio.abc.SocketStream, frames: int) -> None:
        self.request: Request
        self._stream, self._frames = stream, frames
        self._wsproto = WSConnection(ConnectionType.SERVER)
        self._events: list[Event] = []

    @property
    def query(self) -> dict[str, str]:
        """The parameters that the feed was asked for with."""
        values = parse_qs(urlsplit(self.request.target).query)
        return {name: value[-1] for name, value in values.items()}

    async def event(self) -> Event:
        """The next thing that the client sends; a lost connection is a close with 1006."""
        while not self._events:
            try:
                data: bytes | None = await self._stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                data = None
            self._wsproto.receive_data(data)
            self._events += self._wsproto.events()
        return self._events.pop(0)

    async def command(self) -> dict[str, Any]:
        """The next command."""
        event = await self.event()
        assert isinstance(event, TextMessage), event
        value: dict[str, Any] = json.loads(event.data)
        return value

    async def closed(self) -> int:
        """Read on to the end, answer it, and return its code."""
        while not isinstance(event := await self.event(), CloseConnection):
            assert isinstance(event, (TextMessage, Pong)), event
        if event.code != 1006:
            await self.say(event.response())
        return event.code

    async def ponged(self) -> bytes:
        event = await self.event()
        assert isinstance(event, Pong), event
        return bytes(event.payload)

    async def tell(self, **fields: Any) -> None:
        """Send one frame of the protocol."""
        await self.text(json.dumps(fields))

    async def ack(self, command: dict[str, Any], **fields: Any) -> None:
        """Acknowledge `command`."""
        await self.tell(type="ack", id=command["id"], cursor="e-1", **fields)

    async def refuse(self, command: dict[str, Any], code: str, **fields: Any) -> None:
        """Decline `command`."""
        await self.tell(type="error", id=command["id"], code=code, detail="no", **fields)

    async def let_in(self, *, resumed: bool = False) -> dict[str, Any]:
        """Take a join and grant it."""
        join = await self.command()
        assert join["type"] == "join", join
        await self.ack(join, nickname=join["nickname"], resumed=resumed)
        return join

    async def text(self, data: str) -> None:
        """Send a text message."""
        size = -(-len(data) // self._frames)
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [""]
        for part in parts[:-1]:
            await self.say(TextMessage(part, message_finished=False))
        await self.say(TextMessage(parts[-1]))

    async def ping(self, payload: bytes) -> None:
        await self.say(Ping(payload))

    async def close(self, code: int) -> None:
        """Close with `code`, read the answer, and be gone."""
        await self.say(CloseConnection(code))
        while not isinstance(await self.event(), CloseConnection):
            pass
        await self._stream.aclose()

    async def drop(self) -> None:
        """Be gone without a word."""
        await anyio.aclose_forcefully(self._stream)

    async def say(self, event: Event) -> None:
        await self._stream.send(self._wsproto.send(event))

    async def raw(self, data: bytes) -> None:
        await self._stream.send(data)


@asynccontextmanager
async def listening() -> AsyncIterator[Peer]:
    """A peer on a free port of the loopback interface."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    (listener,) = multi.listeners
    assert isinstance(listener, anyio.abc.SocketListener)
    peer = Peer(listener)
    try:
        yield peer
    finally:
        with anyio.CancelScope(shield=True):
            await peer.aclose()
