"""Clocks: each process reads its own, over the world's one virtual time; a jump is a laptop that slept, or a wall clock
that was wrong when the process began.
"""

from __future__ import annotations

from typing import Final

import trio

from cloudchat_core.clock import SECOND

BEGIN: Final = 1_700_000_000_000
"""The moment (ms since the epoch) at which each world begins."""


class VirtualClock:
    """A process's clock: the world's time, off by `offset` milliseconds. It only ever jumps forward."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def now(self) -> int:
        """Return the moment in milliseconds since the epoch."""
        return BEGIN + self._offset + round(trio.current_time() * SECOND)

    def jump(self, seconds: float) -> None:
        """Be so much later, at once, as after a sleep that the event loop has not noticed."""
        assert seconds >= 0, "a process's clock never goes back"
        self._offset += round(seconds * SECOND)
