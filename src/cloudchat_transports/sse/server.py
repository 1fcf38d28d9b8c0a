"""The server half of the event-stream transport: `GET /v1/sse`.

A stream begins as any other answer does, so who may call, how fast and how errors look is decided once, in `http.py`.
Then, on a plain HTTP/1.1 connection of our own listener, the sweep writes chunks to the connection's outlet, as it
writes WebSocket frames; elsewhere (HTTP/2, TLS, another ASGI server) each sweep's worth goes through `send`.

What the HTTP library writes (head, first and last chunk) goes through the same outlet as whole pieces, and never while
the sweep follows: first `write`, then `follow`; first `unfollow`, then `write`. So no chunk is split or overtaken.
"""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from cloudchat_core.codec import encode
from cloudchat_core.errors import Code
from cloudchat_core.frames import Closing
from cloudchat_engine.ports import LogError
from cloudchat_transports.feeds import comeback, feed_name, feed_request
from cloudchat_transports.follower import Follower
from cloudchat_transports.requests import DisconnectedError
from cloudchat_transports.responses import ProblemError, Response, Stream
from cloudchat_transports.sse.frames import RETRY, chunked_event, event

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudchat_engine.node import Node
    from cloudchat_transports.feeds import FeedRequest
    from cloudchat_transports.requests import Request

STREAM: Final = "/v1/sse"
"""Where streams are served."""

CONTENT_TYPE: Final = "text/event-stream"

BEAT: Final = 0.9
"""Part of a heartbeat's time after which a silent stream gets one."""

_HEADERS: Final = (
    # No cache keeps a stream and no proxy may touch or collect it (nginx reads the second one).
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
)

_log = logging.getLogger(__name__)


def postponed(response: Response) -> Response:
    """Say "later" in the words of an event stream, where `response` says it: 429 or 503.

    A browser's `EventSource` gives up for good on any status but 200 (WHATWG HTML §9.2.3).
    """
    if response.status not in {429, 503}:
        return response
    seconds = int(next(value for name, value in response.headers if name == "retry-after"))
    body = b"retry: %d\n\n" % (seconds * 1000) + event(encode(Closing(seconds)))
    return Response(200, body, CONTENT_TYPE, _HEADERS)


class EventStreams:
    """Serves event streams of one node."""

    def __init__(self, node: Node) -> None:
        """Serve `node`."""
        self._node = node
        self._serving: set[anyio.CancelScope] = set()
        self._over = False

    async def open(self, request: Request) -> Stream:
        """Handle a request for a stream; raises what is wrong with it before anything is sent."""
        await request.body()  # a stream has none; what comes after it is the client's end
        query = request.query()
        last = request.header("last-event-id")
        wanted = feed_request({**query, "after": last} if last else query)
        scopes = request.feed_scopes(self._node.state)
        if self._over:
            raise ProblemError(Code.UNAVAILABLE, "the server restarts", retry_after=comeback())
        return Stream(CONTENT_TYPE, _HEADERS, partial(self._serve, request, wanted, scopes))

    def wind_down(self) -> None:
        """Tell all that the server restarts, end their streams, and begin no more."""
        self._over = True
        for serving in tuple(self._serving):
            serving.cancel()

    async def _serve(
        self,
        request: Request,
        wanted: FeedRequest,
        scopes: list[str],
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        node, feed = self._node, feed_name()
        with anyio.CancelScope() as serving:
            beginning = node.begin(wanted.after, wanted.topics, feed)
            self._serving.add(serving)
            if self._over:  # it began while the head was on its way
                serving.cancel()
            node.open_feed(feed, lambda _code: serving.cancel(), scopes)
            try:
                await write(RETRY + b"".join(map(event, beginning.frames())))
                follow = partial(self._follow, request, wanted.topics, beginning.offset, write)
                del (
                    beginning
                )  # a snapshot, which each may have another of, for as long as the stream lasts
                if request.state.get("alone"):
                    await follow()
                else:
                    await request.attended(follow)
            except DisconnectedError:
                return
            except LogError:
                _log.warning("a stream ends: the log cannot be read", exc_info=True)
            finally:
                self._serving.discard(serving)
                node.close_feed(feed, "lost")
        # A stream has no close code; its end is one to come back from, later.
        await write(event(encode(Closing(comeback()))))

    async def _follow(
        self,
        request: Request,
        topics: frozenset[str],
        offset: int,
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        outlet, fanout = request.state.get("outlet"), request.state.get("fanout")
        if outlet is not None and fanout is not None and request.http_version == "1.1":
            _lose_the_silent(outlet.socket, 2 * self._node.heartbeat)
            fanout.follow(outlet, chunked_event, topics, offset)
            try:
                if request.state.get("alone"):
                    await request.disconnected()
                else:
                    await outlet.wait_closed()
            finally:
                fanout.unfollow(outlet)
            raise DisconnectedError("the client is gone")
        with Follower(self._node, event, topics, offset) as follower:
            while True:
                data = await follower.next(self._node.heartbeat * BEAT)
                await write(data or follower.heartbeat())


def _lose_the_silent(sock: socket.socket, seconds: float) -> None:
    """Have the kernel (Linux) give up on a peer that acknowledges nothing for so long, instead of for 15 minutes.

    A stream's client never says anything, so this (RFC 5482) is how one that vanished without a word is noticed:
    heartbeats keep something on its way.
    """
    if sys.platform == "linux":
        timeout = max(1, round(seconds * 1000))
        with suppress(OSError):  # it may be gone already
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout)
