"""The client half of the long-polling transport: one poll after the other, commands by POST.

A poll says `welcome` and `heartbeat` by what it is: a feed that goes on after a cursor begins without a `welcome`, and
each answer's own cursor is the position of the feed. The session above is told both in the frames' own words, so that
it need not know which transport it has.

Once a participation has joined, each poll carries its token. The poll that waits just then does not, so it is given up
and asked again.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import anyio
import httpx
import msgspec

from cloudchat_core.client_session import decode_frame
from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import encode
from cloudchat_core.errors import RemoteProtocolError
from cloudchat_core.frames import Closing, Heartbeat, Welcome, WireLimits
from cloudchat_core.limits import Limits
from cloudchat_core.session import PROTOCOL
from cloudchat_transports.client_transport import LOST, RejectedError
from cloudchat_transports.http_client import HttpTransport, feed_query, rejected
from cloudchat_transports.posting import PATIENCE, HttpConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from cloudchat_transports.client_transport import Connection

PATH: Final = "/v1/poll"
WAIT: Final = 25.0
"""Seconds that a poll waits at most: below the 30 s after which some proxies give up."""

_RESTART, _TRY_AGAIN = 1012, 1013
_LIMITS: Final = Limits()
_UNSAID: Final = Welcome(
    PROTOCOL,
    "",
    "",
    "",
    WAIT,
    WireLimits(_LIMITS.text, _LIMITS.nickname, _LIMITS.frame, _LIMITS.unanswered),
)


class _Answer(msgspec.Struct, frozen=True):
    """The body of a poll's answer, and when it was sent (RFC 3339)."""

    frames: list[msgspec.Raw]
    cursor: str
    at: str = ""


class PollTransport(HttpTransport):
    """Opens feeds by long polls."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """See `HttpTransport`."""
        super().__init__(url, headers)
        self._known = _UNSAID

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        """Open a feed; see `Transport.connect`."""
        async with self._client() as http:
            polls = _Polls(http, feed_query(after, topics), self._known)
            with self._opening():
                await polls.begin()
            async with polls.running():
                try:
                    yield polls
                finally:
                    self._known = polls.welcome


class _Polls(HttpConnection):
    """A feed made of polls; `welcome` is the last one that the server said."""

    def __init__(self, http: httpx.AsyncClient, query: dict[str, str], welcome: Welcome) -> None:
        super().__init__(http)
        self.welcome = welcome
        self._query = query
        self._first = _Answer([], "")
        self._present = False
        self._polling = anyio.CancelScope()

    def joined(self) -> None:
        if not self._present:
            self._present = True
            self._polling.cancel()

    async def begin(self) -> None:
        """Ask for what there is; raises `RejectedError` where there is to be no feed."""
        self._first = await self._poll(0)

    async def follow(self) -> None:
        code, answer = LOST, self._first
        try:
            if not any(isinstance(decode_frame(frame), Welcome) for frame in answer.frames[:1]):
                begun = msgspec.structs.replace(
                    self.welcome, feed="", cursor=self._query.get("after", ""), at=answer.at
                )
                await self.deliver(encode(begun).decode())
            while not await self._hand_on(answer):
                answer = await self._next()
            code = _RESTART
        except RejectedError as error:
            if error.retry_after is not None:
                await self.deliver(encode(Closing(error.retry_after)).decode())
                code = _TRY_AGAIN
        except (httpx.HTTPError, ValueError, TimeoutError, RemoteProtocolError):
            pass
        self.end(code)

    async def _hand_on(self, answer: _Answer) -> bool:
        """Deliver what an answer says; True: the server goes away."""
        for data in answer.frames:
            match decode_frame(data):
                case Welcome() as welcome:
                    self.welcome = welcome
                case Closing():
                    await self.deliver(bytes(data).decode())
                    return True
            await self.deliver(bytes(data).decode())
        self._query["after"] = answer.cursor
        await self.deliver(encode(Heartbeat(answer.cursor, answer.at)).decode())
        return False

    async def _next(self) -> _Answer:
        wait = min(WAIT, self.welcome.heartbeat)
        while True:
            with anyio.CancelScope() as self._polling, anyio.fail_after(wait + PATIENCE):
                return await self._poll(wait)

    async def _poll(self, wait: float) -> _Answer:
        response = await self._http.get(
            PATH,
            params={**self._query, "wait": f"{wait:g}"},
            headers=self.identity() if self._present else {},
        )
        if response.status_code != 200:
            raise rejected(response)
        answer = msgspec.json.decode(response.content, type=_Answer)
        return msgspec.structs.replace(answer, at=_sent_at(response))


def _sent_at(response: httpx.Response) -> str:
    """Return when the server sent a response, by its own clock (RFC 9110 §6.6.1)."""
    try:
        return rfc3339(int(parsedate_to_datetime(response.headers["date"]).timestamp()) * 1000)
    except (KeyError, ValueError):
        return rfc3339(0)
