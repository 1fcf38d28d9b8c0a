"""A log that lasts as long as its process: for trying things out, and for tests."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from cloudchat_core.codec import StoredRecord
from cloudchat_core.errors import LocalProtocolError
from cloudchat_engine.ports import Erasure, LogConflictError, Opened, Retention, Saved

STEP = 500
"""How many records one call of `retain` drops at most."""


def on_page(record: StoredRecord, what: Literal["messages", "worklog"]) -> bool:
    """Tell whether a page of `what` shows `record`."""
    return record.kind == "message" if what == "messages" else record.topic == "instances"


def weight(record: StoredRecord) -> int:
    """Return what a record counts towards `Retention.size`, in bytes."""
    return len(record.body) + len(record.private)


class MemoryLog:
    """Keeps records in a list; every promise of `Log` holds but that of outliving the process."""

    def __init__(self) -> None:
        self._first = 1
        self._records: list[StoredRecord] = []
        self._size = 0
        self._snapshot: Saved | None = None

    async def open(self) -> Opened:
        return self._opened()

    async def reopen(self) -> Opened:
        return self._opened()

    def _opened(self) -> Opened:
        return Opened(self._first, self._head, self._snapshot)

    @property
    def _head(self) -> int:
        return self._first + len(self._records) - 1

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        if expected != self._head:
            raise LogConflictError(f"the log's head is {self._head}, not {expected}")
        for offset, record in enumerate(records, expected + 1):
            if record.offset != offset:
                raise LocalProtocolError(f"record {record.offset} cannot stand at offset {offset}")
        self._records.extend(records)
        self._size += sum(map(weight, records))
        for erasure in erased:
            self._erase(erasure)

    def _erase(self, erasure: Erasure) -> None:
        place = erasure.offset - self._first
        if not 0 <= place < len(self._records):
            return
        old = self._records[place]
        self._records[place] = new = msgspec.structs.replace(old, body=erasure.body)
        self._size += weight(new) - weight(old)
        # Where retention dropped what came before, the snapshot stays until the next one: see `SqliteLog`.
        if self._snapshot and self._snapshot.offset >= erasure.offset and self._first == 1:
            self._snapshot = None

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        start = max(after + 1 - self._first, 0)
        return self._records[start : start + limit]

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        end = len(self._records)
        if before is not None:
            end = min(max(before - self._first, 0), end)
        found: list[StoredRecord] = []
        for place in range(end - 1, -1, -1):
            if len(found) == limit:
                break
            if on_page(self._records[place], what):
                found.append(self._records[place])
        return found

    async def save(self, snapshot: Saved) -> None:
        self._snapshot = snapshot

    async def retain(self, keep: Retention, now: int) -> int:
        if self._snapshot is None:
            return self._first
        most = min(self._snapshot.offset + 1 - self._first, len(self._records), STEP)
        oldest = now - keep.age * 1000
        drop = 0
        while drop < most and (
            (keep.count and len(self._records) - drop > keep.count)
            or (keep.size and self._size > keep.size)
            or (keep.age and self._records[drop].at < oldest)
        ):
            self._size -= weight(self._records[drop])
            drop += 1
        del self._records[:drop]
        self._first += drop
        return self._first

    async def aclose(self) -> None:
        """Do nothing: there is nothing to let go of."""
