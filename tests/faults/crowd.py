"""Clients in a process of their own, which keep account of what they are told.

It is `python -m tests.faults.crowd PACE URL NAME…`.

A name is that of the client and, before the dot, of its transport: `ws.1`, `sse.2`, `poll.3`, `auto.4`. Each says
things and makes instances, with a pause of PACE seconds between, and folds its feed. What happens to it is printed as
it happens, a line each: `ack NAME`, `lost NAME`, `back NAME`. When standard input ends they finish what they have begun
and read on to the log's head; then each prints its account, as JSON.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import anyio
import msgspec

from cloudchat_core.client_session import Snapshot
from cloudchat_core.codec import token_hash
from cloudchat_core.commands import Create, Say
from cloudchat_core.events import Event
from cloudchat_core.frames import Closing, Gap, Welcome
from cloudchat_core.mirror import Mirror
from cloudchat_transports.client import Client, CommandRefusedError, Disconnected
from tests.faults.accounts import Account, Seen
from tests.faults.harness import PATIENCE, ROOT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

EACH = ("ws", "sse", "poll", "auto")
"""A client of each kind."""

PACE = 0.05
"""Seconds between two commands of one talker: enough going on, and a core left for the others."""
TALKERS = 2
"""How many talk for one client, each with one command unanswered."""


def tell(line: str) -> None:
    """Say something to the parent."""
    print(line, flush=True)  # noqa: T201 - that is what this program is for


class _Person:
    """One client."""

    def __init__(self, pace: float, url: str, name: str) -> None:
        self._pace = pace
        self.name, self._token = name, secrets.token_urlsafe(24)
        self._client = Client(
            url,
            transport=name.partition(".")[0],
            nickname=name,
            token=self._token,
            patient=True,
            climb=1.0,
        )
        self._mirror = Mirror()
        self._acked: dict[str, str] = {}
        self._since, self._events, self._gaps = "", list[str](), 0
        self._known: set[str] = set()
        self._news = anyio.Event()
        self._count = 0

    async def live(self, over: anyio.Event) -> None:
        """Take part until it is `over`, then until everything was said and heard."""
        async with self._client, anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            async with anyio.create_task_group() as talkers:
                for _ in range(TALKERS):
                    talkers.start_soon(self._talk, over)
            last = (await self._client.say("and that is all")).cursor
            while last not in self._known:
                self._news = anyio.Event()
                await self._news.wait()
            tasks.cancel_scope.cancel()
        scope = token_hash(self._token)
        assert scope is not None
        seen = Seen(self._since, self._events, self._gaps, self._mirror.snapshot())
        tell(msgspec.json.encode(Account(self.name, scope, self._acked, seen)).decode())

    async def _talk(self, over: anyio.Event) -> None:
        while not over.is_set():
            self._count += 1
            key = f"{self.name}-{self._count}"
            create = self._count % 40 == 7
            command = Create(key, self.name) if create else Say(key, f"{self.name} says <{key}>")
            while True:
                try:
                    self._acked[key] = (await self._client.execute(command)).cursor
                except CommandRefusedError as error:
                    # Neither happened: it may be asked again, in a moment.
                    if error.code not in {"internal", "rate_limited"}:
                        raise
                    await anyio.sleep(PACE * 5)
                else:
                    break
            self._say("ack")
            with anyio.move_on_after(self._pace):
                await over.wait()

    async def _listen(self) -> None:
        async for item in self._client:
            match item:
                case Disconnected():
                    self._say("lost")
                    continue
                case Welcome():
                    self._say("back")
                case Gap():
                    self._gaps += 1
                case Snapshot(more=False):
                    self._since = self._since or item.cursor
                case Event():
                    self._events.append(item.cursor)
                    self._known.add(item.cursor)
                    self._news.set()
                case Snapshot() | Closing():
                    pass
                case _:
                    raise AssertionError(item)
            self._mirror.apply(item)

    def _say(self, what: str) -> None:
        tell(f"{what} {self.name}")


async def main(pace: float, url: str, names: Collection[str]) -> None:
    """Run the clients."""
    over = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(_Person(pace, url, name).live, over)
        await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        over.set()


class Crowd:
    """Such a process, as its parent has it."""

    def __init__(self, url: str, names: Collection[str], pace: float = PACE) -> None:
        """Start clients of the server at `url`, and wait until each was answered."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.crowd", str(pace), url, *names],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names = frozenset(names)
        self._news = threading.Condition()
        self._said: Counter[str] = Counter()
        self._accounts: list[Account] = []
        self._ended = False
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._reader.join()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                if line.startswith("{"):
                    self._accounts.append(msgspec.json.decode(line, type=Account))
                else:
                    self._said[line.rstrip()] += 1
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def wait(self, what: str, more: int = 1) -> None:
        """Wait until `what` (`ack`, `lost`, `back`) has happened to each of them `more` times from now on."""
        with self.expecting(what, more):
            pass

    def times(self, what: str) -> int:
        """Return how often `what` has happened so far, to all of them together."""
        with self._news:
            return sum(self._said[f"{what} {name}"] for name in self.names)

    @contextmanager
    def expecting(self, what: str, more: int = 1) -> Iterator[None]:
        """Wait until `what` has happened to each of them `more` times since the body began."""
        lines = [f"{what} {name}" for name in sorted(self.names)]
        with self._news:
            wanted = {line: self._said[line] + more for line in lines}
        yield

        def late() -> list[str]:
            return [line for line in lines if self._said[line] < wanted[line]]

        with self._news:
            self._news.wait_for(lambda: self._ended or not late(), PATIENCE)
            assert not late(), f"not {more} times in {PATIENCE:g} s: {', '.join(late())}"

    def stop(self) -> None:
        """SIGSTOP: the process does nothing any more, and its connections stay."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT."""
        self._process.send_signal(signal.SIGCONT)

    def accounts(self) -> list[Account]:
        """Let them finish, and return what they were told."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return self._accounts
        self._process.stdin.close()
        assert self._process.wait(PATIENCE) == 0, "the clients failed"
        self._reader.join()
        assert {account.name for account in self._accounts} == self.names
        return self._accounts


if __name__ == "__main__":
    anyio.run(main, float(sys.argv[1]), sys.argv[2], sys.argv[3:], backend="trio")
