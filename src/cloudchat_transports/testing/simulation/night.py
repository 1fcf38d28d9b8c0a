"""Many worlds: seeds lived through by several processes, and what they amount to."""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from cloudchat_transports.testing.simulation.plan import draw
from cloudchat_transports.testing.simulation.shrink import shrink
from cloudchat_transports.testing.simulation.world import Outcome, live_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from cloudchat_transports.testing.simulation.plan import Plan

CHUNK: Final = 20
"""Worlds that a process is given at once."""


@dataclass
class Night:
    """What many worlds amount to; `took` are seconds of the processes that lived through them, `lasted` those in the
    worlds.
    """

    worlds: int = 0
    took: float = 0.0
    lasted: float = 0.0
    coverage: Counter[str] = field(default_factory=Counter)
    broken: list[tuple[int, str, str]] = field(default_factory=list)
    """The seeds that broke a promise, which one, and how."""

    def add(self, other: Night) -> None:
        """Take in what other worlds amount to."""
        self.worlds += other.worlds
        self.took += other.took
        self.lasted += other.lasted
        self.coverage.update(other.coverage)
        self.broken += other.broken

    def table(self) -> str:
        """Return what happened how often, for people."""
        lines = [f"{times:>9,} {what}" for what, times in sorted(self.coverage.items())]
        lines.append(
            f"{self.worlds:,} worlds, {self.lasted:,.0f} s in them, lived through in {self.took:.0f} s of processes; "
            f"{len(self.broken)} broke a promise"
        )
        return "\n".join(lines)


def live_through_many(
    seeds: Iterable[int],
    workers: int = 2,
    *,
    give_up: int = 3,
    progress: Callable[[Night], None] = lambda _: None,
) -> Night:
    """Live through the worlds of `seeds`, in `workers` processes; end early when `give_up` of them broke a promise.

    One worker is this process: nothing else may run in it meanwhile.
    `progress` is told of every `CHUNK` of them.
    """
    night, every = Night(), list(seeds)
    chunks = [every[start : start + CHUNK] for start in range(0, len(every), CHUNK)]
    with ExitStack() as stack:
        if workers == 1:
            lived: Iterator[Night] = map(_live_through, chunks)
        else:
            # Not forked: who runs the tests may have threads.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(workers, context))
            lived = pool.map(_live_through, chunks)
            stack.callback(pool.shutdown, cancel_futures=True)
        for lived_through in lived:
            night.add(lived_through)
            progress(night)
            if len(night.broken) >= give_up:
                break
    return night


def _live_through(seeds: list[int]) -> Night:
    night, began = Night(len(seeds)), time.perf_counter()
    for seed in seeds:
        outcome = live_through(draw(seed))
        night.coverage.update(outcome.coverage)
        night.lasted += outcome.took
        if outcome.broken:
            night.broken.append((seed, outcome.broken, outcome.detail))
    night.took = time.perf_counter() - began
    return night


def smallest(outcome: Outcome) -> Outcome:
    """Return the outcome of the smallest plan found that breaks the promise that `outcome` broke."""

    def breaks(plan: Plan) -> bool:
        return live_through(plan).broken == outcome.broken

    return live_through(shrink(outcome.plan, breaks))
