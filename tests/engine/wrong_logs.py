"""Logs that break one promise each, and the test of the kit that says so."""

import os
from collections.abc import Sequence
from typing import Literal

import anyio.lowlevel
import msgspec

from cloudchat_core.codec import StoredRecord
from cloudchat_engine import Erasure, Opened, Retention, Saved
from cloudchat_engine.logs import MemoryLog
from examples.journal_log import Call, JournalLog

What = Literal["messages", "worklog"]


class BeginsAtZero(MemoryLog):
    fails = "test_a_new_log_is_empty_and_begins_at_one"

    def __init__(self) -> None:
        super().__init__()
        self._first = 0


class TidiesTexts(MemoryLog):
    fails = "test_what_was_appended_is_read_as_it_was_in_order"

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        return [
            msgspec.structs.replace(record, body=record.body.replace(b"long", b""))
            for record in await super().read(after, limit)
        ]


class CutsLargeBatches(MemoryLog):
    fails = "test_a_batch_of_any_size_is_appended_whole"

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        await super().append(records[:2_048], expected, erased)


class ReadsOneTooMany(MemoryLog):
    fails = "test_reading_starts_after_the_offset_and_ends_with_the_limit"

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        return await super().read(after, limit + 1 if limit < 10 else limit)


class WantsRecords(MemoryLog):
    fails = "test_an_empty_batch_changes_nothing"

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        assert records, "there is nothing to append"
        await super().append(records, expected, erased)


class ErasesBeforeItLooks(MemoryLog):
    fails = "test_an_append_on_another_head_is_refused_and_writes_nothing"

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        for erasure in erased:
            self._erase(erasure)
        await super().append(records, expected, erased)


class PagesIgnoreBefore(MemoryLog):
    fails = "test_pages_show_the_newest_first_and_end_before_the_offset"

    async def page(self, what: What, before: int | None, limit: int) -> list[StoredRecord]:
        return await super().page(what, None, limit)


class PagesShowErasedTexts(MemoryLog):
    fails = "test_an_erased_text_is_served_nowhere"

    def __init__(self) -> None:
        super().__init__()
        self._old: dict[int, StoredRecord] = {}

    def _erase(self, erasure: Erasure) -> None:
        self._old[erasure.offset] = self._records[erasure.offset - self._first]
        super()._erase(erasure)

    async def page(self, what: What, before: int | None, limit: int) -> list[StoredRecord]:
        return [self._old.get(r.offset, r) for r in await super().page(what, before, limit)]


class ErasesTooEarly(MemoryLog):
    fails = "test_a_record_may_be_erased_by_the_batch_that_appends_it"

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        known = [erasure for erasure in erased if erasure.offset <= expected]
        await super().append(records, expected, known)


class KeepsTheFirstSnapshot(MemoryLog):
    fails = "test_the_newest_snapshot_is_what_opening_tells"

    async def save(self, snapshot: Saved) -> None:
        self._snapshot = self._snapshot or snapshot


class KeepsSnapshotsOfErasedTexts(MemoryLog):
    fails = "test_a_snapshot_does_not_outlive_a_text_that_it_may_hold"

    def _erase(self, erasure: Erasure) -> None:
        snapshot = self._snapshot
        super()._erase(erasure)
        self._snapshot = snapshot


class LosesTheOnlySnapshot(MemoryLog):
    fails = "test_the_snapshot_that_stands_for_dropped_records_stays_until_the_next"

    def _erase(self, erasure: Erasure) -> None:
        super()._erase(erasure)
        if self._snapshot and self._snapshot.offset >= erasure.offset:
            self._snapshot = None


class DropsWithoutASnapshot(MemoryLog):
    fails = "test_without_a_snapshot_everything_is_kept"

    async def retain(self, keep: Retention, now: int) -> int:
        snapshot = self._snapshot
        self._snapshot = snapshot or Saved(self._head, b"")
        try:
            return await super().retain(keep, now)
        finally:
            self._snapshot = snapshot


class DropsWhatFollowsTheSnapshot(MemoryLog):
    fails = "test_retention_drops_the_oldest_but_nothing_after_the_snapshot"

    async def retain(self, keep: Retention, now: int) -> int:
        snapshot = self._snapshot
        self._snapshot = snapshot and Saved(self._head, snapshot.state)
        try:
            return await super().retain(keep, now)
        finally:
            self._snapshot = snapshot


class WeighsTheBodyAlone(MemoryLog):
    fails = "test_retention_by_size_keeps_as_many_as_fit"

    async def retain(self, keep: Retention, now: int) -> int:
        self._size = sum(len(record.body) for record in self._records)
        return await super().retain(keep, now)


class StartsOverWhenEmpty(MemoryLog):
    fails = "test_a_log_that_retention_emptied_goes_on_where_it_was"

    async def retain(self, keep: Retention, now: int) -> int:
        await super().retain(keep, now)
        if not self._records:
            self._first = 1
        return self._first


class SplitsBatches(MemoryLog):
    fails = "test_readers_beside_an_append_see_all_of_a_batch_or_nothing"

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        half = len(records) // 2
        await super().append(records[:half], expected)
        await anyio.lowlevel.checkpoint()
        await super().append(records[half:], expected + half, erased)


class TakesItsTimeToSave(MemoryLog):
    fails = "test_what_is_asked_beside_an_append_takes_effect_in_the_order_of_the_calls"

    async def save(self, snapshot: Saved) -> None:
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        await super().save(snapshot)


class DropsAllAtOnce(MemoryLog):
    fails = "test_retention_holds_nobody_up_one_call_drops_few"

    async def retain(self, keep: Retention, now: int) -> int:
        before = 0
        while before < self._first:
            before = self._first
            await super().retain(keep, now)
        return self._first


class IsSpoiltByImpatience(MemoryLog):
    fails = "test_who_stops_waiting_for_a_read_takes_nothing_with_them"
    busy = False

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        assert not self.busy, "one reader at a time"
        self.busy = True
        await anyio.lowlevel.checkpoint()
        self.busy = False
        return await super().read(after, limit)


class LosesTheLastAtEachStart(JournalLog):
    fails = "test_all_that_was_appended_is_there_after_a_restart"

    async def open(self) -> Opened:
        if self._path.exists():
            lines = self._path.read_bytes().splitlines(keepends=True)
            self._path.write_bytes(b"".join(lines[:-1]))
        return await super().open()


class ForgetsWhatItDropped(JournalLog):
    fails = "test_what_was_dropped_stays_dropped_after_a_restart"

    def _write(self, call: Call) -> None:
        if call.keep is None:
            super()._write(call)


class LetsTwoIn(JournalLog):
    fails = "test_who_comes_second_is_refused_or_joins_and_takes_nothing_away"

    async def open(self) -> Opened:
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        return await self.reopen()


class WritesWhenItIsClosed(JournalLog):
    fails = "test_what_was_acknowledged_outlives_a_process_that_ends_without_a_word"

    async def open(self) -> Opened:
        self._waiting: list[Call] = []
        return await super().open()

    def _write(self, call: Call) -> None:
        self._waiting.append(call)

    async def aclose(self) -> None:
        if self._file >= 0:
            for call in self._waiting:
                super()._write(call)
        await super().aclose()


IN_MEMORY: list[type[MemoryLog]] = [
    kind for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, MemoryLog) and kind is not MemoryLog
]  # fmt: skip
DURABLE: list[type[JournalLog]] = [
    kind for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, JournalLog) and kind is not JournalLog
]  # fmt: skip
