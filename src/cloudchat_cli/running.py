"""Runs a command's task, and ends it in order when a signal says so.

Ctrl-C is no exception here that may come up between any two lines, as it is in Python by itself: like the other
signals it cancels what runs, at one of the places where it waits. So a chat leaves, a wait says what goes on without
it, and the exit code is always the same.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from types import FrameType

T = TypeVar("T")

_NAMES: Final = ("SIGINT", "SIGTERM", "SIGHUP")  # the last one is not everywhere


def run(command: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Run one command to its end; exit with 128 + N where signal N ended it (130 for Ctrl-C, as shells expect).

    A second signal ends it wherever it is: at once, with nothing left to say.
    """
    told: list[int] = []

    async def main() -> T:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:

            def tell(number: int, _frame: FrameType | None) -> None:
                told.append(number)
                if len(told) > 1:
                    raise KeyboardInterrupt
                token.run_sync_soon(scope.cancel)

            with _handling(tell):
                return await command(*arguments)
        raise KeyboardInterrupt

    try:
        return trio.run(main)
    finally:
        if told:
            sys.exit(128 + told[0])


@contextmanager
def _handling(tell: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Have `tell` called for the signals that end a command, but for those that whoever started it had ignored."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {n: signal.getsignal(n) for n in numbers}
    heard = [n for n in numbers if before[n] is not signal.SIG_IGN]
    try:
        for number in heard:
            signal.signal(number, tell)
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])
