"""The client half of the event-stream transport: frames come down as events, commands go up by POST.

The feed's name, from its `welcome`, goes into the `join`: so the stream keeps the participation present, though it was
opened without its token. A stream that brings no `welcome` (a proxy collects it) counts as one that cannot be had.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio
import httpx

from cloudchat_core.client_session import decode_frame
from cloudchat_core.frames import Closing, Welcome
from cloudchat_transports.client_transport import LOST, RejectedError
from cloudchat_transports.http_client import HttpTransport, feed_query, rejected
from cloudchat_transports.posting import HttpConnection
from cloudchat_transports.sse.parser import EventStreamParser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cloudchat_transports.client_transport import Connection
    from cloudchat_transports.sse.parser import ServerEvent

PATH: Final = "/v1/sse"
CONTENT_TYPE: Final = "text/event-stream"
LONGEST: Final = 1_048_576
"""The longest event taken (characters); a server sends at most its `limits.frame` bytes (65,536 unless told)."""

_RESTART, _TOO_BIG, _STAY_AWAY = 1012, 1009, 4500
_NO_CONTENT: Final = 204


class SseTransport(HttpTransport):
    """Opens event streams."""

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        """Open a feed; see `Transport.connect`."""
        async with self._client() as http, AsyncExitStack() as stack:
            with self._opening():
                response = await stack.enter_async_context(
                    http.stream(
                        "GET",
                        PATH,
                        params=feed_query(after, topics),
                        headers={"accept": CONTENT_TYPE, "cache-control": "no-store"},
                    )
                )
                if response.status_code not in {200, _NO_CONTENT}:
                    await response.aread()
                    raise rejected(response)
                pieces = response.aiter_bytes()
                stack.push_async_callback(_let_go, pieces)
                stream = _Stream(http, pieces)
                if response.status_code == _NO_CONTENT:
                    # "Do not come back", in the words of an event stream (WHATWG HTML §9.2.3).
                    stream.close_code = _STAY_AWAY
                elif response.headers.get("content-type", "").partition(";")[0] != CONTENT_TYPE:
                    raise ValueError("this is no event stream")
                else:
                    await stream.begin()
            async with stream.running():
                yield stream


class _Stream(HttpConnection):
    """An event stream, and the way up beside it."""

    def __init__(self, http: httpx.AsyncClient, pieces: AsyncIterator[bytes]) -> None:
        super().__init__(http)
        self._pieces, self._parser = pieces, EventStreamParser(LONGEST)
        self._first: list[ServerEvent] = []

    async def begin(self) -> None:
        """Read up to the first events; raises `RejectedError` where the server says "later"."""
        while not self._first:
            piece = await anext(self._pieces, None)
            if piece is None:
                raise ValueError("the stream ended before it began")
            self._first = self._parser.feed(piece)
        match decode_frame(self._first[0].data):
            case Closing(retry_after=seconds):
                raise RejectedError(503, "the server asks to come back later", seconds)
            case Welcome(feed=feed):
                self.feed = feed
            case _:
                raise ValueError("a feed begins with a welcome")

    async def follow(self) -> None:
        code, events = self.close_code, self._first
        try:
            while code == LOST or events:
                for event in events:
                    if event.type == "closing":
                        code = _RESTART
                    await self.deliver(event.data)
                events = self._parser.feed(await anext(self._pieces))
        except (StopAsyncIteration, httpx.HTTPError):
            pass
        except ValueError:
            code = _TOO_BIG
        self.end(code)


async def _let_go(pieces: AsyncIterator[bytes]) -> None:
    """End an iteration in the middle: httpx nests generators, and Trio minds any that is left to the collector."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        async for _ in pieces:
            pass
