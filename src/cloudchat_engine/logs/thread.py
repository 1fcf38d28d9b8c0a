"""One thread for blocking work, awaited from asyncio or trio.

SQLite blocks, and its connections like to stay on one thread. A pool (`anyio.to_thread`) costs a limiter and a choice
of thread at every call: half of what a commit costs. Here a `SimpleQueue` carries the work in, and the event loop's own
thread-safe call carries the word back that it is done.
"""

from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

import anyio
import sniffio

from cloudchat_core.errors import LocalProtocolError

T = TypeVar("T")


class _Job(Generic[T]):
    __slots__ = ("call_soon", "done", "error", "result", "work")

    result: T

    def __init__(self, work: Callable[[], T], call_soon: Callable[..., Any]) -> None:
        self.work = work
        self.call_soon = call_soon
        self.done = anyio.Event()
        self.error: BaseException | None = None

    def perform(self) -> None:
        try:
            self.result = self.work()
        except BaseException as error:  # noqa: BLE001 - it is raised where the work was asked for
            self.error = error
        # An event loop that is gone has nobody left who waits.
        with suppress(RuntimeError):
            self.call_soon(self.done.set)


class Worker:
    """Runs what it is given, one after the other, in a thread of its own that starts with the first."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        # Nothing that was acknowledged depends on the thread ending well: it may die with the process.
        self._thread = Thread(target=self._serve, name=name, daemon=True)
        self._closed = False

    def _serve(self) -> None:
        while job := self._jobs.get():
            job.perform()
            del job  # what it holds is not kept while waiting for the next

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread and return or raise what it does.

        A caller that is cancelled goes without the outcome; the work itself goes on.
        """
        if self._closed:
            raise LocalProtocolError("this log is closed")
        if not self._thread.ident:
            self._thread.start()
        job = _Job(work, _thread_safe_call())
        self._jobs.put(job)
        await job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result

    async def close(self, last: Callable[[], None]) -> None:
        """Run `last` after all that was given, then let the thread end. Again does nothing."""
        if self._closed:
            return
        try:
            if self._thread.ident:
                await self.run(last)
        finally:
            self._closed = True
            self._jobs.put(None)


def _thread_safe_call() -> Callable[..., Any]:
    if sniffio.current_async_library() == "trio":
        import trio  # noqa: PLC0415 - who runs on asyncio does not pay for it

        return trio.lowlevel.current_trio_token().run_sync_soon
    import asyncio  # noqa: PLC0415 - likewise

    return asyncio.get_running_loop().call_soon_threadsafe
