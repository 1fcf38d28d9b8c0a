"""Waiting for a moment of a clock, and for nothing else."""

import anyio
import anyio.lowlevel

from cloudchat_core.clock import SECOND, Clock, ManualClock

_LOOK_AGAIN = 60  # seconds; the loop's own clock may stand still while a laptop sleeps


class SystemTimer:
    """Waits in real time for a clock that runs by itself."""

    def __init__(self, clock: Clock) -> None:
        """Wait for moments of `clock`."""
        self._clock = clock

    async def wait_until(self, deadline: int) -> None:
        """Return when the clock has reached `deadline` (ms since the epoch)."""
        while (left := deadline - self._clock.now()) > 0:  # noqa: ASYNC110 - a clock is no event
            await anyio.sleep(min(left / SECOND, _LOOK_AGAIN))
        await anyio.lowlevel.checkpoint()


class ManualTimer:
    """Waits until somebody advances the clock far enough."""

    def __init__(self, clock: ManualClock) -> None:
        """Wait for moments of `clock`."""
        self._clock = clock

    async def wait_until(self, deadline: int) -> None:
        """Return when the clock has been advanced to `deadline` (ms since the epoch)."""
        while self._clock.now() < deadline:
            advanced = anyio.Event()
            unwatch = self._clock.watch(advanced.set)
            try:
                await advanced.wait()
            finally:
                unwatch()
        await anyio.lowlevel.checkpoint()
