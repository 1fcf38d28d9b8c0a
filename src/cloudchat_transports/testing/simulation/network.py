"""The network: lines between clients and the server, with all that can go wrong on them.

Theory of operation. A connection is two `Pipe`s and a `Socket` at each end. What is written stands in the pipe's
`flight` (the sender's kernel), travels in pieces, each with its delay, and stands in `inbox` (the receiver's kernel)
until it is read; both have room for so many bytes, so writes are taken in part or not at all, as by a real kernel. On a
line without delay a write has arrived when it returns.

A `Line` is one client's way to the server; it has an address of its own, by which the network knows whose connection
it is. Faults change the line, or the connections that are open on it. Each pipe draws from a source of its own, so that
what happens on one line does not depend on the turns of another.
"""

from __future__ import annotations

import errno
import heapq
import random
import socket
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

Direction = Literal["up", "down"]
Side = Literal["client", "server"]

FIRST_FD: Final = 1 << 30
"""Descriptors of the simulated network begin here, where no real one is."""

PORT: Final = 8000
BUFFER: Final = 65_536
"""Bytes that each kernel holds of a connection, one way, unless a line has less room."""

_CONNECT: Final = 3.0  # seconds in which somebody has to answer, or the network gives up


@dataclass
class Line:
    """One client's way to the server; times in seconds, sizes in bytes."""

    address: str
    delay: float = 0.0
    """The longest that a piece takes; each draws its own."""
    piece: int = 0
    """The most that travels at once (0: all there is)."""
    buffer: int = BUFFER
    blocked: frozenset[str] = frozenset()
    """The paths of feeds (`ws`, `sse`, `poll`) that something in between does not let through."""
    doubling: bool = False
    """Whether connections that are opened now are opened twice: a copy of all that is sent arrives as well, later."""
    connections: list[Connection] = field(default_factory=list)
    stalled: dict[Direction, bool] = field(default_factory=lambda: {"up": False, "down": False})
    cut_after: int = 0
    """After so many more bytes downstream everything on this line is cut (0: never)."""


class Network:
    """All lines, and the one server at their other end."""

    def __init__(self, seed: int, coverage: Counter[str], note: Callable[[str], None]) -> None:
        """Draw delays and pieces from `seed`; count what happened in `coverage` and tell it to `note`."""
        self.seed, self.coverage, self.note = seed, coverage, note
        self.lines: dict[str, Line] = {}
        self.listening: Listening | None = None
        self.connections = 0
        self._sockets: dict[int, Socket] = {}
        self._fds = count(FIRST_FD)
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._turns = count()
        self._news = trio.Event()

    # -- for the edges

    def write(self, fd: int, data: Any) -> int:
        """Write to the socket with this descriptor, as `os.write` does."""
        sock = self._sockets.get(fd)
        if sock is None:
            raise OSError(errno.EBADF, "no such descriptor")
        return sock.send(data)

    def socket(
        self,
        family: int | None = None,
        type: int | None = None,  # noqa: A002 - Trio's word for it
        proto: int | None = None,
    ) -> trio.socket.SocketType:
        """Return a socket for a client, not connected yet: the network is a factory of Trio's sockets."""
        return _ClientSocket(self)

    def listen(self) -> Listening:
        """Return the server's listening socket; there is one at a time."""
        self.listening = Listening(self)
        return self.listening

    def register(self, sock: Socket) -> int:
        """Return a descriptor for `sock`."""
        fd = next(self._fds)
        self._sockets[fd] = sock
        return fd

    def forget(self, fd: int) -> None:
        """The descriptor is closed."""
        self._sockets.pop(fd, None)

    # -- time

    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Do `what` after some seconds."""
        heapq.heappush(self._due, (trio.current_time() + seconds, next(self._turns), what))
        self._news.set()

    async def run(self) -> None:
        """Move what is on its way, until cancelled."""
        while True:
            now = trio.current_time()
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
            self._news = trio.Event()
            with trio.move_on_at(self._due[0][0] if self._due else float("inf")):
                await self._news.wait()

    # -- connections

    async def connect(self, address: str) -> Socket:
        """Return the client's end of a new connection on the line with this address."""
        line = self.lines[address]
        await trio.lowlevel.checkpoint()
        if line.delay:
            await trio.sleep(line.delay)
        if line.stalled["up"] or line.stalled["down"]:
            self.coverage["a connection attempt that nobody answered"] += 1
            await trio.sleep(_CONNECT)
            raise TimeoutError(errno.ETIMEDOUT, "no answer")
        if self.listening is None or self.listening.closed:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "nobody listens")
        connection = Connection(self, line)
        self.listening.come(connection.server)
        if line.doubling:
            self.coverage["a connection that arrived twice"] += 1
            connection.double = Connection(self, line, sink=True)
        return connection.client

    def stall(self, line: Line, direction: Direction, stalled: bool) -> None:  # noqa: FBT001 - a state
        """Have nothing pass in this direction any more, without a word; or let everything go on."""
        line.stalled[direction] = stalled
        if not stalled:
            for connection in tuple(line.connections):
                pipe = connection.up if direction == "up" else connection.down
                pipe.move()

    def cut(self, line: Line, sides: tuple[Side, ...] = ("client", "server")) -> int:
        """Break all connections of a line for those `sides`; others hear nothing any more. Return how many."""
        broken = 0
        for connection in tuple(line.connections):
            broken += connection.cut(sides)
        return broken

    def kill(self, *, silent: bool) -> None:
        """The server is gone: its clients are told so by resets, or nothing any more (`silent`)."""
        if self.listening is not None:
            self.listening.refuse()
            self.listening = None
        for line in self.lines.values():
            for connection in tuple(line.connections):
                connection.server.die()
                if not silent:
                    connection.client.fail()


class Connection:
    """Both ends of one connection; `kind` is the feed that it was opened for, or `post`."""

    def __init__(self, network: Network, line: Line, *, sink: bool = False) -> None:
        """Connect; a `sink` is the copy of a connection: what comes down on it is thrown away."""
        network.connections += 1
        self.number = network.connections
        self.network, self.line, self.sink = network, line, sink
        self.kind = ""
        self.opened_at = trio.current_time()
        self.double: Connection | None = None
        self.up, self.down = Pipe(self, "up"), Pipe(self, "down")
        self.client = Socket(network, self, "client", self.down, self.up)
        self.server = Socket(network, self, "server", self.up, self.down)
        self.up.sender, self.up.receiver = self.client, self.server
        self.down.sender, self.down.receiver = self.server, self.client
        line.connections.append(self)
        self._begun = b""

    def said(self, data: bytes) -> bool:
        """The client has written `data`; tell whether what is in between lets it through."""
        if not self.kind:
            self._begun += data
            if b"\r" in self._begun:
                path = self._begun.partition(b"/v1/")[2]
                name = path[:8].decode("latin-1").partition(" ")[0].partition("?")[0]
                self.kind = name if name in {"ws", "sse", "poll"} else "post"
                self.network.note(f"connection {self.number} of {self.line.address}: {self.kind}")
        if self.kind in self.line.blocked:
            self.network.coverage["a feed that something in between does not let through"] += 1
            self.cut(("client", "server"))
            return False
        double = self.double
        if double is not None:
            if double.server.waiting_to_come:
                listening = self.network.listening
                if listening is None or listening.closed:
                    self.double = None
                    return True
                listening.come(double.server)
            self.network.later(1.0, lambda: double.client.send_quietly(data))
        return True

    def cut(self, sides: tuple[Side, ...]) -> bool:
        """Break it for `sides`; the other one hears nothing any more. Tell whether there was something to break."""
        if self.client.gone and self.server.gone:
            return False
        if self.down.flight:
            self.network.coverage["a connection cut with bytes on their way down"] += 1
        for pipe in (self.up, self.down):
            pipe.broken = True
        for side in sides:
            (self.client if side == "client" else self.server).fail()
        self.end_double()
        return True

    def end_double(self) -> None:
        """The copy ends as well, a little later."""
        double, self.double = self.double, None
        if double is not None:
            self.network.later(2.0, double.client.close)

    def over(self) -> None:
        """Forget the connection, once both ends are gone."""
        if self.client.gone and self.server.gone and self in self.line.connections:
            self.line.connections.remove(self)


class Pipe:
    """One direction of a connection."""

    sender: Socket
    receiver: Socket

    def __init__(self, connection: Connection, direction: Direction) -> None:
        self._connection, self._direction = connection, direction
        self._network, self._line = connection.network, connection.line
        self._chance = random.Random(f"{self._network.seed} {connection.number} {direction}")
        self.flight, self.inbox = bytearray(), bytearray()
        self.broken = False
        """Nothing arrives any more, and nobody is told."""
        self.ended = self.finished = False
        """The sender has said that it will send no more; the receiver has been told so."""
        self._moving = False
        self._since = 0.0
        self.patience = 0.0
        """Seconds after which the sender's kernel gives up on bytes that do not arrive (0: never)."""

    def write(self, data: bytes | memoryview) -> int:
        """Take what there is room for; 0: none."""
        room = self._line.buffer - len(self.flight)
        taken = bytes(data[: max(room, 0)])
        if taken:
            if not self.flight:
                self._since = trio.current_time()
            self.flight += taken
            self.move()
        if self.flight and self.patience:
            self._watch()
        return len(taken)

    def move(self) -> None:
        """Have what is in flight travel on."""
        nothing = not self.flight and (self.finished or not self.ended)
        full = bool(self.flight) and len(self.inbox) >= self._line.buffer
        if self._moving or self._stopped or nothing or full:
            return
        if self._line.delay:
            self._moving = True
            self._network.later(self._chance.uniform(0, self._line.delay), self._arrive)
            return
        while self._pass_on():
            pass

    @property
    def _stopped(self) -> bool:
        return self.broken or (self._line.stalled[self._direction] and not self._connection.sink)

    def _arrive(self) -> None:
        self._moving = False
        if not self._stopped:
            self._pass_on()
            self.move()

    def _pass_on(self) -> bool:
        """Let one piece arrive; tell whether there is another, and room for it."""
        piece, room = self._line.piece, self._line.buffer - len(self.inbox)
        size = min(len(self.flight), room)
        if piece and size > 1:
            size = self._chance.randint(1, min(piece, size))
        if self._direction == "down" and self._line.cut_after and not self._connection.sink:
            left = self._line.cut_after
            if size >= left:
                self._line.cut_after = 0
                self._take(left)
                self._network.coverage["a line cut behind so many bytes"] += 1
                self._network.cut(self._line)
                return False
            self._line.cut_after -= size
        if size:
            self._take(size)
        if not self.flight and self.ended and not self.finished:
            self.finished = True
            self.receiver.wake_reader()
        return bool(self.flight) and len(self.inbox) < self._line.buffer and not self._stopped

    def _take(self, size: int) -> None:
        piece = self.flight[:size]
        del self.flight[:size]
        self._since = trio.current_time()
        self.sender.wake_writer()
        if self._connection.sink and self._direction == "down":
            return
        if self.receiver.gone:
            if not self.receiver.dead:
                self.sender.fail()  # as a kernel answers what comes for a socket that is closed
            return
        self.inbox += piece
        self.receiver.wake_reader()

    def read(self, size: int) -> bytes:
        """Return what has arrived, up to `size` bytes."""
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        self.move()
        return data

    def _watch(self) -> None:
        since = self._since

        def look() -> None:
            if self.flight and self._since == since and not self.sender.gone:
                self._network.coverage["a kernel gave up on a peer that took nothing"] += 1
                self.sender.fail()

        self._network.later(self.patience, look)


class Socket:
    """One end of a connection, as a non-blocking socket of the operating system."""

    family: Final = socket.AF_INET

    def __init__(
        self, network: Network, connection: Connection | None, side: Side, incoming: Pipe | None, outgoing: Pipe | None
    ) -> None:
        self._network, self.connection, self._side = network, connection, side
        self._in, self._out = incoming, outgoing
        self._fd = network.register(self)
        self._broken = self._resets = False
        self.dead = False
        """Whether the process that it belongs to is no more."""
        self.waiting_to_come = side == "server"
        self._reading, self._writing = trio.lowlevel.ParkingLot(), trio.lowlevel.ParkingLot()
        self._closings = 0

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

    def setsockopt(self, level: int, option: int, value: int | bytes | None = None, size: int | None = None) -> None:
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
        closings = self._closings
        await trio.lowlevel.checkpoint_if_cancelled()
        while not ready():
            await lot.park()
            if self._closings != closings:
                raise trio.ClosedResourceError("the socket is being closed")
        await trio.lowlevel.cancel_shielded_checkpoint()

    def notify_closing(self) -> None:
        self._closings += 1
        self.wake_reader()
        self.wake_writer()


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


class _ClientSocket(trio.socket.SocketType):
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
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                sent = self._connected().send(bytes(data))
            except BlockingIOError:
                await self._connected().wait_writable()
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return sent

    async def recv(self, size: int, flags: int = 0) -> bytes:
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                data = self._connected().recv(size)
            except BlockingIOError:
                await self._connected().wait_readable()
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
                return data

    async def wait_writable(self) -> None:
        await self._connected().wait_writable()

    def is_readable(self) -> bool:
        return self._connected().readable

    def fileno(self) -> int:
        return -1 if self._sock is None else self._sock.fileno()

    def shutdown(self, how: int) -> None:
        self._shut = True
        self._connected().shutdown(how)

    def setsockopt(self, level: int, option: int, value: Any = None, size: int | None = None) -> None:
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
