"""The collector looks through everything in quiet moments, and only then."""

from __future__ import annotations

import gc
import weakref

import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from cloudchat_cli.collecting import LOOK, collect_when_quiet


class Knot:
    """Something that only the collector finds."""

    def __init__(self) -> None:
        self.self = self


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock()


@trio_test
async def test_everything_is_looked_through_when_nothing_happens_and_not_before(
    mock_clock: MockClock,
) -> None:
    before = gc.get_threshold()
    happened = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(collect_when_quiet, lambda: happened)
        await wait_all_tasks_blocked()
        gc.collect()
        gc.freeze()  # what is older is no matter of this test
        knot = Knot()
        gc.freeze()
        gone = weakref.ref(knot)
        del knot
        for happened in range(1, 4):  # noqa: B007 - looked at by the task
            mock_clock.jump(LOOK)
            await wait_all_tasks_blocked()
        assert gone() is not None
        mock_clock.jump(LOOK)
        await wait_all_tasks_blocked()
        assert gone() is None
        nursery.cancel_scope.cancel()
    assert gc.get_threshold() == before
