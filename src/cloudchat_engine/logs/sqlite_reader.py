"""What the reading thread of a `SqliteLog` does, beside the one that writes.

It has a read-only connection of its own and keeps no transaction open between calls: one would stop the write-ahead log
from being emptied. It sees what is committed, and a commit shows only after it is synced. What it returns is what was
written: each record is held to its checksum.
"""

import sqlite3
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs.sqlite_file import ADVICE, explain, sound
from cloudchat_engine.ports import LogDamagedError, LogError

_SELECT = """SELECT log."offset", at, kind, topic, coalesce(erased.body, log.body), private,
    coalesce(erased.sum, log.sum) FROM log LEFT JOIN erased ON erased."offset" = log."offset" """
_FIRST = "(SELECT first FROM retained)"
READ = f'{_SELECT} WHERE log."offset" >= max(?, {_FIRST}) ORDER BY log."offset" LIMIT ?'
_PAGE = f"""{_SELECT} WHERE %s AND log."offset" < ? AND log."offset" >= {_FIRST}
    ORDER BY log."offset" DESC LIMIT ?"""
PAGES = {"messages": _PAGE % "kind = 'message'", "worklog": _PAGE % "topic = 'instances'"}
_NO_END = 2**63 - 1


def connect(path: Path, *options: str) -> sqlite3.Connection:
    """Open the file for reading alone. SQLite looks at it with the first statement only."""
    address = "&".join((f"{path.as_uri()}?mode=ro", *options))
    return sqlite3.connect(address, uri=True, isolation_level=None, timeout=5)


class Reader:
    """The one connection that reads; `reading` is held meanwhile, see `Writer.reading`."""

    def __init__(
        self, path: Path, reading: threading.Lock, connection: sqlite3.Connection | None = None
    ) -> None:
        self._path = path
        self._reading = reading
        self._connection = connection

    def open(self) -> sqlite3.Connection:
        if self._connection is None:
            try:
                self._connection = connect(self._path)
            except sqlite3.Error as error:
                raise explain(error, self._path) from error
        return self._connection

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, values: tuple[int, int]) -> list[Any]:
        connection = self.open()
        with self._reading:
            return connection.execute(statement, values).fetchall()

    def _records(self, rows: list[Any]) -> list[StoredRecord]:
        for row in rows:
            if not sound(row):
                raise LogDamagedError(
                    f"{self._path} is damaged at record {row[0]}, which is not what was written; {ADVICE}"
                )
        return [StoredRecord(*row[:6]) for row in rows]

    def read(self, after: int, limit: int) -> list[StoredRecord]:
        try:
            rows = self._rows(READ, (after + 1, limit))
        except sqlite3.Error as error:
            raise self._placed(error, after, limit) from error
        records = self._records(rows)
        for before, record in pairwise(records):
            if record.offset != before.offset + 1:
                raise LogDamagedError(
                    f"{self._path} is damaged: it lacks record {before.offset + 1}; {ADVICE}"
                )
        return records

    def _placed(self, error: sqlite3.Error, after: int, limit: int) -> LogError:
        """Say what `error` means, and which of the records is the first that cannot be read."""
        for offset in range(after + 1, after + limit + 1):
            try:
                self._rows(READ, (offset, 1))
            except sqlite3.Error as closer:
                return explain(closer, self._path, place=f" at record {offset}")
        return explain(error, self._path, place=f" behind record {after}")

    def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        end = _NO_END if before is None else before
        try:
            return self._records(self._rows(PAGES[what], (end, limit)))
        except sqlite3.Error as error:
            place = f" in its {what}" + ("" if before is None else f" before record {before}")
            raise explain(error, self._path, place=place) from error
