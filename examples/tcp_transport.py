"""A transport of one's own: newline-delimited JSON over TCP, both halves. It passes the kit for transports.

The client's first line says what it wants: `{"after": CURSOR, "topics": "chat,instances"}`. Then each side sends frames
of the protocol, one a line. `{"type":"close","code":1000}` ends a connection in order, from either side; a server
that gives no feed says `{"type":"refused","status":404,"detail":"…"}` instead of a first frame.

The server half shows what a transport is made of: a `Session` reads commands, the node decides them, a `Follower`
brings the feed. None of the protocol's rules are here.
"""

# ruff: noqa: INP001 - a lone file, not a package

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from anyio.abc import SocketAttribute
from anyio.streams.buffered import BufferedByteReceiveStream

from cloudchat_core.codec import encode
from cloudchat_core.errors import RefusedError, RemoteProtocolError
from cloudchat_core.frames import Closing, Refusal, Reply
from cloudchat_core.rates import Rates
from cloudchat_core.session import Session, Submission
from cloudchat_engine.ports import LogError
from cloudchat_transports.client_transport import LOST, RejectedError, UnreachableError
from cloudchat_transports.feeds import FeedRequest, comeback, feed_request
from cloudchat_transports.follower import Follower
from cloudchat_transports.responses import STATUS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from anyio.abc import Listener, SocketStream

    from cloudchat_core.presence import Ending
    from cloudchat_engine.node import Node

GONE = (
    anyio.EndOfStream,
    anyio.IncompleteRead,
    anyio.BrokenResourceError,
    anyio.ClosedResourceError,
)
CLOSE = b'{"type":"close"'
LONGEST = 1_048_576
ENDINGS: dict[int, Ending] = {1000: "left", 1001: "away"}


def line(frame: bytes) -> bytes:
    """Frame a frame: our JSON has no line breaks of its own."""
    return frame + b"\n"


def close_line(code: int) -> bytes:
    """Say that the connection ends, and why."""
    return b'%b,"code":%d}\n' % (CLOSE, code)


class TcpServer:
    """Serves a node that runs in the same event loop."""

    def __init__(self, node: Node) -> None:
        limits = node.limits
        self._node = node
        self._rates = Rates(limits.commands_per_second, limits.commands_burst)
        self._open: set[Served] = set()

    async def serve(self, listener: Listener[SocketStream]) -> None:
        """Accept connections until cancelled, or until `listener` is closed and those there were have ended."""
        async with anyio.create_task_group() as tasks:
            with suppress(anyio.ClosedResourceError):
                await listener.serve(self._handle, tasks)

    def wind_down(self) -> None:
        """Tell all that the server restarts; to be called when the listener is closed."""
        for served in self._open:
            served.end(1012, encode(Closing(comeback())))

    async def _handle(self, stream: SocketStream) -> None:
        lines = BufferedByteReceiveStream(stream)
        async with stream:
            try:
                asked = await lines.receive_until(b"\n", self._node.limits.frame)
                wanted = feed_request(msgspec.json.decode(asked, type=dict[str, str]))
            except RefusedError as error:
                no = {"type": "refused", "status": STATUS[error.code], "detail": error.detail}
                await stream.send(line(encode(no)))
                return
            except (*GONE, anyio.DelimiterNotFound, msgspec.MsgspecError):
                return
            address = str(stream.extra(SocketAttribute.remote_address)[0])  # noqa: S610 - no Django
            feed = secrets.token_urlsafe(12)
            session = Session(self._node.limits, self._rates, address, feed=feed)
            served = Served(self._node, session, stream, lines)
            self._open.add(served)
            self._node.open_feed(feed, served.end)
            try:
                await served.run(wanted)
            finally:
                self._open.discard(served)
                self._node.close_feed(feed, served.ending)


class Served:
    """One connection, as the server has it."""

    def __init__(
        self, node: Node, session: Session, stream: SocketStream, lines: BufferedByteReceiveStream
    ) -> None:
        self.ending: Ending = "lost"
        self._node, self._session, self._stream, self._lines = node, session, stream, lines
        self._sending, self._cut = anyio.Lock(), False
        # Who has an answer coming may send as many commands and no more, so this has room for all.
        room = node.limits.unanswered
        self._put, self._answers = anyio.create_memory_object_stream[tuple[Submission, Reply]](room)
        self._scope = anyio.CancelScope()
        self._last = b""

    def end(self, code: int, last: bytes = b"") -> None:
        """End it from our side, with a last frame where there is one."""
        self._last = (line(last) if last else b"") + close_line(code)
        self._scope.cancel()

    async def run(self, wanted: FeedRequest) -> None:
        """Serve it to its end."""
        try:
            with self._put, self._answers, self._scope:
                beginning = self._node.begin(wanted.after, wanted.topics, self._session.feed)
                await self._send(b"".join(map(line, beginning.frames())))
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._receive)
                    tasks.start_soon(self._answer)
                    await self._follow(wanted.topics, beginning.offset)
        except* LogError:
            self.end(1011)
        # After half a line there is nothing more to say.
        if self._last and not self._cut:
            with anyio.move_on_after(2):
                await self._send(self._last)

    async def _follow(self, topics: frozenset[str], offset: int) -> None:
        with Follower(self._node, line, topics, offset) as follower:
            while True:
                data = await follower.next(self._node.heartbeat * 0.9)
                await self._send(data or follower.heartbeat())

    async def _send(self, data: bytes) -> None:
        async with self._sending:
            self._cut = True
            try:
                with anyio.fail_after(self._node.limits.stalled):
                    await self._stream.send(data)
                self._cut = False
            except (TimeoutError, *GONE):
                self._scope.cancel()

    async def _receive(self) -> None:
        try:
            while True:
                data = await self._lines.receive_until(b"\n", self._node.limits.frame)
                if data.startswith(CLOSE):
                    self.ending = ENDINGS.get(msgspec.json.decode(data)["code"], "lost")
                    self._scope.cancel()
                    return
                taken = self._session.receive(data, self._node.now())
                if isinstance(taken, Refusal):
                    await self._send(line(encode(taken)))
                else:
                    self._node.submit(taken.command, taken.caller, partial(self._decided, taken))
        except anyio.DelimiterNotFound:
            self.end(1009)
        except RemoteProtocolError as error:
            self.end(error.close_code)
        except GONE:
            self._scope.cancel()

    def _decided(self, submission: Submission, reply: Reply) -> None:
        with suppress(*GONE):  # nobody is there to be told any more
            self._put.send_nowait((submission, reply))

    async def _answer(self) -> None:
        async for submission, reply in self._answers:
            self._session.answered(submission, reply)
            await self._send(line(encode(reply)))


class TcpTransport:
    """The client half: a `Transport`, for `Client(TcpTransport(host, port))`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[TcpConnection]:
        """Open a feed; see `Transport.connect`."""
        where = f"{self._host}:{self._port}"
        try:
            stream = await anyio.connect_tcp(self._host, self._port)
        except OSError as error:
            raise UnreachableError(f"{where}: {error}") from error
        async with stream:
            connection = TcpConnection(stream)
            await connection.send(encode({"after": after, "topics": ",".join(topics)}))
            connection.first = await connection.receive()
            if connection.first is None:
                raise UnreachableError(f"{where}: no server of this transport answers there")
            answer: dict[str, Any] = msgspec.json.decode(connection.first)
            if answer["type"] == "refused":
                raise RejectedError(answer["status"], answer["detail"])
            yield connection


class TcpConnection:
    """One connection, as the client has it."""

    def __init__(self, stream: SocketStream) -> None:
        self.close_code = LOST
        self.first: str | None = None
        self._stream, self._lines = stream, BufferedByteReceiveStream(stream)
        self._sending = anyio.Lock()

    async def receive(self) -> str | None:
        """Return the next frame; None at the end."""
        if self.first is not None:
            frame, self.first = self.first, None
            return frame
        try:
            data = await self._lines.receive_until(b"\n", LONGEST)
        except (*GONE, anyio.DelimiterNotFound):
            return None
        if data.startswith(CLOSE):
            self.close_code = int(msgspec.json.decode(data)["code"])
            return None
        return data.decode()

    async def send(self, frame: bytes) -> None:
        """Send a command."""
        async with self._sending:
            with suppress(*GONE):
                await self._stream.send(line(frame))

    async def close(self, code: int) -> None:
        """End it in order, and wait until the server has heard it."""
        await self.send(close_line(code).rstrip())
        while await self.receive() is not None:
            pass
