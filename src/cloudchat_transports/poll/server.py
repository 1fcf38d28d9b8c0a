"""The server half of the long-polling transport: `GET /v1/poll`, a feed that lasts one answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from cloudchat_core.codec import encode
from cloudchat_core.errors import Code
from cloudchat_core.frames import Closing
from cloudchat_core.presence import POLL_HOLD
from cloudchat_transports.feeds import comeback, feed_name, feed_request
from cloudchat_transports.follower import Follower
from cloudchat_transports.responses import JSON, ProblemError, Response

if TYPE_CHECKING:
    from cloudchat_engine.node import Node
    from cloudchat_transports.requests import Request

WAIT: Final = 25.0
"""Seconds that a poll waits where it does not say how long: below the 30 s after which some proxies give up."""

LONGEST_WAIT: Final = 55.0
"""Seconds that a poll waits at most: below the 60 s after which most proxies give up."""

_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Polls:
    """Answers polls of one node."""

    def __init__(self, node: Node) -> None:
        """Serve `node`."""
        self._node = node
        self._waiting: set[Follower] = set()
        self._over = False

    async def answer(self, request: Request) -> Response:
        """Handle one poll: answer at once with what there is, or when there is something, or when time is up."""
        await request.body()  # a poll has none; what comes after it is the client's end
        query = request.query()
        wanted, wait = feed_request(query), _wait(query.get("wait"))
        scopes = request.feed_scopes(self._node.state)
        if self._over:
            raise ProblemError(Code.UNAVAILABLE, "the server restarts", retry_after=comeback())
        feed = feed_name()
        beginning = self._node.begin(wanted.after, wanted.topics, feed)
        with Follower(self._node, _member, wanted.topics, beginning.offset) as follower:
            self._node.open_feed(feed, lambda _code: follower.end(), scopes)
            self._waiting.add(follower)
            try:
                if beginning.snapshot:
                    frames = b"".join(map(_member, beginning.frames()))
                else:
                    frames = await follower.next(wait, request.gone)
            finally:
                self._waiting.discard(follower)
                self._node.close_feed(feed, "lost", POLL_HOLD)
        if follower.ended and not frames:
            # A poll has no close code; who was kept waiting is told to come back, later.
            frames = _member(encode(Closing(comeback())))
        body = b'{"frames":[%b],"cursor":%b}' % (frames[:-1], encode(follower.cursor))
        return Response(200, body, JSON, (("cache-control", "no-store"),))

    def wind_down(self) -> None:
        """Tell all that wait that the server restarts, and let no more wait."""
        self._over = True
        for follower in tuple(self._waiting):
            follower.end()


def _member(frame: bytes) -> bytes:
    """Return a frame as a member of a JSON array, with the comma behind it."""
    return frame + b","


def _wait(text: str | None) -> float:
    if text is None:
        return WAIT
    if not _NUMBER.fullmatch(text):
        raise ProblemError(Code.BAD_REQUEST, "`wait` is a number of seconds")
    return min(max(float(text), 0.0), LONGEST_WAIT)
