"""The cloud: instances that exist apart from any server, and a provider that is slow, fails, or is never done.

What becomes of an operation is drawn from its own id, so it does not depend on who asked first. The cloud outlives
server processes; a process that is gone changes nothing in it any more.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Literal

import trio

from cloudchat_engine.ports import ProviderError

if TYPE_CHECKING:
    from cloudchat_engine.ports import Work

Really = Literal["absent", "stopped", "running"]


class ProviderBugError(Exception):
    """What a provider with a bug raises: nothing that the port knows."""


class Cloud:
    """The instances that really are, and how operations on them go: `mood` is how bad things are, from 0 to 1."""

    def __init__(self, seed: int, mood: float, coverage: Counter[str]) -> None:
        self.instances: dict[str, Really] = {}
        self.seed, self.mood, self.coverage = seed, mood, coverage
        self.broken: list[str] = []
        """What a provider was asked that it must never be asked."""


class CloudProvider:
    """One process's access to a `Cloud`."""

    name = "cloud"

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._death = trio.Event()
        self._driven: Counter[str] = Counter()

    def die(self) -> None:
        """The process is gone."""
        self._death.set()

    def expected(self, command: str) -> float | None:
        return {"create": 5.0, "start": 1.0, "stop": None}.get(command, 2.0)

    async def observe(self, work: Work) -> Really | None:
        await self._take(0.1, work)
        return self._cloud.instances.get(work.instance, "absent")

    async def ensure_stopped(self, work: Work) -> None:
        await self._ensure(work, "stopped")

    async def ensure_running(self, work: Work) -> None:
        await self._ensure(work, "running")

    async def ensure_absent(self, work: Work) -> None:
        await self._ensure(work, "absent")

    async def _ensure(self, work: Work, target: Really) -> None:
        cloud = self._cloud
        if self._driven[work.operation]:
            cloud.broken.append(f"operation {work.operation} is driven twice at once")
        self._driven[work.operation] += 1
        try:
            chance = random.Random(f"{cloud.seed} {work.operation}")
            fate, patience = chance.random(), chance.uniform(0, 8)
            if fate < cloud.mood * 0.15:
                cloud.coverage["a provider that was done after the operation's time was over"] += 1
                try:
                    await self._take(200, work)
                finally:  # nobody waits for it any more, and it happens all the same
                    cloud.instances[work.instance] = target
            else:
                await self._take(patience, work)
            if cloud.mood * 0.15 < fate < cloud.mood * 0.3:
                cloud.coverage["a provider that failed"] += 1
                raise ProviderError("no_capacity", "there is no room")
            if cloud.mood * 0.3 < fate < cloud.mood * 0.35:
                cloud.coverage["a provider that raised what it may not"] += 1
                raise ProviderBugError("a bug of the provider's")
            cloud.instances[work.instance] = target
        finally:
            self._driven[work.operation] -= 1

    async def _take(self, seconds: float, work: Work) -> None:
        with trio.move_on_after(seconds):
            await self._death.wait()
        if self._death.is_set():
            raise ProviderError(
                "gone", f"the process is gone, and operation {work.operation} with it"
            )

    async def list_owned(self) -> list[str]:
        return list(self._cloud.instances)

    async def aclose(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()
