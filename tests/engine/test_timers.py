"""Waiting for a moment: of a clock that runs, and of one that a test advances."""

import anyio
import pytest

from cloudchat_core.clock import ManualClock, SystemClock
from cloudchat_engine import ManualTimer, SystemTimer
from cloudchat_engine.testing import Timed, TimerContract, TimerFactory
from cloudchat_engine.timers import LogTime

pytestmark = pytest.mark.anyio


class TestSystemTimer(TimerContract):
    @pytest.fixture
    def make_timer(self) -> TimerFactory:
        def make() -> Timed:
            clock = SystemClock()
            return Timed(clock, SystemTimer(clock))

        return make


class TestManualTimer(TimerContract):
    @pytest.fixture
    def make_timer(self) -> TimerFactory:
        def make() -> Timed:
            clock = ManualClock()
            return Timed(clock, ManualTimer(clock), clock.advance)

        return make


async def test_a_moment_of_the_running_clock_is_never_told_early() -> None:
    clock = SystemClock()
    timer = SystemTimer(clock)
    for span in (0, 1, 5, 20, -1000):
        deadline = clock.now() + span
        await timer.wait_until(deadline)
        assert clock.now() >= deadline


async def test_a_manual_clock_wakes_exactly_those_whose_moment_has_come() -> None:
    clock = ManualClock(start=0)
    timer = ManualTimer(clock)
    woken: list[int] = []

    async def wait(deadline: int) -> None:
        await timer.wait_until(deadline)
        woken.append(deadline)

    async with anyio.create_task_group() as tasks:
        for deadline in (3_000, 1_000, 2_000):
            tasks.start_soon(wait, deadline)
        await anyio.wait_all_tasks_blocked()
        for seconds, expected in ((0.999, []), (0.001, [1_000]), (2, [1_000, 2_000, 3_000])):
            clock.advance(seconds)
            await anyio.wait_all_tasks_blocked()
            assert sorted(woken) == expected


async def test_the_logs_time_is_the_clocks_or_ahead_of_it() -> None:
    clock = ManualClock(start=10_000)
    time = LogTime(clock, ManualTimer(clock))
    time.begin_at(4_000)
    assert time.now() == 10_000
    time.begin_at(70_000)
    assert time.now() == 70_000
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(time.wait, 5_000)
        await anyio.wait_all_tasks_blocked()
        clock.advance(5)
    assert time.now() == 75_000
