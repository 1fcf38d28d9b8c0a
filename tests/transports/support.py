"""A whole server on a port of the loopback interface, and a client that can also do what no client should."""

from __future__ import annotations

import socket
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec
import trio
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from cloudchat_core.clock import ManualClock
from cloudchat_core.limits import Limits
from cloudchat_core.rates import Rates
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import ManualTimer
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.access import Access
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.listener import Listener, bind
from cloudchat_transports.ws.server import WebSocketServer
from tests.specs.generated import CONTRACT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wsproto.events import Event

    from cloudchat_engine.ports import Log, Retention

TOKEN = "alexandras-own-token-1"
TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The smallest web application."""
    body = f"hello from {scope['path']}".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [(b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


@dataclass
class Server:
    port: int
    node: Node
    clock: ManualClock
    listener: Listener
    fanout: Fanout
    clients: list[socket.socket] = field(default_factory=list)


@asynccontextmanager
async def serving(
    limits: Limits | None = None,
    *,
    heartbeat: float = 60,
    app: Any = hello,
    send_buffer: int = 0,
    keep: Retention | None = None,
    log: Log | None = None,
    patience: float = 30,
) -> AsyncIterator[Server]:
    """A server that listens; the node's clock stands still. A test that hangs is ended after `patience` seconds."""
    clock, ids = ManualClock(), count()
    timer = ManualTimer(clock)
    node = Node(
        log or MemoryLog(),
        SimulatedProvider(timer, 20),
        clock=clock,
        timer=timer,
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        new_epoch=lambda: "k3f9",
        limits=limits or Limits(),
        heartbeat=heartbeat,
        keep=keep,
    )
    bounds = node.limits
    fanout = Fanout(node)
    rates = Rates(bounds.commands_per_second, bounds.commands_burst)
    websockets = WebSocketServer(node, fanout, rates=rates, check=Access().check)
    http = HttpServer(app, bounds, heartbeat)
    sockets = bind("127.0.0.1", 0)
    if send_buffer:  # what a socket accepts inherits it
        sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    listener = Listener(sockets, limits=bounds, websockets=websockets, http=http, fanout=fanout)
    with ExitStack() as closing, trio.fail_after(patience):
        for sock in sockets:
            closing.enter_context(sock)
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            nursery.start_soon(fanout.run)
            nursery.start_soon(websockets.run)
            await nursery.start(listener.run)
            server = Server(listener.port, node, clock, listener, fanout)
            try:
                yield server
            finally:
                for client in server.clients:
                    client.close()
                nursery.cancel_scope.cancel()


def frame(first: int, payload: bytes, *, masked: bool = True) -> bytes:
    """A client's frame, byte for byte (RFC 6455 §5.2); `first` is its first byte."""
    size, flag = len(payload), 0x80 if masked else 0
    if size < 126:
        head = bytes((first, flag | size))
    elif size < 65_536:
        head = bytes((first, flag | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, flag | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = b"\x1b\xad\xc0\xde"
    return head + key + bytes(byte ^ key[place % 4] for place, byte in enumerate(payload))


class Client:
    """A WebSocket client over a plain socket; what arrives is checked by wsproto, frame for frame."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._wsproto = Connection(ConnectionType.CLIENT)
        self._events: list[Event] = []
        self._ids = count(1)
        self._text = ""

    @classmethod
    async def open(
        cls, server: Server, query: str = "", headers: str = "", receive_buffer: int = 0
    ) -> Client:
        """Open a WebSocket; the frames of its beginning are still to be read."""
        client = cls(await connect(server, receive_buffer))
        await client.send(upgrade(server.port, f"/v1/ws{query}", headers))
        head = await read_head(client.sock)
        assert head.startswith(b"HTTP/1.1 101"), head
        return client

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        while data:
            try:
                data = data[self.sock.send(data) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)

    async def say(self, kind: str, **fields: Any) -> str:
        """Send a command and return its id."""
        command_id = fields.pop("id", f"c{next(self._ids)}")
        await self.send(
            frame(TEXT, msgspec.json.encode({"type": kind, "id": command_id, **fields}))
        )
        return str(command_id)

    async def event(self) -> Event:
        """The next thing that the server sends; a lost connection is a close with 1006."""
        while not self._events:
            if not self._receive(65_536):
                await trio.lowlevel.wait_readable(self.sock)
        return self._events.pop(0)

    def _receive(self, size: int) -> int:
        try:
            data = self.sock.recv(size)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            data = b""
        self._wsproto.receive_data(data or None)
        self._events += self._wsproto.events()
        return len(data) or 1

    def arrived(self) -> list[Event]:
        """All that the server has sent up to now."""
        while self._receive(65_536):
            pass
        events, self._events = self._events, []
        return events

    async def take(self, size: int) -> None:
        """Read so many bytes, whatever they are."""
        while size > 0:
            if taken := self._receive(size):
                size -= taken
            else:
                await trio.lowlevel.wait_readable(self.sock)

    async def next(self) -> dict[str, Any]:
        """The next message."""
        while True:
            event = await self.event()
            assert not isinstance(event, CloseConnection), event
            if isinstance(event, TextMessage):
                self._text += event.data
                if event.message_finished:
                    text, self._text = self._text, ""
                    message: dict[str, Any] = msgspec.json.decode(text)
                    CONTRACT.frame("ws", message)
                    return message

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read on to the first message of this type with these fields."""
        wanted = {"type": kind, **fields}
        while True:
            message = await self.next()
            if wanted.items() <= message.items():
                return message

    async def answer(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return the answer to it."""
        command_id = await self.say(kind, **fields)
        while True:
            message = await self.next()
            if message["type"] in {"ack", "error"} and message["id"] == command_id:
                return message

    async def join(self, nickname: str = "Alexandra", token: str = TOKEN) -> None:
        """Enter the chat."""
        answer = await self.answer("join", nickname=nickname, token=token)
        assert answer["type"] == "ack", answer

    async def closed(self) -> int:
        """Read on to the end; the close code."""
        while True:
            event = await self.event()
            if isinstance(event, CloseConnection):
                return int(event.code)

    async def pinged(self) -> bytes:
        """Read on to the next ping; its payload."""
        while True:
            event = await self.event()
            if isinstance(event, Ping):
                return bytes(event.payload)
            assert not isinstance(event, CloseConnection)

    async def ponged(self) -> bytes:
        """Read on to the next pong; its payload."""
        while True:
            event = await self.event()
            if isinstance(event, Pong):
                return bytes(event.payload)
            assert not isinstance(event, (CloseConnection, BytesMessage))

    def vanish(self) -> None:
        """Be gone without a word."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


def upgrade(port: int, target: str, headers: str = "") -> bytes:
    """The request for a WebSocket (RFC 6455 §1.3); a header in `headers` stands in place of the usual one."""
    usual = {
        "Host": f"127.0.0.1:{port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    given = {name for name, _, _ in (entry.partition(":") for entry in headers.split("\r\n"))}
    lines = [f"{name}: {value}" for name, value in usual.items() if name not in given]
    return "\r\n".join(
        [f"GET {target} HTTP/1.1", *lines, *filter(None, [headers]), "", ""]
    ).encode()


async def connect(server: Server, receive_buffer: int = 0) -> socket.socket:
    sock = socket.socket()
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    server.clients.append(sock)
    sock.connect(("127.0.0.1", server.port))
    sock.setblocking(False)
    await trio.lowlevel.checkpoint()
    return sock


async def read_head(sock: socket.socket) -> bytes:
    """Read byte by byte, so that what follows stays in the socket."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not byte:
            return head
        head += byte
    return head


async def read_all(sock: socket.socket) -> bytes:
    """Everything up to the end of the connection."""
    data = b""
    while True:
        try:
            piece = sock.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece
