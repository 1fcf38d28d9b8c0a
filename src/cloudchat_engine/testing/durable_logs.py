"""The conformance kit for logs that keep their records beyond the object; see `logs` for how it is used.

One that notices when its records were changed behind its back shows that with `CheckedLogContract` and a further
fixture, `spoil`, which changes one.
"""

import os
import traceback
import warnings
from collections.abc import Awaitable, Callable
from typing import ClassVar

import anyio
import pytest

from cloudchat_engine.ports import Log, LogDamagedError, LogLockedError, Opened, Retention, Saved
from cloudchat_engine.testing.logs import LogContract, opened
from cloudchat_engine.testing.records import (
    KINDS,
    LogFactory,
    erased,
    example,
    examples,
    redaction,
    retain_all,
    shown,
)


class DurableLogContract(LogContract):
    """What a log promises that keeps its records beyond the object, and the process.

    `exclusive`: one server at a time may have it open. False where nodes may share it.
    """

    exclusive: ClassVar[bool] = True

    async def test_all_that_was_appended_is_there_after_a_restart(
        self, make_log: LogFactory
    ) -> None:
        records = [example(n, KINDS[n % len(KINDS)]) for n in range(1, 41)]
        async with opened(make_log) as log:
            await log.append(records, 0)
            await log.save(Saved(20, b"state"))
            await log.append([], 40, [redaction(records[35])])
        records[35] = erased(records[35])
        log = make_log()
        assert await log.open() == Opened(1, 40, Saved(20, b"state"))
        assert await log.read(0, 100) == records
        assert await log.page("messages", None, 100) == shown(records, "messages")
        await log.append(examples(40, 1), 40)
        await log.aclose()

    async def test_what_was_dropped_stays_dropped_after_a_restart(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 10), 0)
            await log.save(Saved(10, b"state"))
            assert await retain_all(log, Retention(count=3)) == 8
        log = make_log()
        assert await log.open() == Opened(8, 10, Saved(10, b"state"))
        assert await log.read(0, 10) == examples(7, 3)
        await log.aclose()

    async def test_who_comes_second_is_refused_or_joins_and_takes_nothing_away(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 3), 0)
            second = make_log()
            if self.exclusive:
                with pytest.raises(LogLockedError):
                    await second.open()
            else:
                assert await second.open() == Opened(1, 3, None)
                await second.aclose()
            await log.append(examples(3, 1), 3)
            assert await log.read(0, 10) == examples(0, 4)
        async with opened(make_log) as log:
            assert await log.read(0, 10) == examples(0, 4)

    def test_what_was_acknowledged_outlives_a_process_that_ends_without_a_word(
        self, make_log: LogFactory
    ) -> None:
        async def use() -> None:
            log = make_log()
            await log.open()
            await log.append(examples(0, 100), 0)
            await log.save(Saved(100, b"state"))
            await log.append(examples(100, 10), 100, [redaction(example(105))])

        assert _in_a_process_that_dies(use) == 0

        async def look() -> None:
            log = make_log()
            assert await log.open() == Opened(1, 110, Saved(100, b"state"))
            records = examples(0, 110)
            records[104] = erased(records[104])
            assert await log.read(0, 200) == records
            await log.append(examples(110, 1), 110)
            await log.aclose()

        anyio.run(look)


def _in_a_process_that_dies(use: Callable[[], Awaitable[None]]) -> int:
    """Run a coroutine function in a process of its own, which ends with it as `kill -9` would; return its status."""
    with warnings.catch_warnings():
        # Threads of this process that are asleep are not missed in the child.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if not child:
        status = 1
        try:
            anyio.run(use)
            status = 0
        except BaseException:  # noqa: BLE001 - told, and then it is over
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class CheckedLogContract(DurableLogContract):
    """What a log promises that notices when what is in it is not what was written to it."""

    @pytest.fixture
    def spoil(self) -> Callable[[int], None]:
        """Return what changes the stored record at an offset, while the log is closed; to be overridden."""
        raise NotImplementedError("a subclass of CheckedLogContract has a fixture `spoil`")

    async def test_a_record_that_was_changed_is_named_and_not_served(
        self, make_log: LogFactory, spoil: Callable[[int], None]
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 40), 0)
        spoil(17)

        async def look(log: Log) -> None:
            await log.open()
            await log.read(10, 20)

        async def turn(log: Log) -> None:
            await log.open()
            await log.page("messages", None, 40)

        for use in (look, turn):
            log = make_log()
            with pytest.raises(LogDamagedError, match=r"\b17\b"):
                await use(log)
            await log.aclose()
