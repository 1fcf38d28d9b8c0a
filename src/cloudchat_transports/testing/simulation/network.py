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
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from cloudchat_transports.testing.simulation.sockets import ClientSocket, Listening, Socket

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

Direction = Literal["up", "down"]
Side = Literal["client", "server"]

FIRST_FD: Final = 1 << 30
"""Descriptors of the simulated network begin here, where no real one is."""

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
        type: int | None = None,
        proto: int | None = None,
    ) -> trio.socket.SocketType:
        """Return a socket for a client, not connected yet: the network is a factory of Trio's sockets."""
        return ClientSocket(self)

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
        item = (trio.current_time() + seconds, next(self._turns), what)
        heapq.heappush(self._due, item)
        if self._due[0] is item:  # what is due before it is waited for already
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
