"""Sockets of the simulated network: to the server as the operating system's, to the clients as Trio's.

They take and give what their connection's pipes have room for and hold, and say otherwise what a kernel would say.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudchat_transports.testing.simulation.network import Connection, Network, Pipe, Side

T = TypeVar("T")

PORT: Final = 8000
"""Where the server listens."""


class Socket:
    """One end of a connection, as a non-blocking socket of the operating system."""

    family: Final = socket.AF_INET

    def __init__(
        self,
        network: Network,
        connection: Connection | None,
        side: Side,
        incoming: Pipe | None,
        outgoing: Pipe | None,
    ) -> None:
        self._network, self.connection, self._side = network, connection, side
        self._in, self._out = incoming, outgoing
        self._fd = network.register(self)
        self._broken = self._resets = False
        self.dead = False
        """Whether the process that it belongs to is no more."""
        self.waiting_to_come = side == "server"
        self._reading, self._writing = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._warned: set[trio.lowlevel.Task] = set()

    # -- as the program sees it

    def fileno(self) -> int:
        return self._fd

    @property
    def closed(self) -> bool:
        return self._fd < 0

    @property
    def gone(self) -> bool:
        """Whether nothing can be read or written here any more."""
        return self._fd < 0 or self._broken

    def _check(self) -> None:
        if self._fd < 0:
            raise OSError(errno.EBADF, "the socket is closed")
        if self._broken:
            raise ConnectionResetError(errno.ECONNRESET, "the connection was reset")

    def recv(self, size: int) -> bytes:
        assert self._in is not None, "a connected socket is read from"
        if self._fd >= 0 and self._in.inbox and not self.dead:
            return self._in.read(size)
        self._check()
        if self._in.finished:
            return b""
        raise BlockingIOError(errno.EAGAIN, "nothing has come")

    def send(self, data: bytes | memoryview) -> int:
        assert self._out is not None, "a connected socket is written to"
        self._check()
        if self._out.ended:
            raise BrokenPipeError(errno.EPIPE, "the connection was shut down")
        if not data:
            return 0
        if self._side == "client" and self.connection is not None:
            room = max(self.connection.line.buffer - len(self._out.flight), 0)
            if room and not self.connection.said(bytes(data[:room])):
                return min(room, len(data))
        taken = self._out.write(data)
        if self._side == "server" and taken < len(data):
            what = "took a part of a write" if taken else "refused a write"
            self._network.coverage[f"a server's kernel {what}"] += 1
        if not taken:
            raise BlockingIOError(errno.EAGAIN, "there is no room")
        return taken

    def send_quietly(self, data: bytes) -> None:
        """Send a copy of what somebody else has sent, where that is still possible."""
        if not self.gone and self._out is not None:
            self._out.write(data)

    def shutdown(self, how: int) -> None:
        self._check()
        if self._out is not None and how != socket.SHUT_RD:
            self._out.ended = True
            self._out.move()

    def setsockopt(
        self, level: int, option: int, value: int | bytes | None = None, size: int | None = None
    ) -> None:
        if level == socket.SOL_SOCKET and option == socket.SO_LINGER:
            self._resets = True
        if level == socket.IPPROTO_TCP and option == getattr(socket, "TCP_USER_TIMEOUT", -1):
            assert isinstance(value, int), "a number of milliseconds"
            if self._out is not None:
                self._out.patience = value / 1000

    def setblocking(self, flag: bool) -> None:  # noqa: FBT001 - the operating system's signature
        assert not flag, "nobody blocks in a simulated world"

    def getpeername(self) -> tuple[str, int]:
        self._check()
        assert self.connection is not None, "a connected socket has a peer"
        return self.connection.line.address, 40_000 + self.connection.number

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", PORT

    def close(self) -> None:
        if self._fd < 0:
            return
        self._network.forget(self._fd)
        self._fd = -1
        if self._in is not None and self._out is not None and self.connection is not None:
            if not self._broken and not self.dead:
                peer = self._out.receiver
                if self._resets or self._in.inbox:
                    self._out.flight.clear()
                    if not self._out.broken:
                        peer.fail()
                else:
                    self._out.ended = True
                    self._out.move()
            if self._side == "client":
                self.connection.end_double()
            self.connection.over()
        self.notify_closing()

    # -- as the network sees it

    def fail(self) -> None:
        """The connection is lost, and this end is told."""
        self._broken = True
        self.wake_reader()
        self.wake_writer()
        if self.connection is not None:
            self.connection.over()

    def die(self) -> None:
        """The process is gone: nothing that it still does matters."""
        self.dead = True
        if self._in is not None and self._out is not None:
            self._in.broken = self._out.broken = True
        self.fail()

    def wake_reader(self) -> None:
        self._reading.unpark_all()

    def wake_writer(self) -> None:
        self._writing.unpark_all()

    # -- as Trio sees it

    @property
    def readable(self) -> bool:
        return self._broken or (self._in is not None and bool(self._in.inbox or self._in.finished))

    @property
    def writable(self) -> bool:
        if self._broken or self._out is None:
            return True
        room = self._out._line.buffer - len(self._out.flight)  # noqa: SLF001 - its own pipe
        return room > 0

    async def wait_readable(self) -> None:
        await self._wait(self._reading, lambda: self.readable)

    async def wait_writable(self) -> None:
        await self._wait(self._writing, lambda: self.writable)

    async def _wait(self, lot: trio.lowlevel.ParkingLot, ready: Callable[[], bool]) -> None:
        if self._fd < 0:
            raise trio.ClosedResourceError("the socket is closed")
        if len(lot):
            raise trio.BusyResourceError("another task waits for this socket")
        if ready():
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        while not ready():  # to park is a checkpoint of its own, as waiting for a real socket is
            await lot.park()
            if task in self._warned:
                self._warned.discard(task)
                raise trio.ClosedResourceError("the socket is being closed")
            if self._fd < 0:
                return  # it was ready, and closed before this task had its turn: who uses it is told

    def notify_closing(self) -> None:
        """Wake those who wait; not who was woken before, and has not had its turn yet."""
        self._warned.update(self._reading.unpark_all(), self._writing.unpark_all())


class Listening(Socket):
    """The server's listening socket."""

    def __init__(self, network: Network) -> None:
        super().__init__(network, None, "server", None, None)
        self._waiting: list[Socket] = []

    def come(self, sock: Socket) -> None:
        """Somebody connects."""
        sock.waiting_to_come = False
        self._waiting.append(sock)
        self.wake_reader()

    @property
    def readable(self) -> bool:
        return bool(self._waiting)

    def accept(self) -> tuple[Socket, tuple[str, int]]:
        self._check()
        if not self._waiting:
            raise BlockingIOError(errno.EAGAIN, "nobody connects")
        sock = self._waiting.pop(0)
        assert sock.connection is not None, "it comes from a client"
        return sock, (sock.connection.line.address, 40_000 + sock.connection.number)

    def refuse(self) -> None:
        """Let nobody in who waits."""
        for sock in self._waiting:
            if sock.connection is not None:
                sock.connection.client.fail()
        self._waiting.clear()

    def close(self) -> None:
        self.refuse()
        super().close()


class ClientSocket(trio.socket.SocketType):
    """A client's end, as a socket of Trio's."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sock: Socket | None = None
        self._shut = self._closed = False

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET

    @property
    def type(self) -> socket.SocketKind:
        return socket.SOCK_STREAM

    @property
    def did_shutdown_SHUT_WR(self) -> bool:  # noqa: N802 - Trio's name
        return self._shut

    def _connected(self) -> Socket:
        if self._closed:
            raise OSError(errno.EBADF, "the socket is closed")
        assert self._sock is not None, "a client connects first"
        return self._sock

    async def connect(self, address: Any) -> None:
        sock = await self._network.connect(address[0])
        if self._closed:
            sock.close()
            raise trio.ClosedResourceError("the socket is closed")
        self._sock = sock

    async def send(self, data: Any, flags: int = 0) -> int:
        return await self._try(
            lambda sock: sock.send(bytes(data)), lambda sock: sock.wait_writable()
        )

    async def recv(self, size: int, flags: int = 0) -> bytes:
        return await self._try(lambda sock: sock.recv(size), lambda sock: sock.wait_readable())

    async def _try(
        self, what: Callable[[Socket], T], wait: Callable[[Socket], Awaitable[None]]
    ) -> T:
        """Do it, once it can be done: with one checkpoint where it can at once, as Trio's sockets do."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            done = what(self._connected())
        except BlockingIOError:
            pass
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return done
        while True:
            await wait(self._connected())
            with suppress(BlockingIOError):
                return what(self._connected())

    async def wait_writable(self) -> None:
        await self._connected().wait_writable()

    def is_readable(self) -> bool:
        return self._connected().readable

    def fileno(self) -> int:
        return -1 if self._sock is None else self._sock.fileno()

    def shutdown(self, how: int) -> None:
        self._shut = True
        self._connected().shutdown(how)

    def setsockopt(
        self, level: int, option: int, value: Any = None, size: int | None = None
    ) -> None:
        """Take any option: there is nothing to tune."""

    def getsockopt(self, level: int, option: int, size: int | None = None) -> Any:
        return 0

    def getpeername(self) -> tuple[str, int]:
        return "127.0.0.1", PORT

    def getsockname(self) -> tuple[str, int]:
        return self._connected().getpeername()

    def close(self) -> None:
        self._closed = True
        if self._sock is not None:
            self._sock.close()
