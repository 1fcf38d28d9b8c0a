"""Waiting for a moment of a clock, and for nothing else."""

import anyio
import anyio.lowlevel

from cloudchat_core.clock import SECOND, Clock, ManualClock
from cloudchat_engine.ports import Timer

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


class LogTime:
    """The time that records carry: the clock's, or ahead of it where the log already is.

    A machine may start with a clock that is behind its log. Its time must not go back, and its deadlines must not wait
    for the clock to catch up.
    """

    def __init__(self, clock: Clock, timer: Timer) -> None:
        """Begin with the time of `clock`, which is the one that `timer` waits for."""
        self._clock, self._timer = clock, timer
        self.ahead = 0

    def begin_at(self, moment: int) -> None:
        """Go on from `moment` (ms since the epoch) where the clock has not reached it."""
        self.ahead = max(0, moment - self._clock.now())

    def now(self) -> int:
        """Return the time, in ms since the epoch."""
        return self._clock.now() + self.ahead

    async def wait_until(self, deadline: int) -> None:
        """Return when `now` has reached `deadline`."""
        await self._timer.wait_until(deadline - self.ahead)

    async def wait(self, span: int) -> None:
        """Return after `span` milliseconds."""
        await self.wait_until(self.now() + span)
