"""The conformance kit for timers: what `cloudchat_engine.ports.Timer` promises, one test for each promise.

A timer of your own, over a clock of your own, is shown to conform by

    class TestMyTimer(TimerContract):
        @pytest.fixture
        def make_timer(self):
            def make():
                clock = MyClock()
                return Timed(clock, MyTimer(clock), clock.advance)
            return make

The tests run on asyncio and trio. They let some tens of milliseconds pass on a clock that runs by itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import anyio
import anyio.lowlevel
import pytest

from cloudchat_core.clock import SECOND, Clock
from cloudchat_engine.ports import Timer

PATIENCE = 30.0
"""Seconds of real time after which a wait that does not end has failed."""


def let_it_run(seconds: float) -> None:
    """Do nothing: a clock that runs by itself needs nobody to advance it."""


class Timed(NamedTuple):
    """A timer, the clock that it waits for, and what makes that clock go on by some seconds."""

    clock: Clock
    timer: Timer
    advance: Callable[[float], None] = let_it_run


TimerFactory = Callable[[], Timed]
"""Makes a timer with its clock; called within the event loop."""


@pytest.mark.anyio
class TimerContract:
    """What every timer promises. Subclass it as `Test…` and give it a fixture `make_timer`."""

    @pytest.fixture
    def make_timer(self) -> TimerFactory:
        """Return the factory; to be overridden."""
        raise NotImplementedError("a subclass of TimerContract has a fixture `make_timer`")

    @pytest.mark.parametrize("span", [0, -1, -SECOND, -(10**12)])
    async def test_a_moment_that_has_come_is_not_waited_for(
        self, make_timer: TimerFactory, span: int
    ) -> None:
        clock, timer, _ = make_timer()
        with anyio.fail_after(PATIENCE):
            await timer.wait_until(clock.now() + span)

    async def test_a_wait_ends_when_the_moment_has_come_and_not_before(
        self, make_timer: TimerFactory
    ) -> None:
        clock, timer, advance = make_timer()
        late: list[int] = []

        async def wait(deadline: int) -> None:
            await timer.wait_until(deadline)
            late.append(clock.now() - deadline)

        now = clock.now()
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                for span in (30, 1, 20, 20, 10):
                    tasks.start_soon(wait, now + span)
                for _ in range(40):
                    await anyio.wait_all_tasks_blocked()
                    advance(0.001)
        assert len(late) == 5
        assert min(late) >= 0

    async def test_a_wait_can_be_given_up_and_the_others_go_on(
        self, make_timer: TimerFactory
    ) -> None:
        clock, timer, advance = make_timer()
        deadline = clock.now() + 30
        done: list[str] = []

        async def wait() -> None:
            await timer.wait_until(deadline)
            done.append("waited")

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await timer.wait_until(clock.now() + 10**9)
                assert scope.cancelled_caught
                while not done:
                    await anyio.wait_all_tasks_blocked()
                    advance(0.01)
                    await anyio.lowlevel.checkpoint()
        assert clock.now() >= deadline

    async def test_the_event_loop_goes_on_meanwhile(self, make_timer: TimerFactory) -> None:
        clock, timer, advance = make_timer()
        seen: list[str] = []

        async def wait() -> None:
            await timer.wait_until(clock.now() + 20)
            seen.append("moment")

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await anyio.wait_all_tasks_blocked()
                await anyio.lowlevel.checkpoint()
                seen.append("meanwhile")
                while len(seen) < 2:
                    advance(0.02)
                    await anyio.lowlevel.checkpoint()
        assert seen == ["meanwhile", "moment"]
