"""The conformance kit for logs: one test for each promise of `ports.Log`, and a state machine against a plain list.

A log that keeps its records beyond the object (in a file, on a server) is shown to conform by

    class TestMyLog(DurableLogContract):
        @pytest.fixture
        def make_log(self, tmp_path):
            return lambda: MyLog(tmp_path / "log")

    class MyLogMachine(DurableLogMachine):
        @contextmanager
        def storage(self):
            with TemporaryDirectory() as directory:
                yield lambda: MyLog(f"{directory}/log")

    TestMyLogMachine = MyLogMachine.TestCase

one that does not by `LogContract` and `LogMachine`. The tests run on asyncio and trio. Each call of a factory gives a
log that is not open yet, over the same place within one test; another test gets another place.

Here is what every log promises; what those do that keep their records is in `durable_logs`.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from cloudchat_engine.ports import (
    Log,
    LogConflictError,
    Opened,
    Retention,
    Saved,
)
from cloudchat_engine.testing.records import (
    KINDS,
    START,
    LogFactory,
    erased,
    example,
    examples,
    redaction,
    retain_all,
    shown,
    weight,
)

if TYPE_CHECKING:
    from cloudchat_core.codec import StoredRecord


@asynccontextmanager
async def opened(make_log: LogFactory) -> AsyncIterator[Log]:
    """Open a log for the time of a block."""
    log = make_log()
    await log.open()
    try:
        yield log
    finally:
        await log.aclose()


@pytest.mark.anyio
class LogContract:
    """What every log promises. Subclass it as `Test…` and give it a fixture `make_log`."""

    @pytest.fixture
    def make_log(self) -> LogFactory:
        """Return the factory; to be overridden."""
        raise NotImplementedError("a subclass of LogContract has a fixture `make_log`")

    async def test_a_new_log_is_empty_and_begins_at_one(self, make_log: LogFactory) -> None:
        log = make_log()
        assert await log.open() == Opened(1, 0, None)
        assert await log.read(0, 10) == []
        assert await log.page("messages", None, 10) == []
        await log.aclose()

    async def test_what_was_appended_is_read_as_it_was_in_order(self, make_log: LogFactory) -> None:
        texts = ("hello", "", "\0 \\u0000 \" ' %", "привет 😀 e\u0301", "long" * 5_000)
        records = [example(n, "message", text) for n, text in enumerate(texts, 1)]
        records += [example(n, kind) for n, kind in enumerate(KINDS, len(texts) + 1)]
        async with opened(make_log) as log:
            await log.append(records[:1], 0)
            await log.append(records[1:], 1)
            assert await log.read(0, 100) == records
            assert await log.reopen() == Opened(1, len(records), None)
            assert await log.read(0, 100) == records

    @pytest.mark.parametrize("count", [1, 2, 3, 64, 65, 2_048, 2_049, 5_000])
    async def test_a_batch_of_any_size_is_appended_whole(
        self, make_log: LogFactory, count: int
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 3), 0)
            await log.append(examples(3, count), 3)
            assert await log.read(3, count + 1) == examples(3, count)

    async def test_reading_starts_after_the_offset_and_ends_with_the_limit(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 20), 0)
            assert [r.offset for r in await log.read(7, 5)] == [8, 9, 10, 11, 12]
            assert [r.offset for r in await log.read(17, 5)] == [18, 19, 20]
            assert await log.read(20, 5) == []
            assert await log.read(1_000, 5) == []

    async def test_an_empty_batch_changes_nothing(self, make_log: LogFactory) -> None:
        async with opened(make_log) as log:
            await log.append([], 0)
            await log.append(examples(0, 1), 0)
            await log.append([], 1)
            assert await log.read(0, 10) == examples(0, 1)

    @pytest.mark.parametrize("expected", [0, 4, 6, 100])
    async def test_an_append_on_another_head_is_refused_and_writes_nothing(
        self, make_log: LogFactory, expected: int
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 5, text="secret"), 0)
            with pytest.raises(LogConflictError):
                await log.append(examples(expected, 2), expected, [redaction(example(3))])
            assert await log.read(0, 10) == examples(0, 5, text="secret")
            await log.append(examples(5, 2), 5)
            assert len(await log.read(0, 10)) == 7

    async def test_pages_show_the_newest_first_and_end_before_the_offset(
        self, make_log: LogFactory
    ) -> None:
        records = [example(n, KINDS[n % len(KINDS)]) for n in range(1, 41)]
        async with opened(make_log) as log:
            await log.append(records, 0)
            for what in ("messages", "worklog"):
                expected = shown(records, what)
                assert await log.page(what, None, 100) == expected
                first = await log.page(what, None, 4)
                assert first == expected[:4]
                assert await log.page(what, first[-1].offset, 4) == expected[4:8]
                assert await log.page(what, first[-1].offset + 1, 1) == first[-1:]
                assert await log.page(what, expected[-1].offset, 4) == []
                assert await log.page(what, 10**15, 100) == expected

    async def test_an_erased_text_is_served_nowhere(self, make_log: LogFactory) -> None:
        records = examples(0, 5, text="secret")
        async with opened(make_log) as log:
            await log.append(records, 0)
            await log.append(examples(5, 1), 5, [redaction(records[1]), redaction(records[4])])
            records = [
                records[0], erased(records[1]), *records[2:4], erased(records[4]), *examples(5, 1)
            ]  # fmt: skip
            for _ in range(2):
                assert await log.read(0, 10) == records
                assert await log.page("messages", None, 10) == records[::-1]
                assert await log.reopen() == Opened(1, 6, None)

    async def test_a_record_may_be_erased_by_the_batch_that_appends_it(
        self, make_log: LogFactory
    ) -> None:
        records = examples(0, 3, text="secret")
        async with opened(make_log) as log:
            await log.append(records, 0, [redaction(records[2])])
            assert await log.read(0, 10) == [*records[:2], erased(records[2])]

    async def test_the_newest_snapshot_is_what_opening_tells(self, make_log: LogFactory) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 10), 0)
            await log.save(Saved(4, b"four"))
            assert (await log.reopen()).snapshot == Saved(4, b"four")
            await log.save(Saved(10, b"ten" * 100_000))
            assert await log.reopen() == Opened(1, 10, Saved(10, b"ten" * 100_000))

    async def test_a_snapshot_does_not_outlive_a_text_that_it_may_hold(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 10), 0)
            await log.save(Saved(5, b"five"))
            await log.append([], 10, [redaction(example(6))])
            assert (await log.reopen()).snapshot == Saved(5, b"five")
            await log.append([], 10, [redaction(example(5))])
            assert (await log.reopen()).snapshot is None

    async def test_the_snapshot_that_stands_for_dropped_records_stays_until_the_next(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 10), 0)
            await log.save(Saved(8, b"eight"))
            assert await retain_all(log, Retention(count=5)) == 6
            await log.append([], 10, [redaction(example(7))])
            assert await log.reopen() == Opened(6, 10, Saved(8, b"eight"))

    async def test_without_a_snapshot_everything_is_kept(self, make_log: LogFactory) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 10), 0)
            assert await retain_all(log, Retention(1, 1, 1), START + 10**9) == 1
            assert len(await log.read(0, 100)) == 10

    @pytest.mark.parametrize(
        ("keep", "first"),
        [
            (Retention(), 1),
            (Retention(count=100), 1),
            (Retention(count=20), 21),
            (Retention(age=10), 30),
            (Retention(age=1_000), 1),
            (Retention(size=10**6), 1),
            (Retention(count=25, age=5), 35),
            (Retention(count=1), 36),
            (Retention(size=1), 36),
            (Retention(age=0.001), 36),
        ],
    )
    async def test_retention_drops_the_oldest_but_nothing_after_the_snapshot(
        self, make_log: LogFactory, keep: Retention, first: int
    ) -> None:
        records = examples(0, 40)
        async with opened(make_log) as log:
            await log.append(records, 0)
            await log.save(Saved(35, b"state"))
            assert await retain_all(log, keep, records[-1].at) == first
            assert await log.read(0, 100) == records[first - 1 :]
            assert await log.page("messages", None, 100) == records[first - 1 :][::-1]
            assert await log.page("messages", first, 100) == []
            assert await log.reopen() == Opened(first, 40, Saved(35, b"state"))
            await log.append(examples(40, 1), 40)
            assert (await log.read(39, 10)) == examples(39, 2)

    async def test_retention_by_size_keeps_as_many_as_fit(self, make_log: LogFactory) -> None:
        records = examples(0, 40)
        size = sum(map(weight, records[30:]))
        async with opened(make_log) as log:
            await log.append(records, 0)
            await log.save(Saved(40, b"state"))
            assert await retain_all(log, Retention(size=size)) == 31
            assert await retain_all(log, Retention(size=size - 1)) == 32

    async def test_a_log_that_retention_emptied_goes_on_where_it_was(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 5), 0)
            await log.save(Saved(5, b"state"))
            assert await retain_all(log, Retention(age=1), START + 10**6) == 6
            assert await log.read(0, 10) == []
            assert await log.reopen() == Opened(6, 5, Saved(5, b"state"))
            await log.append(examples(5, 1), 5)
            assert await log.read(0, 10) == examples(5, 1)

    async def test_readers_beside_an_append_see_all_of_a_batch_or_nothing(
        self, make_log: LogFactory
    ) -> None:
        seen: list[list[StoredRecord]] = []
        done = False

        async def read(log: Log) -> None:
            while not done:
                seen.append(await log.read(0, 1_000))
                page = await log.page("messages", None, 1_000)
                assert [r.offset for r in page] == list(range(len(page), 0, -1))
                assert len(page) % 7 == 0
                await anyio.lowlevel.checkpoint()

        async with opened(make_log) as log, anyio.create_task_group() as tasks:
            tasks.start_soon(read, log)
            tasks.start_soon(read, log)
            for head in range(0, 350, 7):
                await log.append(examples(head, 7), head)
                await anyio.lowlevel.checkpoint()
            done = True
        for records in seen:
            assert records == examples(0, len(records))
            assert len(records) % 7 == 0

    async def test_what_is_asked_beside_an_append_takes_effect_in_the_order_of_the_calls(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 3_000), 0)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(log.save, Saved(3_000, b"first"))
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(log.append, [], 3_000, [redaction(example(3_000))])
            # The snapshot was there, and gone with the text that it may hold.
            assert await log.reopen() == Opened(1, 3_000, None)
            async with anyio.create_task_group() as tasks:
                erasures = [redaction(example(2_999))]
                tasks.start_soon(log.append, examples(3_000, 2_000), 3_000, erasures)
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(log.save, Saved(5_000, b"second"))
                await anyio.lowlevel.checkpoint()
                tasks.start_soon(log.retain, Retention(count=4_900), START)
            # It was saved behind the erasure, and let the oldest go.
            assert await log.reopen() == Opened(101, 5_000, Saved(5_000, b"second"))

    async def test_retention_holds_nobody_up_one_call_drops_few(self, make_log: LogFactory) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 3_000), 0)
            await log.save(Saved(3_000, b"state"))
            first, before = 1, 0
            while first > before:
                before, first = first, await log.retain(Retention(count=1), START)
                assert first - before <= 1_000
            assert first == 3_000

    async def test_who_stops_waiting_for_a_read_takes_nothing_with_them(
        self, make_log: LogFactory
    ) -> None:
        async with opened(make_log) as log:
            await log.append(examples(0, 50), 0)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await log.read(0, 50)
            with anyio.CancelScope() as scope:
                scope.cancel()
                await log.page("messages", None, 50)
            assert await log.read(0, 100) == examples(0, 50)
            await log.append(examples(50, 1), 50)
            assert await log.page("messages", None, 1) == examples(50, 1)
