"""What the reading thread of a `SqliteLog` does, beside the one that writes.

It has a read-only connection of its own and keeps no transaction open between calls: one would stop the write-ahead log
from being emptied. It sees what is committed, and a commit shows only after it is synced.
"""

import sqlite3
import threading
from itertools import pairwise
from pathlib import Path
from typing import Literal

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs.sqlite_file import explain
from cloudchat_engine.ports import LogDamagedError

_SELECT = """SELECT log."offset", at, kind, topic, coalesce(erased.body, log.body), private
    FROM log LEFT JOIN erased ON erased."offset" = log."offset" """
_FIRST = "(SELECT first FROM retained)"
READ = f'{_SELECT} WHERE log."offset" >= max(?, {_FIRST}) ORDER BY log."offset" LIMIT ?'
_PAGE = f"""{_SELECT} WHERE %s AND log."offset" < ? AND log."offset" >= {_FIRST}
    ORDER BY log."offset" DESC LIMIT ?"""
PAGES = {"messages": _PAGE % "kind = 'message'", "worklog": _PAGE % "topic = 'instances'"}
_NO_END = 2**63 - 1


class Reader:
    """The one connection that reads; `reading` is held meanwhile, see `Writer.reading`."""

    def __init__(self, path: Path, reading: threading.Lock) -> None:
        self._path = path
        self._reading = reading
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
        records = self._select(READ, (after + 1, limit))
        for before, record in pairwise(records):
            if record.offset != before.offset + 1:
                raise LogDamagedError(
                    f"{self._path} lacks record {before.offset + 1}; stop the server and restore a backup"
                )
        return records

    def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return self._select(PAGES[what], (_NO_END if before is None else before, limit))
