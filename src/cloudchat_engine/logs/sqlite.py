"""A log in one SQLite file: one thread that writes (`sqlite_writer`), and one that reads beside it.

The reader has a read-only connection of its own and keeps no transaction open between calls: one would stop the
write-ahead log from being emptied. It sees what is committed, and a commit shows only after it is synced.
"""

import os
import sqlite3
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Literal

import anyio

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs.sqlite_file import Synchronous, explain
from cloudchat_engine.logs.sqlite_writer import Writer
from cloudchat_engine.logs.thread import Worker
from cloudchat_engine.ports import Erasure, LogDamagedError, LogError, Opened, Retention, Saved

_SELECT = """SELECT log."offset", at, kind, topic, coalesce(erased.body, log.body), private
    FROM log LEFT JOIN erased ON erased."offset" = log."offset" """
_FIRST = "(SELECT first FROM retained)"
_READ = f'{_SELECT} WHERE log."offset" >= max(?, {_FIRST}) ORDER BY log."offset" LIMIT ?'
_PAGE = f"""{_SELECT} WHERE %s AND log."offset" < ? AND log."offset" >= {_FIRST}
    ORDER BY log."offset" DESC LIMIT ?"""
_PAGES = {"messages": _PAGE % "kind = 'message'", "worklog": _PAGE % "topic = 'instances'"}
_NO_END = 2**63 - 1


class Reader:
    """What the reading thread does. `reading` is the writer's lock."""

    def __init__(self, path: Path, writer: Writer) -> None:
        self._path = path
        self._reading = writer.reading
        self._connection: sqlite3.Connection | None = None

    def open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = sqlite3.connect(
                    f"{self._path.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5
                )
            except sqlite3.Error as error:
                raise explain(error, self._path) from error
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, statement: str, values: tuple[int, int]) -> list[StoredRecord]:
        connection = self.open()
        try:
            with self._reading:
                rows = connection.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise explain(error, self._path) from error
        return [StoredRecord(*row) for row in rows]

    def read(self, after: int, limit: int) -> list[StoredRecord]:
        records = self._select(_READ, (after + 1, limit))
        for before, record in pairwise(records):
            if record.offset != before.offset + 1:
                raise LogDamagedError(
                    f"{self._path} lacks record {before.offset + 1}; stop the server and restore a backup"
                )
        return records

    def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return self._select(_PAGES[what], (_NO_END if before is None else before, limit))


class SqliteLog:
    """Keeps records in the SQLite file `path`, which is created where it is missing, with its directory.

    Beside it stand `PATH-wal` and `PATH-shm`, which belong to it, and `PATH.lock`. Not for network file systems.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Synchronous = "FULL") -> None:
        # `synchronous` is there for the test that shows what happens to promises without it.
        self.path = Path(path).resolve()
        self._writer = Writer(self.path, synchronous)
        self._reader = Reader(self.path, self._writer)
        self._writing = Worker("log-writer")
        self._reading = Worker("log-reader")

    async def open(self) -> Opened:
        try:
            opened = await self._writing.run(self._writer.open)
            await self._reading.run(self._reader.open)
        except LogError:
            await self.aclose()
            raise
        return opened

    async def reopen(self) -> Opened:
        # The reader first: the last connection that closes tidies up, and that is the writer's to do.
        await self._reading.run(self._reader.close)
        return await self._writing.run(self._writer.reopen)

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        await self._writing.run(partial(self._writer.append, records, expected, erased))

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        return await self._reading.run(partial(self._reader.read, after, limit))

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return await self._reading.run(partial(self._reader.page, what, before, limit))

    async def save(self, snapshot: Saved) -> None:
        await self._writing.run(partial(self._writer.save, snapshot))

    async def retain(self, keep: Retention, now: int) -> int:
        return await self._writing.run(partial(self._writer.retain, keep, now))

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._reading.close(self._reader.close)
            await self._writing.close(self._writer.close)
