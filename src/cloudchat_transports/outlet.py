"""One connection's way out (and in): every byte of a connection, ours and the libraries', goes through its `Outlet`.

What is written when stands in `outgoing.py`. Here is what makes a stream of it, for libraries too, and how it ends.

`aclose()` ends a connection: it writes out what is queued, says FIN, and reads on until the peer has closed too, all
within `LINGER`, because closing a socket with unread bytes resets the connection and destroys the last frame before
the peer reads it (RFC 9112 §9.6, RFC 6455 §7.1.1). Only the task that reads from the outlet calls it. Others `finish`:
they write a last frame, and the reader is woken with `trio.ClosedResourceError`. `end()` does so to a reader that takes
nothing: its backlog is dropped, and `last_words` stand behind the frame that was cut. `abort()` closes at once.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

import trio

from cloudchat_transports.outgoing import LINGER, Outgoing

if TYPE_CHECKING:
    from cloudchat_core.limits import Limits
    from cloudchat_transports.outgoing import Piece, StartSoon

RECEIVE = 16_384
"""Bytes read at once, at most: more than most clients ever send, and all that a parser is handed beyond its limit."""

_RESET = struct.pack("ii", 1, 0)


class Outlet(Outgoing, trio.abc.HalfCloseableStream):
    """A TCP connection as a Trio stream, with synchronous writes that never split or overtake a frame.

    `sock` is a connected, non-blocking socket, which the outlet owns from now on. `start_soon` (a nursery's) must
    outlive the connection: it runs the task of a stalled reader.
    """

    __slots__ = (
        "_ended",
        "_finishing",
        "_gone",
        "_head",
        "_peer_done",
        "_said_eof",
        "last_words",
    )

    def __init__(
        self,
        sock: socket.socket,
        *,
        start_soon: StartSoon,
        limits: Limits,
        peer: str = "",
    ) -> None:
        super().__init__(sock, start_soon=start_soon, limits=limits, peer=peer)
        self._head = b""
        self._gone: trio.Event | None = None
        self._finishing = self._ended = self._peer_done = self._said_eof = False
        self.last_words = b""
        """What a reader that was given up on is told, if it still listens: a close frame, say."""

    @property
    def socket(self) -> socket.socket:
        """The socket, for those who ask it for addresses (Hypercorn does)."""
        return self._sock

    @property
    def closed(self) -> bool:
        """Whether the connection is closed or closing: nothing that is written now is sent."""
        return self._closing

    # ------------------------------------------------------------------ the stream API

    async def send_all(self, data: Piece) -> None:
        """Write `data` as one piece behind all that was written before, and wait until the kernel has it."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._closing or self._said_eof:
            raise trio.ClosedResourceError("this connection is closed")
        if not self.stalled:
            done = trio.Event()
            if self._send(data, done):
                await trio.lowlevel.cancel_shielded_checkpoint()
                return
        else:
            done = trio.Event()
            self._enqueue(data, done)
        await self._written(done)
        if self.fd < 0 or self._ended:
            raise trio.BrokenResourceError("the connection was lost")

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until nothing is queued."""
        if self._closing:
            raise trio.ClosedResourceError("this connection is closed")
        if self.stalled:
            await self._flushed()
        else:
            await trio.lowlevel.checkpoint()

    async def _flushed(self) -> None:
        done = trio.Event()
        self._enqueue(b"", done)
        await self._written(done)

    async def _written(self, done: trio.Event) -> None:
        if self.fd >= 0:
            await done.wait()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return what has come, `b""` when the peer will send no more; always lets others run."""
        if self._closing:
            raise trio.ClosedResourceError("this connection is closed")
        if self._head:
            data, self._head = self._head[:max_bytes], self._head[max_bytes or len(self._head) :]
            await trio.lowlevel.checkpoint()
            return data
        await trio.lowlevel.checkpoint_if_cancelled()
        size, waited = min(max_bytes or RECEIVE, RECEIVE), False
        while (received := self._receive(size)) is None:
            await trio.lowlevel.wait_readable(self._sock)
            waited = True
        if not waited:
            # A client that always has something to say must not keep the others from being heard.
            await trio.lowlevel.cancel_shielded_checkpoint()
        return received

    def _receive(self, size: int) -> bytes | None:
        """Return what has come; None: nothing yet. (Who waits holds neither the error that says so nor its frames.)"""
        if self._closing:
            raise trio.ClosedResourceError("this connection is closed")
        try:
            data = self._sock.recv(size)
        except BlockingIOError:
            return None
        except OSError as error:
            self.abort()
            raise trio.BrokenResourceError("the connection was lost") from error
        self._peer_done = not data
        return data

    def unread(self, data: bytes) -> None:
        """Have `data`, which was read already, read again first."""
        self._head = data + self._head

    async def send_eof(self) -> None:
        """Say that nothing more will be sent, after what is queued."""
        if self._closing:
            raise trio.ClosedResourceError("this connection is closed")
        if self.stalled:
            await self._flushed()
        else:
            await trio.lowlevel.checkpoint()
        self._say_eof()

    def _say_eof(self) -> None:
        if self._said_eof or self.fd < 0:
            return
        self._said_eof = True
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.abort()

    # ------------------------------------------------------------------ ends

    def finish(self, last: bytes) -> None:
        """Write `last` behind what is queued, and nothing after it; who reads from this outlet is woken to close it."""
        self.write(last)
        if not self._closing:
            self._closing = True
            self.unfollow()
            trio.lowlevel.notify_closing(self._sock)
            self._tell_gone()

    def end(self) -> None:
        """Give up on a reader that does not keep up: drop its backlog, then `finish` with the last words."""
        if self._closing or self._ended:
            return
        self._ended = True
        self._direct = 0
        for done in self._drop_queue():
            done.set()
        self.finish(self.last_words)

    async def aclose(self) -> None:
        """Write out what is queued, say FIN, and wait for the peer's: all within `LINGER` seconds."""
        if self._finishing or self.fd < 0:
            await trio.lowlevel.checkpoint()
            return
        self._closing = self._finishing = True
        self.unfollow()
        self._tell_gone()
        trio.lowlevel.notify_closing(self._sock)
        try:
            with trio.move_on_after(LINGER):
                if self.stalled:
                    await self._flushed()
                self._say_eof()
                await self._discard()
        finally:
            self.abort()

    async def _discard(self) -> None:
        while self.fd >= 0 and not self._peer_done:
            try:
                self._peer_done = not self._sock.recv(RECEIVE)
                await trio.lowlevel.checkpoint()
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self._sock)
            except OSError:
                return

    def abort(self) -> None:
        """Close at once. What the kernel has not sent to a stalled reader is thrown away, with a reset."""
        if self.fd < 0:
            return
        trio.lowlevel.notify_closing(self._sock)
        if self.stalled:
            # Else the kernel would keep its buffer for a peer that may never come back.
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._sock.close()
        self.fd = -1
        self._closing = True
        self.unfollow()
        self._tell_gone()
        for done in (self._rest_done, *self._drop_queue()):
            if done is not None:
                done.set()
        self._rest, self._rest_done = b"", None

    async def wait_closed(self) -> None:
        """Wait until the connection is closed, or closing, by whomever: also where nobody reads from it."""
        if self._gone is None:
            self._gone = trio.Event()
        if self._closing:
            await trio.lowlevel.checkpoint()
        else:
            await self._gone.wait()

    def _tell_gone(self) -> None:
        if self._gone is not None:
            self._gone.set()
