"""How fast is too fast: a token bucket for each caller, with time as an argument."""

from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from cloudchat_core.clock import SECOND

_CALLERS: Final = 50_000
"""How many callers are watched; the one not heard of for longest is forgotten, its bucket being full again by then."""

_NOISE: Final = 1e-6
"""Milliseconds that come of reckoning, and are no wait."""


@lru_cache(maxsize=4_096)
def network(address: str) -> str:
    """Return what counts as one address: of IPv6 it is the network, a /64, all of which one customer has (RFC 6177)."""
    try:
        known = ip_address(address)
    except ValueError:  # a name, or nothing
        return address
    if not isinstance(known, IPv6Address):
        return address
    mapped = known.ipv4_mapped
    return str(IPv6Address(int(known) >> 64 << 64)) if mapped is None else str(mapped)


class Rates:
    """Token buckets by caller: `rate` per second (0: no limit) with bursts of `burst`.

    With `shares`, all callers of one address together have so many times as much, and no more (0: any number).
    """

    def __init__(self, rate: float, burst: int, shares: int = 0) -> None:
        """Begin with full buckets."""
        self._rate, self._burst, self._shares = rate, burst, shares
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def take(self, caller: str, now: int, count: int = 1, *, address: str = "") -> float:
        """Take `count` from the caller's bucket; return 0, or the seconds after which it may be tried again.

        `now` is in milliseconds. A bucket that holds less gives nothing, but a full one gives any `count`, on credit.
        Who is refused takes nothing from the others of the `address`; it is left out where it is the caller itself.
        """
        if not self._rate:
            return 0
        wait = self._take(caller, now, count, 1)
        if not wait and self._shares and address and address != caller:
            wait = self._take(f"all of {address}", now, count, self._shares)
            if wait:
                self._take(caller, now, -count, 1)  # it got nothing for it
        return wait

    def _take(self, caller: str, now: int, count: int, shares: int) -> float:
        rate, burst = self._rate * shares, self._burst * shares
        held, last = self._buckets.pop(caller, (float(burst), now))
        held = min(burst, held + max(0, now - last) * rate / SECOND)
        wait = 0.0
        if held < count:
            # In whole milliseconds, so that a wait which is told is never told as none.
            wait = ceil((min(count, burst) - held) / rate * SECOND - _NOISE) / SECOND
        self._buckets[caller] = (held if wait else held - count, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return wait
