"""How fast is too fast: a token bucket for each caller, with time as an argument."""

from collections import OrderedDict
from typing import Final

from cloudchat_core.clock import SECOND

_CALLERS: Final = 50_000
"""How many callers are watched; the one not heard of for longest is forgotten, its bucket being full again by then."""


class Rates:
    """Token buckets by caller: `rate` per second (0: no limit) with bursts of `burst`."""

    def __init__(self, rate: float, burst: int) -> None:
        """Begin with full buckets."""
        self._rate, self._burst = rate, burst
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, caller: str, now: int, count: int = 1) -> float:
        """Take `count` from the caller's bucket; return 0, or the seconds after which it may be tried again.

        `now` is in milliseconds. A bucket that holds less gives nothing, but a full one gives any `count`, on credit.
        """
        if not self._rate:
            return 0
        held, last = self._buckets.pop(caller, (float(self._burst), now))
        held = min(self._burst, held + max(0, now - last) * self._rate / SECOND)
        wait = 0.0 if held >= count else (min(count, self._burst) - held) / self._rate
        self._buckets[caller] = (held if wait else held - count, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return wait
