"""How far something is, against what it is expected to take or to come to: a bar on a terminal, else lines."""

from __future__ import annotations

import math
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from cloudchat_cli.output import note

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar

EVERY: Final = 5
"""Seconds between two lines where there is no terminal."""


class Progress:
    """Shows the progress of `what` on stderr; it is expected to take `expected` seconds (None: nobody knows).

    Where there is no terminal nothing is said in the first `quiet` seconds.
    """

    def __init__(self, what: str, expected: float | None = None, quiet: float = 0) -> None:
        self._what, self._expected = what, expected
        self._stack = ExitStack()
        self._bar: Bar | None = None
        self._next, self._began = quiet, time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich import progress  # noqa: PLC0415
            from rich.console import Console  # noqa: PLC0415

            columns = (
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(bar_width=24),
                progress.TextColumn("{task.fields[told]}", markup=False),
            )
            self._bar = self._stack.enter_context(
                progress.Progress(*columns, console=Console(stderr=True), transient=True)
            )
            self._bar.add_task(self._what, total=self._expected, told="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def update(self, passed: float) -> None:
        """It has taken `passed` seconds so far."""
        told = f"{passed:.0f} s"
        if self._expected is not None:
            told += f" of about {math.ceil(self._expected)} s"
        self._show(passed, told, passed)

    def count(self, done: int, total: int) -> None:
        """So many of `total` records are done."""
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], total=total)
        self._show(done, f"{done:,} of {total:,} records", time.monotonic() - self._began)

    def _show(self, completed: float, told: str, passed: float) -> None:
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=completed, told=told)
        elif passed >= self._next:
            self._next = passed // EVERY * EVERY + EVERY
            note(f"{self._what}: {told}")
