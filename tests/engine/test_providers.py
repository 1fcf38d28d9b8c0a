"""The simulated provider keeps what every provider promises, and a promise that is broken is noticed."""

from typing import Any, ClassVar

import anyio
import pytest

from cloudchat_core.clock import ManualClock
from cloudchat_engine import ManualTimer, ProviderError, SimulatedProvider, Timer, Work
from cloudchat_engine.testing import ProviderContract, ProviderFactory


class TestSimulated(ProviderContract):
    impossible: ClassVar[dict[str, Any] | None] = {"fail": "create"}

    @pytest.fixture
    def make_provider(self) -> ProviderFactory:
        return SimulatedProvider


def work(command: str, expected: int, **spec: str) -> Work:
    return Work("o", "i", command, None, dict(spec) or None, 0, expected)


@pytest.mark.anyio
async def test_simulated_work_is_done_when_the_log_says_so_and_not_before() -> None:
    clock = ManualClock(start=1_000)
    provider = SimulatedProvider(ManualTimer(clock), duration=7)
    assert provider.expected("create") == 7
    done: list[str] = []

    async def create() -> None:
        await provider.ensure_stopped(work("create", 8_000))
        done.append("create")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        clock.advance(6.999)
        await anyio.wait_all_tasks_blocked()
        assert not done
        clock.advance(0.001)
    assert done == ["create"]
    await provider.ensure_absent(work("remove", 2_000))


@pytest.mark.anyio
async def test_a_simulated_failure_can_be_asked_for() -> None:
    provider = SimulatedProvider(ManualTimer(ManualClock()))
    with pytest.raises(ProviderError, match="asked for") as caught:
        await provider.ensure_stopped(work("create", 0, fail="create"))
    assert caught.value.reason == "simulated_failure"
    await provider.ensure_running(work("start", 0, fail="create"))
    assert await provider.list_owned() == []


@pytest.mark.anyio
async def test_a_simulated_provider_may_fail_at_some_commands_always() -> None:
    provider = SimulatedProvider(ManualTimer(ManualClock()), fail=["start"])
    with pytest.raises(ProviderError, match="start fails"):
        await provider.ensure_running(work("start", 0))
    await provider.ensure_stopped(work("stop", 0))


@pytest.mark.parametrize("duration", [-1, float("inf"), float("nan")])
def test_a_duration_is_a_number_of_seconds(duration: float) -> None:
    timer: Timer = ManualTimer(ManualClock())
    with pytest.raises(ValueError, match="0 seconds or more"):
        SimulatedProvider(timer, duration)
