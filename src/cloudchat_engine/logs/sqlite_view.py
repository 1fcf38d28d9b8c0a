"""A log's SQLite file as it stands, opened for reading alone: for tools, beside a server or without one."""

import os
import sqlite3
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs import sqlite_reader
from cloudchat_engine.logs.sqlite_file import MIGRATIONS, beginning, explain, recognise
from cloudchat_engine.logs.sqlite_reader import Reader
from cloudchat_engine.ports import LogDamagedError, LogUnavailableError, Opened, Saved


class SqliteView:
    """The log at `path`, for the time of a `with` block. Nothing is written to it.

    Entering raises `LogUnavailableError` where the file cannot be opened, `LogDamagedError` where it is no log, and
    `LogError` where this version would have to bring it up to date first.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.realpath(path))

    def __enter__(self) -> Self:
        try:
            if not self.path.is_file():
                raise LogUnavailableError(f"there is no log at {self.path}")
            self.connection = self._connect()
        except (sqlite3.Error, OSError) as error:
            raise explain(error, self.path) from error
        try:
            layout = recognise(self.connection, self.path)
            if layout != len(MIGRATIONS):
                raise _other_layout(layout, self.path)
        except BaseException as error:
            self.connection.close()
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path) from error
            raise
        self._reader = Reader(self.path, threading.Lock(), self.connection)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite_reader.connect(self.path)
        try:
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            connection.close()
            if self.wal or error.sqlite_errorcode & 0xFF not in {
                sqlite3.SQLITE_CANTOPEN,
                sqlite3.SQLITE_READONLY,
            }:
                raise
            # Where nothing can be written SQLite has no place for the memory that it shares with a server, and no
            # server for it to share it with.
            return sqlite_reader.connect(self.path, "immutable=1")
        except BaseException:
            connection.close()
            raise
        return connection

    def opened(self) -> Opened:
        """Say what the log holds; `LogDamagedError` where that cannot be read."""
        try:
            execute = self.connection.execute
            first = beginning(self.connection, self.path)
            head = execute('SELECT max("offset") FROM log').fetchone()[0] or 0
            kept = execute('SELECT "offset", state FROM snapshot ORDER BY "offset" DESC').fetchone()
        except sqlite3.Error as error:
            raise explain(error, self.path, place=" where it says what it holds") from error
        return Opened(first, head, Saved(*kept) if kept else None)

    def read(self, after: int, limit: int) -> list[StoredRecord]:
        """Return records as `Log.read` does."""
        return self._reader.read(after, limit)

    def following(self, after: int) -> int | None:
        """Return the offset of the next record behind `after`, damaged or not; None where that cannot be told."""
        try:
            found = self.connection.execute(
                'SELECT min("offset") FROM log WHERE "offset" > ?', (after,)
            ).fetchone()
        except sqlite3.Error:
            return None
        return None if found is None else found[0]

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.path.stat().st_size

    @property
    def wal(self) -> int:
        """Bytes of the write-ahead log beside the file: what a server has written and not moved into it yet."""
        wal = Path(f"{self.path}-wal")
        return wal.stat().st_size if wal.exists() else 0


def _other_layout(layout: int, path: Path) -> LogDamagedError | LogUnavailableError:
    if not layout:
        return LogDamagedError(f"{path} is empty, it is no log yet")
    return LogUnavailableError(
        f"{path} was written by an older cloudchat (layout {layout}): `cloudchat log compact` brings it up to date"
    )
