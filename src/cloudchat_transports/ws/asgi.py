"""The WebSocket server under any ASGI server: the portable path, and upgrades on a connection that was used before.

The same session, the same feed and the same close codes as `channel.py`; but the frames are the ASGI server's, and so
are the pings. One task receives, one follows the feed, one answers; each message is one `send`.

How it ends is known to the receiver alone: a `send` that fails because the client is gone waits for its word. What that
word is depends on the server: Hypercorn 0.18 tells a close with 1000 or 1001 as 1006, so there every end is a loss.
"""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import anyio

from cloudchat_core.codec import encode
from cloudchat_core.errors import Code, RefusedError, RemoteProtocolError
from cloudchat_core.frames import Closing, Refusal
from cloudchat_core.session import PROTOCOL, Session
from cloudchat_transports.feeds import (
    TRANSPORTS,
    comeback,
    feed_name,
    feed_request,
    parse_query,
    switched_off,
)
from cloudchat_transports.follower import Follower
from cloudchat_transports.responses import problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from cloudchat_core.frames import Reply
    from cloudchat_core.presence import Ending
    from cloudchat_core.rates import Rates
    from cloudchat_core.session import Submission
    from cloudchat_engine.node import Node
    from cloudchat_transports.feeds import FeedRequest
    from cloudchat_transports.requests import Receive, Scope, Send

PATH: Final = "/v1/ws"
BEAT: Final = 0.9
"""Part of a heartbeat's time after which a silent feed gets one."""
PARTING: Final = 2.0
"""Seconds in which a client has to take its last frame and the close code, and to close as well."""

UNSUPPORTED_DATA, MESSAGE_TOO_BIG, INTERNAL_ERROR, RESTART, TRY_AGAIN = 1003, 1009, 1011, 1012, 1013
_ENDINGS: Final[dict[int, Ending]] = {1000: "left", 1001: "away"}

_log = logging.getLogger(__name__)


class AsgiWebSockets:
    """Serves WebSockets that an ASGI server has taken in."""

    def __init__(
        self,
        node: Node,
        *,
        rates: Rates,
        check: Callable[[str, str | None], str | None],
        transports: Collection[str] = TRANSPORTS,
    ) -> None:
        """Serve `node`; `rates` are those of all transports, `check` guards the handshake (Host, Origin)."""
        self._node, self._rates, self._check, self._transports = node, rates, check, transports
        self._open: set[_AsgiChannel] = set()
        self._over = False

    async def serve(self, scope: Scope, path: str, receive: Receive, send: Send) -> None:
        """Serve one WebSocket; `path` is what follows the place where the application is mounted."""
        await receive()  # websocket.connect
        wanted: FeedRequest | RefusedError
        try:
            wanted = self._admit(scope, path)
        except RefusedError as error:
            wanted = error
        try:
            await _answer(scope, send, wanted)
        except Exception:  # noqa: BLE001 - whatever the server raises for a client that is gone, or did not wait
            _log.debug("a WebSocket was gone before it was open", exc_info=True)
            return
        if isinstance(wanted, RefusedError):
            return
        address = (scope.get("client") or ("",))[0]
        feed = feed_name()
        session = Session(self._node.limits, self._rates, address, feed=feed)
        channel = _AsgiChannel(self._node, session, send)
        self._open.add(channel)
        self._node.open_feed(feed, partial(channel.end, b""))
        if self._over:  # it began while the server was letting this one in
            channel.restart()
        try:
            await channel.run(receive, wanted)
        finally:
            self._open.discard(channel)
            self._node.close_feed(feed, channel.ending)

    def wind_down(self) -> None:
        """Tell all that the server restarts, close with 1012, and let nobody in any more."""
        self._over = True
        for channel in tuple(self._open):
            channel.restart()

    def _admit(self, scope: Scope, path: str) -> FeedRequest:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value.decode("latin-1"))
        hosts, origins = headers.get(b"host", []), headers.get(b"origin", [])
        if len(hosts) != 1 or len(origins) > 1:
            raise RefusedError(Code.BAD_REQUEST, "a handshake has one Host and at most one Origin")
        forbidden = self._check(hosts[0], origins[0] if origins else None)
        if forbidden is not None:
            raise RefusedError(Code.FORBIDDEN, forbidden)
        if path != PATH:
            raise RefusedError(Code.NOT_FOUND, f"WebSockets are served at {PATH}")
        if "ws" not in self._transports:
            raise RefusedError(Code.NOT_FOUND, switched_off("ws", self._transports))
        if self._over:
            raise RefusedError(Code.UNAVAILABLE, "the server restarts")
        return feed_request(parse_query(scope.get("query_string", b"").decode("latin-1")))


async def _answer(scope: Scope, send: Send, wanted: FeedRequest | RefusedError) -> None:
    """Answer the handshake."""
    if isinstance(wanted, RefusedError):
        await _reject(scope, send, wanted)
    else:
        chosen = PROTOCOL if PROTOCOL in scope.get("subprotocols", ()) else None
        await send({"type": "websocket.accept", "subprotocol": chosen})


async def _reject(scope: Scope, send: Send, error: RefusedError) -> None:
    """Refuse a handshake with a problem, where the server can pass it on (ASGI's denial response); else with 403."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1008})
        return
    response = problem(error.code, error.detail)
    length = str(len(response.body))
    headers = (
        ("content-type", response.content_type),
        ("content-length", length),
        *response.headers,
    )
    encoded = [(name.encode(), value.encode()) for name, value in headers]
    start = {"type": "websocket.http.response.start", "status": response.status}
    await send({**start, "headers": encoded})
    await send({"type": "websocket.http.response.body", "body": response.body, "more_body": False})
    # uvicorn takes the handshake for unfinished until its connection is gone, which takes it one turn of the loop.
    await anyio.lowlevel.checkpoint()


class _AsgiChannel:
    """One open WebSocket: its protocol state, what waits to be said, and how it ended."""

    def __init__(self, node: Node, session: Session, send: Send) -> None:
        self.ending: Ending = "lost"
        self._node, self._session, self._send = node, session, send
        self._sending = anyio.Lock()
        self._answers: deque[bytes] = deque()
        self._size = 0
        self._news = anyio.Event()
        self._serving, self._writing = anyio.CancelScope(), anyio.CancelScope()
        self._last: tuple[bytes, int] | None = (b"", INTERNAL_ERROR)
        self._leaving = False

    def restart(self) -> None:
        """Say that the server goes away and when to come back; take no more, and close behind the answers."""
        closing = encode(Closing(comeback()))
        if not (self._session.unanswered or self._answers):
            self.end(closing, RESTART)
            return
        self._leaving = True
        self._hurry()
        self._put(closing)

    def end(self, last: bytes, code: int) -> None:
        """End it from our side: with a last frame, where there is one, and a close code."""
        self._last = last, code
        self._serving.cancel()
        self._hurry()

    def _hurry(self) -> None:
        """Give what is being sent no more than the time of a parting."""
        self._writing.deadline = min(self._writing.deadline, anyio.current_time() + PARTING)

    async def run(self, receive: Receive, wanted: FeedRequest) -> None:
        """Serve it to its end."""
        try:
            with self._serving:
                beginning = self._node.begin(wanted.after, wanted.topics, self._session.feed)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._receive, receive)
                    for frame in beginning.frames():
                        await self._say(frame)
                    tasks.start_soon(self._answer_all)
                    await self._follow(wanted, beginning.offset)
        except Exception:  # noqa: BLE001 - a bug, or a log that cannot be read, costs one connection
            _log.warning("a WebSocket ended", exc_info=True)
        if self._last is not None:
            await self._part(receive, *self._last)

    async def _part(self, receive: Receive, last: bytes, code: int) -> None:
        """Close, and read on until the client has closed as well: some servers stop for good where nobody reads."""
        with anyio.move_on_after(PARTING):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._close, last, code)
                while (await receive())["type"] != "websocket.disconnect":
                    pass

    async def _close(self, last: bytes, code: int) -> None:
        try:
            if last:
                await self._send({"type": "websocket.send", "text": last.decode()})
            await self._send({"type": "websocket.close", "code": code})
        except Exception:  # noqa: BLE001 - whatever the server raises for a client that is gone
            _log.debug("a WebSocket was gone before it was closed", exc_info=True)

    async def _say(self, frame: bytes) -> None:
        async with self._sending:
            try:
                # Given up in the middle, a frame may be lost that a compressed connection was built on.
                limit = PARTING if self._leaving else self._node.limits.stalled
                with anyio.fail_after(limit, shield=True) as self._writing:
                    await self._send({"type": "websocket.send", "text": frame.decode()})
            except TimeoutError:
                self.end(b"", TRY_AGAIN)
            except (OSError, RuntimeError):
                # What servers raise where the client is gone, or was closed by the server itself (uvicorn, for what
                # breaks the protocol); the receiver is told how.
                await anyio.sleep_forever()

    async def _follow(self, wanted: FeedRequest, offset: int) -> None:
        with Follower(self._node, _line, wanted.topics, offset) as follower:
            while True:
                data = await follower.next(self._node.heartbeat * BEAT)
                for frame in (data or follower.heartbeat()).splitlines():
                    await self._say(frame)

    async def _answer_all(self) -> None:
        while True:
            while self._answers:
                frame = self._answers.popleft()
                self._size -= len(frame)
                await self._say(frame)
            if self._leaving and not self._session.unanswered:
                self.end(b"", RESTART)
            self._news = anyio.Event()
            await self._news.wait()

    async def _receive(self, receive: Receive) -> None:
        while True:
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ending = _ENDINGS.get(message.get("code", 0), "lost")
                self._last = None
                self._serving.cancel()
                return
            try:
                self._take(message)
            except RemoteProtocolError as error:
                self.end(b"", error.close_code)
                return

    def _take(self, message: Any) -> None:
        if self._leaving:
            return  # it is unanswered, and sent again after the restart
        text = message.get("text")
        if text is None:
            raise RemoteProtocolError("messages are text", UNSUPPORTED_DATA)
        data = text.encode(errors="surrogatepass")
        if len(data) > self._node.limits.frame:
            raise RemoteProtocolError(
                f"a message is at most {self._node.limits.frame} bytes", MESSAGE_TOO_BIG
            )
        taken = self._session.receive(data, self._node.now())
        if isinstance(taken, Refusal):
            self._put(encode(taken))
        else:
            self._node.submit(taken.command, taken.caller, partial(self._answer, taken))

    def _answer(self, submission: Submission, reply: Reply) -> None:
        self._session.answered(submission, reply)
        self._put(encode(reply))

    def _put(self, frame: bytes) -> None:
        self._answers.append(frame)
        self._size += len(frame)
        self._news.set()
        if self._size > self._node.limits.direct:
            self.end(b"", TRY_AGAIN)


def _line(frame: bytes) -> bytes:
    """Return a frame as a line: our JSON has no line breaks of its own."""
    return frame + b"\n"
