"""What a connection still has to write, and the sweep that has all of them write what is new.

Theory of operation. A connection is a cursor, not a queue. What it has still to write is, in this order,

1. `_rest`: what is left of the one piece that the kernel cut. Nothing may come before it, or a frame would be split.
2. `_queue`: whole pieces that were handed in meanwhile: direct answers (`write`, bounded by `Limits.direct`) and the
   bytes of libraries (`send_all`, whose callers wait: that is their bound). First in, first out.
3. the feed: what `source` has after `cursor`. It is shared by all connections and asked for again each time, so a
   reader that does not keep up costs one cut frame and an integer, however far it is behind.

As long as the kernel takes everything there is no task: `write` and `push` are one system call each. When it refuses
(`stalled`), one task for this connection waits until the socket is writable, works through the three in order, and
ends. A cursor that fell out of the shared window is served by the same task: `refill` reads a page from the log, which
is written as a cut frame would be; then the window is asked again. There is no `await` between "nothing is left" and
"no longer stalled", so nothing that is published meanwhile can be passed over.
"""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from cloudchat_core.limits import Limits

LINGER = 2.0
"""Seconds in which a closing connection may still take its last bytes (nginx: lingering_timeout, 5 s)."""

PIECE = 128
"""Bytes that a queued piece takes besides its own: without them, a megabyte of empty pongs would be sixty."""

_log = logging.getLogger(__name__)

StartSoon: TypeAlias = "Callable[..., None]"
Refill: TypeAlias = "Callable[[int], Awaitable[tuple[bytes, int]]]"
Piece: TypeAlias = "bytes | bytearray | memoryview"


class Source(Protocol):
    """A shared run of framed events: `cloudchat_core.feed.View`, as far as an outlet needs it."""

    @property
    def head(self) -> int:
        """The cursor of a reader that has seen everything."""
        ...

    def since(self, cursor: int) -> tuple[bytes, int] | None:
        """Return framed events after `cursor` and the cursor after them; None: it fell out of the window."""
        ...

    def split(self, cursor: int, written: int) -> tuple[int, bytes]:
        """Return, when `written` bytes of `since(cursor)` went out, the cursor and the rest of the cut frame."""
        ...


class Outgoing(ABC):
    """The writing half of an `Outlet`: synchronous writes that never split or overtake a frame."""

    __slots__ = (
        "_closing",
        "_direct",
        "_limits",
        "_queue",
        "_refill",
        "_rest",
        "_rest_done",
        "_sock",
        "_start_soon",
        "cursor",
        "fd",
        "peer",
        "source",
        "stalled",
        "took_at",
        "wrote_at",
    )

    def __init__(
        self, sock: socket.socket, *, start_soon: StartSoon, limits: Limits, peer: str = ""
    ) -> None:
        self._sock = sock
        self._start_soon = start_soon
        self._limits = limits
        self._rest: Piece = b""
        self._rest_done: trio.Event | None = None
        self._queue: deque[tuple[Piece, trio.Event | None]] | None = None
        self._direct = 0
        self._refill: Refill | None = None
        self._closing = False
        self.fd = sock.fileno()
        """The file descriptor; -1 once the connection is closed."""
        self.peer = peer
        """The peer's address, as rates per address count it."""
        self.source: Source | None = None
        """The feed that this connection follows; None: none."""
        self.cursor = 0
        """The offset of the last event that was written, or begun."""
        self.stalled = False
        """The kernel takes no more: a task writes on when it does."""
        self.took_at = 0.0
        """When the peer last took bytes after it had stalled (`trio.current_time()`)."""
        self.wrote_at = 0.0
        """When the feed last wrote (`trio.current_time()` of the sweep)."""

    @abstractmethod
    def end(self) -> None:
        """Give up on a reader that does not keep up."""

    @abstractmethod
    def abort(self) -> None:
        """Close at once."""

    # ------------------------------------------------------------------ direct answers

    def write(self, data: bytes) -> None:
        """Write a whole piece (frames), after all that was written before; never blocks, never raises.

        What the kernel refuses is kept, up to `Limits.direct` bytes; a reader that lets more pile up is given up on.
        On a closed connection nothing happens.
        """
        if self._closing or not data:
            return
        if not self.stalled:
            self._send(data, None)
            return
        self._direct += len(data) + PIECE
        if self._direct > self._limits.direct:
            self.end()
        else:
            self._enqueue(data, None)

    def _enqueue(self, data: Piece, done: trio.Event | None) -> None:
        if self._queue is None:  # most never need one, and it takes 600 bytes
            self._queue = deque()
        self._queue.append((data, done))

    def _drop_queue(self) -> list[trio.Event]:
        """Drop what is queued; return whom to tell."""
        queue, self._queue = self._queue, None
        return [done for _, done in queue or () if done is not None]

    def _send(self, data: Piece, done: trio.Event | None) -> bool:
        """Write from a standing start; what is left becomes the rest, and the connection stalled."""
        try:
            written = os.write(self.fd, data)
        except BlockingIOError:
            written = 0
        except OSError:
            self.abort()
            return False
        if written == len(data):
            return True
        self._rest, self._rest_done = memoryview(data)[written:], done
        self._stall()
        return False

    # ------------------------------------------------------------------ the feed

    def follow(self, source: Source, cursor: int, refill: Refill) -> None:
        """Write from now on what `source` has after `cursor`; `refill` reads a page where it no longer has it."""
        if self._closing:
            return
        self.source, self.cursor, self._refill = source, cursor, refill
        self.wrote_at = trio.current_time()

    def unfollow(self) -> None:
        """Write no further event; a frame that was begun is still finished."""
        self.source = self._refill = None

    def push(self, now: float) -> bool:
        """Write what is new in the feed with one system call; True: there is more, and the kernel may take it.

        `now` is `trio.current_time()`. For many outlets at once there is `sweep`.
        """
        return sweep((self,), now)

    def cut(self, written: int) -> None:
        """Note that only so many bytes of what follows the cursor went out; the rest waits for the kernel."""
        if written and self.source is not None:
            self.cursor, self._rest = self.source.split(self.cursor, written)
        if not self.stalled:
            self._stall()

    def _write_feed(self, data: bytes, cursor: int) -> None:
        written = os.write(self.fd, data) if data else 0
        if written == len(data):
            self.cursor = cursor
            if data:
                self.wrote_at = trio.current_time()
        else:
            self.cut(written)

    # ------------------------------------------------------------------ the task of a stalled reader

    def _stall(self) -> None:
        self.stalled = True
        self._start_soon(self._drain)

    async def _drain(self) -> None:
        """Write on until nothing is left, or the connection is no more."""
        try:
            while self.fd >= 0:
                try:
                    self._flush()
                    source = self.source
                    if source is None or self.cursor >= source.head:
                        self.stalled = False
                        return
                    hit = source.since(self.cursor)
                    if hit is not None:
                        self._write_feed(*hit)
                        # A long way to catch up must not keep the others waiting.
                        await trio.lowlevel.checkpoint()
                        continue
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    self.abort()
                else:
                    await self._read_page(source)
        except Exception:  # noqa: BLE001 - whatever it was, it is this connection's alone
            # A page that cannot be read, say. The client comes back with its cursor; the others notice nothing.
            _log.exception("connection from %s ended", self.peer)
            self.abort()

    def _flush(self) -> None:
        """Write the rest and the queue; `BlockingIOError` where the kernel refuses."""
        while True:
            if self._rest:
                written = os.write(self.fd, self._rest)
                self._rest = memoryview(self._rest)[written:]
                if self._rest:
                    continue
                self._rest = b""
            if self._rest_done is not None:
                self._rest_done.set()
                self._rest_done = None
            if not self._queue:
                self._queue = None
                return
            self._rest, self._rest_done = self._queue.popleft()
            if self._rest_done is None:
                self._direct -= len(self._rest) + PIECE

    async def _writable(self) -> None:
        limit = LINGER if self._closing else self._limits.stalled
        with trio.move_on_after(limit) as waiting:
            try:
                await trio.lowlevel.wait_writable(self._sock)
            except trio.ClosedResourceError:
                return  # closing has begun: what is left has `LINGER` to go out
            self.took_at = trio.current_time()
        if waiting.cancelled_caught:
            if self._closing:
                self.abort()
            else:
                self.end()

    async def _read_page(self, source: Source) -> None:
        assert self._refill is not None, "a source that is followed has its refill"  # noqa: S101
        page, cursor = await self._refill(self.cursor)
        if self.source is source:
            self._rest, self.cursor = page, cursor


def sweep(outlets: Iterable[Outgoing], now: float) -> bool:
    """Write to each what is new in its feed, with one system call; True: some have more that the kernel may take.

    `now` is `trio.current_time()`. This is where a busy server spends its time: what follows a cursor is looked up once
    for all that stand there one after another, and beside the system call there is hardly more than a comparison. That
    may be, as nothing is published while it runs: there is no `await` in it.
    """
    write = os.write
    source: Source | None = None
    cursor, after, size, data, more, behind = -1, -1, 0, b"", False, False
    for outlet in outlets:
        if outlet.stalled:
            continue
        if outlet.cursor != cursor or outlet.source is not source:
            source, cursor = outlet.source, outlet.cursor
            if source is None or cursor >= source.head:
                cursor = -1
                continue
            hit = source.since(cursor)
            if hit is None:
                cursor = -1
                outlet.cut(0)
                continue
            data, after = hit
            size, behind = len(data), after < source.head
        if size:
            try:
                written = write(outlet.fd, data)
            except BlockingIOError:
                outlet.cut(0)
                continue
            except OSError:
                outlet.abort()
                continue
            if written != size:
                outlet.cut(written)
                continue
            outlet.wrote_at = now
        outlet.cursor = after
        more |= behind
    return more
