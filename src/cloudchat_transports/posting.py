"""A client's connection over HTTP: a feed of some kind comes down, commands go up by `POST /v1/commands`.

Theory of operation. Two tasks live as long as a connection. One brings the feed (`sse/client.py`, `poll/client.py`).
The other posts what `send` was given: one request at a time, all that waits in one list, so the order is kept. Both
hand their frames to `receive` through a place without room: who does not receive holds them up, and nothing piles up.

A problem that answers a request as a whole was said to each of its commands, and is handed on as that. A request
without an answer ends the connection: whether its commands happened is not known, and the session above sends them
again, with the same ids.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio
import httpx
import msgspec

from cloudchat_core.codec import encode
from cloudchat_core.commands import Join, Leave
from cloudchat_core.frames import Refusal
from cloudchat_transports.client_transport import LOST
from cloudchat_transports.http_client import read_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from anyio.abc import TaskGroup

COMMANDS: Final = "/v1/commands"
PATIENCE: Final = 15.0
"""Seconds that an answer may take when it is due; then it is lost."""
TOGETHER: Final = 100
"""Commands that go into one request, at most (the protocol's own bound)."""
BYTES: Final = 65_536
"""Bytes of commands that go into one request; a longer one goes alone."""

_NORMAL: Final = 1000
_REQUEST_TIMEOUT: Final = 408


class _Head(msgspec.Struct, frozen=True):
    """What any command, and any answer to one, begins with."""

    type: str
    id: str | None = None


class HttpConnection:
    """A `Connection` over HTTP; a kind of feed adds `follow`, which delivers frames and ends with `end`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.close_code = LOST
        self.feed: str | None = None
        """The name of the feed that a `join` is for, where it lasts that long."""
        self._http = http
        self._token = ""
        self._commands: list[bytes] = []
        self._posted: list[bytes] = []
        self._work = anyio.Event()
        self._tasks: TaskGroup | None = None

    # -- for the session above

    async def receive(self) -> str | None:
        try:
            return await self._down.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return None

    async def send(self, frame: bytes) -> None:
        self._commands.append(frame)
        self._work.set()
        await anyio.lowlevel.checkpoint()

    async def close(self, code: int) -> None:
        """End it; HTTP has no close code, so 1000 is said by a `leave`, behind what is unanswered."""
        self.end(code)
        if code == _NORMAL and self._token:
            leave = encode(Leave(str(uuid.uuid4())))
            self._commands = [*self._posted, *self._commands, leave]
            with suppress(httpx.HTTPError, ValueError, TimeoutError):
                while self._commands:
                    await self._ask(self._take())

    # -- for the kind of feed

    async def follow(self) -> None:
        """Bring the feed until it ends."""
        raise NotImplementedError

    def joined(self) -> None:
        """A participation has joined, with the token in `identity`."""

    def identity(self) -> dict[str, str]:
        """Return the header that says for which participation a request speaks: a token never stands in a URL."""
        return {"cloudchat-token": self._token} if self._token else {}

    async def deliver(self, frame: str) -> None:
        """Hand a frame to `receive`, when it is called."""
        await self._up.send(frame)

    def end(self, code: int) -> None:
        """End the connection with `code`; what was not received yet is dropped."""
        self.close_code = code
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Bring the feed and post commands while the body runs."""
        self._up, self._down = anyio.create_memory_object_stream[str](0)
        with self._up, self._down:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._run)
                yield
                tasks.cancel_scope.cancel()

    async def _run(self) -> None:
        with self._up:
            async with anyio.create_task_group() as self._tasks:
                self._tasks.start_soon(self.follow)
                self._tasks.start_soon(self._post)

    # -- commands

    async def _post(self) -> None:
        while True:
            while not self._commands:
                self._work = anyio.Event()
                await self._work.wait()
            try:
                replies = await self._ask(self._take())
            except (httpx.HTTPError, ValueError, TimeoutError):
                self.end(LOST)
                return
            self._posted = []
            for reply in replies:
                await self.deliver(reply)

    def _take(self) -> list[bytes]:
        """Take the commands of the next request."""
        count, size = 1, len(self._commands[0])
        for frame in self._commands[1:TOGETHER]:
            size += len(frame)
            if size > BYTES:
                break
            count += 1
        self._posted, self._commands = self._commands[:count], self._commands[count:]
        return self._posted

    async def _ask(self, batch: Sequence[bytes]) -> list[str]:
        """Post commands and return their answers; raises `ValueError` where these are none of the protocol."""
        heads = [msgspec.json.decode(frame, type=_Head) for frame in batch]
        body = b",".join(
            self._without_token(frame) if head.type == "join" else frame
            for head, frame in zip(heads, batch, strict=True)
        )
        headers = {"content-type": "application/json", **self.identity()}
        with anyio.fail_after(PATIENCE):
            response = await self._http.post(COMMANDS, content=b"[%b]" % body, headers=headers)
        if response.status_code != 200:
            return [_refused(head, response) for head in heads]
        replies = msgspec.json.decode(response.content, type=list[msgspec.Raw])
        for head, reply in zip(heads, replies, strict=True):
            if head.type == "join" and msgspec.json.decode(reply, type=_Head).type == "ack":
                self.joined()
        return [bytes(reply).decode() for reply in replies]

    def _without_token(self, frame: bytes) -> bytes:
        join = msgspec.json.decode(frame, type=Join)
        self._token = join.token or ""
        return encode(msgspec.structs.replace(join, token=None, feed=self.feed))


def _refused(head: _Head, response: httpx.Response) -> str:
    """Return what a problem that answers a request as a whole says to one of its commands."""
    problem = read_problem(response)
    if problem is None or response.status_code == _REQUEST_TIMEOUT:
        raise ValueError(f"commands were answered with HTTP status {response.status_code}")
    after = msgspec.UNSET if problem.retry_after is None else problem.retry_after
    return encode(Refusal(head.id, problem.code, problem.detail, retry_after=after)).decode()
