"""Many followers in one process, as light as they can be: `python -m tests.faults.light PORT COUNT`.

Each keeps the written protocol's word, on one of the three transports: it goes on from its cursor, comes back when a
`closing` says, and after any other end when it has waited, longer each time. `in N` is printed whenever all N have a
feed again. A cursor on standard input ends it: when all have come that far, accounts are printed.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import msgspec

from cloudchat_core.events import PublicEvent
from tests.faults.accounts import Account, Seen, offset
from tests.faults.crowd import tell
from tests.faults.harness import PATIENCE, ROOT
from tests.faults.raw import UPGRADE, get, have_descriptors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

TRANSPORTS: Final = ("ws", "sse", "poll")
PONG: Final = b"\x8a\x80\0\0\0\0"
FIRST_WAIT: Final = 0.25
LONGEST_WAIT: Final = 4.0
OPENING: Final = 64
"""Connections that are opened at once in the beginning."""

_EVENTS: Final = frozenset(kind.__struct_config__.tag for kind in PublicEvent.__args__)


class _Frame(msgspec.Struct):
    """What is of interest of a frame."""

    type: str
    cursor: str = ""
    retry_after: float = 0
    more: bool = False


class _Page(msgspec.Struct):
    """The answer to a poll: a page, or a problem that says when to come back."""

    frames: list[_Frame] = []
    cursor: str = ""
    retry_after: float = 0


_frame = msgspec.json.Decoder(_Frame).decode
_page = msgspec.json.Decoder(_Page).decode


class _Follower:
    def __init__(self, number: int, port: int, changed: Callable[[], None]) -> None:
        self.name = f"{TRANSPORTS[number % 3]}.{number}"
        self.since, self.cursor, self.events, self.gaps = "", "", list[str](), 0
        self.told: list[float] = []
        self.arrived: list[float] = []
        self.here = False
        self._port, self._changed = port, changed
        self._retry_after = 0.0

    async def live(self, opening: asyncio.Semaphore) -> None:
        """Follow the feed for good."""
        async with opening:
            await asyncio.sleep(0)
        attempt, serve = 0, {"ws": self._ws, "sse": self._sse, "poll": self._poll}
        while True:
            self._retry_after = 0.0
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._connect(serve[self.name.partition(".")[0]])
            attempt = 0 if self.here else attempt + 1
            self._be(here=False)
            ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2**attempt)
            await asyncio.sleep(self._retry_after or random.uniform(ceiling / 2, ceiling))

    async def _connect(self, serve: Callable[..., Awaitable[None]]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        try:
            await serve(reader, writer)
        finally:
            writer.transport.abort()

    def _be(self, *, here: bool) -> None:
        if here != self.here:
            self.here = here
            if here:
                self.arrived.append(time.monotonic())
            self._changed()

    def _take(self, frame: _Frame) -> None:
        if frame.type in _EVENTS:
            self.events.append(frame.cursor)
            self.cursor = frame.cursor
        elif frame.type == "welcome":
            self._be(here=True)
        elif frame.type == "heartbeat":
            self.cursor = frame.cursor
        elif frame.type == "snapshot" and not frame.more:
            self.since = self.since or frame.cursor
            self.cursor = frame.cursor
        elif frame.type == "gap":
            self.gaps += 1
        elif frame.type == "closing":
            self._wait(frame.retry_after)

    def _wait(self, seconds: float) -> None:
        self._retry_after = seconds
        self.told.append(seconds)

    async def _ws(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(UPGRADE.replace(b"/v1/ws", f"/v1/ws?after={self.cursor}".encode()))
        await reader.readuntil(b"\r\n\r\n")
        while True:
            first, size = await reader.readexactly(2)
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            if first == 0x81:
                self._take(_frame(payload))
            elif first == 0x89:
                writer.write(PONG)
            elif first == 0x88:
                return

    async def _sse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(get(f"/v1/sse?after={self.cursor}"))
        while line := await reader.readline():
            if line.startswith(b"data: "):
                self._take(_frame(line[6:]))

    async def _poll(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(get(f"/v1/poll?wait={20 if self.cursor else 0}&after={self.cursor}"))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            size = int(head.partition(b"content-length:")[2].partition(b"\r")[0])
            page = _page(await reader.readexactly(size))
            for frame in page.frames:
                self._take(frame)
            if page.retry_after:
                self._wait(page.retry_after)
            if self._retry_after:
                return
            self._be(here=True)
            self.cursor = page.cursor


class Report(msgspec.Struct):
    """What came of it: each one's account, what waits they were told of, and when they arrived (CLOCK_MONOTONIC)."""

    accounts: list[Account]
    told: list[float]
    arrived: list[float]


async def main(port: int, count: int) -> None:
    """Run the followers."""
    have_descriptors(count)

    def changed() -> None:
        here = sum(one.here for one in followers)
        if here == count:
            tell(f"in {here}")

    followers = [_Follower(number, port, changed) for number in range(count)]
    opening = asyncio.Semaphore(OPENING)
    everyone = asyncio.gather(*(one.live(opening) for one in followers))
    last = offset((await asyncio.to_thread(sys.stdin.readline)).strip())
    while not everyone.done() and any(offset(one.cursor) < last for one in followers):  # noqa: ASYNC110 - a thousand need not each say so
        await asyncio.sleep(0.05)
    assert not everyone.done(), f"a follower failed: {everyone.exception()}"
    everyone.cancel()
    with suppress(asyncio.CancelledError):
        await everyone
    accounts = [
        Account(one.name, "", {}, Seen(one.since, one.events, one.gaps)) for one in followers
    ]
    told = [wait for one in followers for wait in one.told]
    arrived = [moment for one in followers for moment in one.arrived]
    tell(msgspec.json.encode(Report(accounts, told, arrived)).decode())


class Lights:
    """Such a process, as its parent has it."""

    def __init__(self, port: int, count: int) -> None:
        """Start `count` followers, and wait until each has its feed."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.light", str(port), str(count)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ready = f"in {count}\n"
        self.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self) -> None:
        """Wait until all of them have a feed, where that has not been told yet."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line == self._ready, line

    def report(self, cursor: str) -> Report:
        """Let them read on to `cursor`, and return what came of it."""
        said, _ = self._process.communicate(f"{cursor}\n", PATIENCE)
        return msgspec.json.decode(said.splitlines()[-1], type=Report)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
