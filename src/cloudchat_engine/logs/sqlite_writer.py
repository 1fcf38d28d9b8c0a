"""What the writing thread of a `SqliteLog` does. All of it blocks; none of it is shared.

**Durable.** In WAL mode with `synchronous=FULL` every commit ends with an fsync of the write-ahead log. Where that (or
anything else of a commit) fails with an I/O error, nothing can be said about the batch: the writer refuses everything
until it has been opened again. It is not synced again, since a kernel may report a failed write-back once and then call
the page clean. Opening again moves all that is valid in the write-ahead log into the main file and syncs that, so that
what it says is there is on the disk.

**In its place.** SQLite goes on writing to a file that was moved, replaced or removed, and to such a write-ahead log:
all of that is lost at the next start. So after each append it is looked whether both stand where they stood (`check`),
before anybody is told of it.

**Quick.** A batch is one statement, whatever its size: Python's sqlite3 takes the interpreter's lock back after every
step, and beside a busy event loop that can take 5 ms each time. Statements come in sizes that are powers of two; rows
that a batch does not fill are NULL and filtered out.

**Erased means gone.** `secure_delete` zeroes what is deleted, but not what SQLite leaves behind when it moves a row to
balance its B-tree. So no row with a text in it ever moves: rows are only appended (which splits nothing), an erasure
overwrites body and checksum in place with as many zeroes (the substitute stands in the table `erased`), and retention
keeps the rows that it deletes apart from those that stay (`sqlite_retention`). Then the write-ahead log, which has
older versions of the page, is emptied.
"""

import sqlite3
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cloudchat_core.codec import StoredRecord
from cloudchat_core.errors import LocalProtocolError
from cloudchat_engine.logs import sqlite_file
from cloudchat_engine.logs import sqlite_retention as retention
from cloudchat_engine.logs.sqlite_file import Lock, Synchronous, checksum, explain, transaction
from cloudchat_engine.logs.sqlite_retention import Held
from cloudchat_engine.ports import (
    Erasure,
    LogConflictError,
    LogDamagedError,
    LogError,
    LogUnavailableError,
    LogUncertainError,
    Opened,
    Retention,
    Saved,
)

_PATIENCE = 5_000
_BRIEF = 250
"""Milliseconds that another program gets to finish: before an error, and before something is put off."""
_HEAVIEST = 1 << 62
"""Bytes that no log comes to; beyond twice as much SQLite has no whole numbers."""
_WIDTH = 8
"""Values of a row."""
LARGEST = 2048
"""Rows of the largest statement; 8 values each stay under SQLite's default of 32,766 a statement."""


@cache
def _insert(rows: int) -> str:
    values = ",".join(["(?,?,?,?,?,?,?,?)"] * rows)
    return f"INSERT INTO log SELECT * FROM (VALUES {values}) WHERE column1 IS NOT NULL"  # noqa: S608 - no value in it


class Writer:
    """The one connection that writes to the log at `path`."""

    def __init__(self, path: Path, synchronous: Synchronous) -> None:
        self._path = path
        self._synchronous: Synchronous = synchronous
        self._lock: Lock | None = None
        self._connection: sqlite3.Connection | None = None
        self._scrub_due = False
        self._doubtful = False
        self._wal = Path(f"{path}-wal")
        self._places: dict[Path, tuple[int, int]] = {}
        self.reading = threading.Lock()
        """Held by whoever reads: the write-ahead log cannot be emptied under a reader."""

    def open(self) -> Opened:
        try:
            if self._lock is None:
                sqlite_file.create(self._path)
                self._lock = Lock(self._path)
            self._connection = sqlite_file.connect(self._path, self._synchronous)
            self._settle()
            self._doubtful = False
            opened = self._look()
            places = ((each, sqlite_file.identity(each)) for each in (self._path, self._wal))
            self._places = {each: found for each, found in places if found is not None}
            return opened
        except (sqlite3.Error, OSError) as error:
            self.disconnect()
            raise explain(error, self._path) from error
        except LogError:
            self.disconnect()
            raise

    def reopen(self) -> Opened:
        self.disconnect()
        return self.open()

    def _stands(self, path: Path) -> bool:
        try:
            return path not in self._places or sqlite_file.identity(path) == self._places[path]
        except OSError:
            return True  # nobody can tell

    def check(self) -> None:
        """Raise `LogUncertainError` where what was appended may not be where the next start looks for it.

        For the event loop's own thread, where it takes some microseconds. This one would have to wait for the
        interpreter's lock as well.
        """
        for path in self._places:
            if not self._stands(path):
                raise LogUncertainError(sqlite_file.misplaced(path))

    def rescue(self) -> bool:
        """Tell whether the write-ahead log is not in its place; what it holds is then in the main file.

        Raises `LogUnavailableError` where that one is not, either. Both are left as they are: they may come back.
        """
        if not self._stands(self._path):
            raise LogUnavailableError(sqlite_file.misplaced(self._path))
        if self._stands(self._wal):
            return False
        if self._connection is not None:
            try:
                with self.reading:
                    self._checkpoint(_PATIENCE)
            except sqlite3.Error as error:
                raise explain(error, self._path) from error
        return True

    def _settle(self) -> None:
        """Sync what a writer before this one may not have synced, and finish its erasures."""
        try:
            self._scrub_due = not self._checkpoint(_PATIENCE)
        except sqlite3.OperationalError as error:
            # On a full disk everything can still be read, and the checkpoint is tried again; unless a sync has failed.
            if self._doubtful or error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                raise
            self._scrub_due = True

    def _look(self) -> Opened:
        """Read where the log begins and ends; a few pages, whatever its length."""
        connection = self._connected()
        self._first = sqlite_file.beginning(connection, self._path)
        last = connection.execute('SELECT "offset", size FROM log ORDER BY "offset" DESC LIMIT 1')
        row = last.fetchone() or (0, 0)
        self._head: int = row[0]
        self._size: int = row[1]
        if not isinstance(row[1], int) or not 0 <= row[1] < _HEAVIEST:
            raise LogDamagedError(
                f"{self._path} does not say how much it holds; {sqlite_file.ADVICE}"
            )
        begins = connection.execute('SELECT 1 FROM log WHERE "offset" = ?', (self._first,))
        if (self._head >= self._first and not begins.fetchone()) or self._head < self._first - 1:
            raise LogDamagedError(
                f"{self._path} begins with record {self._first}, which is missing; {sqlite_file.ADVICE}"
            )
        kept = connection.execute('SELECT "offset", state FROM snapshot ORDER BY "offset" DESC')
        row = kept.fetchone()
        return Opened(self._first, self._head, Saved(*row) if row else None)

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise LogUncertainError(f"{self._path} must be opened again before it is used")
        return self._connection

    def disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def close(self) -> None:
        self.disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _failed(self, error: sqlite3.Error) -> LogError:
        """Say what `error` means; where that is not known, nothing more is done before the log is opened again."""
        meaning = explain(error, self._path, committing=True)
        if self._connected().in_transaction and not isinstance(meaning, LogUncertainError):
            meaning = LogUncertainError(f"{self._path}: a batch could not be taken back ({error})")
        if isinstance(meaning, LogUncertainError):
            self._doubtful = True
            self.disconnect()
        return meaning

    def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure]
    ) -> None:
        connection = self._connected()
        if expected != self._head:
            raise LogConflictError(f"the head of {self._path} is {self._head}, not {expected}")
        rows, size = self._rows(records)
        count = len(records)
        try:
            if count <= LARGEST and not erased:
                if count:
                    self._insert(rows, count)
            else:
                with transaction(connection):
                    for start in range(0, count, LARGEST):
                        part = rows[_WIDTH * start : _WIDTH * (start + LARGEST)]
                        self._insert(part, len(part) // _WIDTH)
                    for erasure in erased:
                        self._erase(erasure, expected + count)
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._head += count
        self._size = size
        if erased or self._scrub_due:
            self._scrub(_BRIEF if erased else 0)

    def _rows(self, records: Sequence[StoredRecord]) -> tuple[list[Any], int]:
        rows: list[Any] = []
        size = self._size
        offset = self._head
        for r in records:
            offset += 1
            if r.offset != offset:
                raise LocalProtocolError(f"record {r.offset} cannot stand at offset {offset}")
            size += len(r.body) + len(r.private)
            total = checksum(offset, r.body, r.private)
            rows += (offset, r.at, r.kind, r.topic, size, r.body, r.private, total)
        return rows, size

    def _insert(self, rows: list[Any], count: int) -> None:
        room = 1 << (count - 1).bit_length()
        rows += (None,) * (_WIDTH * (room - count))
        self._connected().execute(_insert(room), rows)

    def _erase(self, erasure: Erasure, head: int) -> None:
        if not self._first <= erasure.offset <= head:
            return
        execute = self._connected().execute
        execute(
            """UPDATE log SET body = zeroblob(length(body)), sum = zeroblob(length(sum))
               WHERE "offset" = ?""",
            (erasure.offset,),
        )
        execute(
            """INSERT OR REPLACE INTO erased
               SELECT "offset", ?1, checksum("offset", ?1, private) FROM log WHERE "offset" = ?2""",
            (erasure.body, erasure.offset),
        )
        # Where retention has dropped the beginning, the snapshot stands for it and cannot go before the next one comes.
        if self._first == 1:
            execute('DELETE FROM snapshot WHERE "offset" >= ?', (erasure.offset,))

    def _scrub(self, patience: int) -> None:
        """Empty the write-ahead log; where another program reads just now, again after the next append."""
        try:
            with self.reading:
                self._scrub_due = not self._checkpoint(patience)
        except (sqlite3.Error, LogUnavailableError):
            self._scrub_due = True

    def _checkpoint(self, patience: int) -> bool:
        """Move the write-ahead log into the main file and sync that; return whether it could be emptied too.

        Waits up to `patience` milliseconds for other programs.
        """
        execute = self._connected().execute
        execute(f"PRAGMA busy_timeout = {patience}")
        busy, frames, moved = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        execute(f"PRAGMA busy_timeout = {_PATIENCE}")
        if moved < frames:
            raise LogUnavailableError(
                f"another program reads {self._path} and does not end; close it"
            )
        return not busy

    def save(self, snapshot: Saved) -> None:
        connection = self._connected()
        try:
            with transaction(connection):
                # Emptying a table zeroes its pages and moves no row; deleting the older row may do that.
                connection.execute("DELETE FROM snapshot")
                connection.execute(
                    "INSERT INTO snapshot VALUES (?, ?)", (snapshot.offset, snapshot.state)
                )
        except sqlite3.Error as error:
            raise self._failed(error) from error
        self._scrub(_BRIEF)

    def retain(self, keep: Retention, now: int) -> int:
        connection = self._connected()
        try:
            held = Held(self._first, self._head, self._size)
            first = retention.first_kept(connection, held, keep, now)
            if first > self._first:
                with transaction(connection):
                    retention.drop(connection, self._first, first)
                self._first = first
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return self._first

    def vacuum(self) -> None:
        """Write the file anew, without what retention left in it; what goes wrong leaves a log that is whole."""
        connection = self._connected()
        try:
            with transaction(connection):
                retention.forget(connection, self._first)
            # What is written meanwhile may be as large as the log, which memory may not have.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute("VACUUM")
        except sqlite3.Error as error:
            raise self._failed(error) from error
        finally:
            if self._connection is not None:
                connection.execute("PRAGMA temp_store = MEMORY")
        self._scrub(_PATIENCE)
