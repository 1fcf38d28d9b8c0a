"""The simulated provider: cloud servers that exist in the log only.

It keeps nothing. An operation is done at the moment that was logged as expected, also after a restart, so there is
nothing to observe and nothing to find again. For trying out failures a `create` may carry `"spec": {"fail": "create"}`,
or the provider is told which commands it fails at.
"""

from collections.abc import Collection
from typing import Literal

from cloudchat_engine.ports import ProviderError, Timer, Work

DURATION = 20.0
"""How long (seconds) a simulated operation takes."""


class SimulatedProvider:
    """Finishes every operation at its expected time."""

    name = "simulated"

    def __init__(
        self, timer: Timer, duration: float = DURATION, fail: Collection[str] = ()
    ) -> None:
        """Operations take `duration` seconds (0 or more); those of the commands in `fail` fail then."""
        if not 0 <= duration < float("inf"):
            raise ValueError("the duration of simulated operations is 0 seconds or more")
        self._timer, self._duration, self._fail = timer, duration, frozenset(fail)

    def expected(self, command: str) -> float:
        """Return the duration, in seconds."""
        return self._duration

    async def observe(self, work: Work) -> Literal["absent", "stopped", "running"] | None:
        """Tell nothing: there is nothing but the log."""
        return None

    async def _ensure(self, work: Work) -> None:
        await self._timer.wait_until(work.expected)
        if work.command in self._fail:
            raise ProviderError(
                "simulated_failure", f"this server simulates that {work.command} fails"
            )
        if work.spec is not None and work.spec.get("fail") == work.command:
            raise ProviderError("simulated_failure", "the spec asked for this failure")

    ensure_stopped = ensure_running = ensure_absent = _ensure

    async def list_owned(self) -> list[str]:
        """Return nothing: it keeps nothing."""
        return []

    async def aclose(self) -> None:
        """Nothing is held."""
