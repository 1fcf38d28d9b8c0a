"""Time as a value. The core reads no clock: it is handed one, or the moment itself.

A moment is an `int`: milliseconds since 1970-01-01T00:00:00Z. It is exact, cheap and orders itself; `rfc3339` writes it
the way the wire wants it (RFC 3339, UTC, milliseconds).
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

SECOND = 1_000
"""Milliseconds in a second; durations and moments are in milliseconds throughout."""

_BOOTTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> int:
        """Return the moment in milliseconds since the epoch, UTC; it never goes back."""
        ...


class SystemClock:
    """UTC, read once at start and then advanced by the time since boot, sleep included.

    The wall clock may be set back or forth while a server runs; deadlines and the order of `at` must not follow it.
    `CLOCK_BOOTTIME` (Linux) also counts the time that a laptop was suspended; elsewhere `CLOCK_MONOTONIC` has to do.
    """

    def __init__(self) -> None:
        self._start = time.time_ns() // 1_000_000 - time.clock_gettime_ns(_BOOTTIME) // 1_000_000

    def now(self) -> int:
        """Return the moment in milliseconds since the epoch."""
        return self._start + time.clock_gettime_ns(_BOOTTIME) // 1_000_000


class ManualClock:
    """A clock that stands still until it is told to advance: for tests, simulations and examples."""

    def __init__(self, start: int = 1_700_000_000_000) -> None:
        self._now = start
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> int:
        """Return the moment in milliseconds since the epoch."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move on by `seconds` (not negative) and wake who waits for a deadline."""
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now += round(seconds * SECOND)
        for watcher in tuple(self._watchers):
            watcher()

    def watch(self, watcher: Callable[[], None]) -> Callable[[], None]:
        """Call `watcher` after every advance; the function returned ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher)


@lru_cache(maxsize=1024)  # what happens at once is of one time
def rfc3339(moment: int) -> str:
    """Write `moment` (ms since the epoch) as RFC 3339 in UTC with milliseconds: `2026-11-23T10:00:00.000Z`.

    Raises `ValueError` or `ArithmeticError` outside of the years 1 to 9999.
    """
    seconds, millis = divmod(moment, SECOND)
    return f"{_second(seconds)}.{millis:03d}Z"


@lru_cache(maxsize=1024)  # what is read from a log is of many
def _second(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def parse_rfc3339(text: str) -> int:
    """Read what `rfc3339` wrote back into milliseconds; `ValueError` where it is no date."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    whole = moment.replace(microsecond=0)
    return round(whole.timestamp()) * SECOND + moment.microsecond // 1000
