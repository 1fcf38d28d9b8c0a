"""A Trio run that is the same every time: virtual time, and tasks that take turns in an order drawn from a seed.

Time stands still while anybody has something to do, and then jumps to the next moment that somebody waits for. Trio
shuffles tasks that are ready at the same moment, to keep programs from relying on an order; the shuffle is what makes
one seed differ from the next here. The switch that makes it repeatable is Trio's own, for Hypothesis, and private: this
is the only file that touches it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio
from trio._core import _run as _trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


def run(
    main: Callable[[], Awaitable[T]], seed: int, instruments: Sequence[trio.abc.Instrument] = ()
) -> T:
    """Run `main` in virtual time (it begins at 0), with turns drawn from `seed`."""
    before = _trio._ALLOW_DETERMINISTIC_SCHEDULING, _trio._r.getstate()  # noqa: SLF001
    _trio._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]  # noqa: SLF001
    _trio._r.seed(seed)  # noqa: SLF001
    try:
        return trio.run(main, clock=MockClock(autojump_threshold=0), instruments=instruments)
    finally:
        _trio._ALLOW_DETERMINISTIC_SCHEDULING = before[0]  # type: ignore[misc]  # noqa: SLF001
        _trio._r.setstate(before[1])  # noqa: SLF001
