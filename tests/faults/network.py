"""The network between clients and server fails, in one way after the other; others go on meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.accounts import Result
    from tests.faults.crowd import Crowd
    from tests.faults.proxy import Proxy

HEARTBEAT = ("--heartbeat", "1")
"""Silence is noticed after two of them."""


def _network(
    rounds: int, seed: int, round_of: Callable[[Scene, Proxy, Crowd, Crowd], None]
) -> Result:
    """Have clients behind a proxy, and others that are not; all of them are answered after each round."""
    with Scene(seed, *HEARTBEAT) as it:
        proxy = it.proxy()
        behind, others = it.crowd(proxy.url), it.crowd()
        for _ in range(rounds):
            round_of(it, proxy, behind, others)
            behind.wait("ack")
            others.wait("ack")
        return it.result(rounds)


def cut(rounds: int, seed: int) -> Result:
    """Every connection is reset, and none can be had for a while."""

    def once(it: Scene, proxy: Proxy, behind: Crowd, others: Crowd) -> None:
        with behind.expecting("lost"):
            proxy.cut()
        others.wait("ack", it.chance.randrange(1, 20))
        proxy.mend()

    return _network(rounds, seed, once)


def stall(rounds: int, seed: int) -> Result:
    """Nothing gets through, and nothing says so; every other time for so long that it is noticed."""
    noticed = iter(range(rounds))

    def once(it: Scene, proxy: Proxy, behind: Crowd, others: Crowd) -> None:
        if next(noticed) % 2:
            proxy.stall()
            others.wait("ack", it.chance.randrange(1, 20))
        else:
            with behind.expecting("lost"):
                proxy.stall()
            others.wait("ack")
        proxy.mend()

    return _network(rounds, seed, once)


def delay(rounds: int, seed: int) -> Result:
    """Everything comes later, by up to half a second each way, and then on time again."""

    def once(it: Scene, proxy: Proxy, behind: Crowd, others: Crowd) -> None:
        proxy.delay(it.chance.uniform(0.02, 0.5))
        behind.wait("ack", 2)
        others.wait("ack", it.chance.randrange(1, 20))
        proxy.mend()

    return _network(rounds, seed, once)


def drip(rounds: int, seed: int) -> Result:
    """Everything comes in pieces of one byte, also what is said while connecting."""

    def once(it: Scene, proxy: Proxy, behind: Crowd, others: Crowd) -> None:
        proxy.drip()
        behind.wait("ack", it.chance.randrange(2, 10))
        with behind.expecting("lost"):
            proxy.cut()
        proxy.drip()
        behind.wait("back")
        behind.wait("ack", 2)
        others.wait("ack")
        proxy.mend()

    return _network(rounds, seed, once)


def half_close(rounds: int, seed: int) -> Result:
    """Every connection ends in one direction, and stays open in the other."""
    upwards = iter(range(rounds))

    def once(it: Scene, proxy: Proxy, behind: Crowd, others: Crowd) -> None:
        with behind.expecting("ack", 5):
            proxy.half_close(upwards=next(upwards) % 2 == 0)
        others.wait("ack", it.chance.randrange(1, 20))

    return _network(rounds, seed, once)
