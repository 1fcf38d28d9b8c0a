"""Reads a whole log in its SQLite file and says what is wrong with it, and where.

What is looked at: the file itself (SQLite's own check of its pages and indexes), each record (it is there, its checksum
holds, it can be decoded, it says what its row says, it does not go back in time), the state that they amount to, and
whether the snapshot is that state. It goes on behind what is damaged, so that all places are named.
"""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from cloudchat_core.codec import StoredRecord, load
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.errors import LocalProtocolError
from cloudchat_core.events import Record
from cloudchat_core.snapshot import restore
from cloudchat_core.workspace import Workspace, evolve
from cloudchat_engine.logs.sqlite_file import sound
from cloudchat_engine.logs.sqlite_reader import READ
from cloudchat_engine.logs.sqlite_view import SqliteView
from cloudchat_engine.ports import LogDamagedError, Opened

PAGE: Final = 1_000
"""How many records are read at once."""
MOST: Final = 100
"""How many places SQLite's own check names."""

Tell = Callable[[int, int], None]
"""Is told how far the work is: so many records of so many."""


class Damage(msgspec.Struct, frozen=True):
    """What is wrong, and where: `the file`, `the snapshot of record N`, `record N`, `records N to M`."""

    place: str
    detail: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a log holds, as far as it can be read, and what is wrong with it.

    Offsets `first` to `head`; `epochs` openings are on record, the newest called `epoch`; `snapshot` is the offset of
    the newest one (None: there is none). In bytes: `size` of the file, `free` of it that new records will take, `wal`
    of the write-ahead log beside it, `content`, which is what counts for retention.
    """

    log: str
    sound: bool
    first: int = 0
    head: int = 0
    epoch: str = ""
    epochs: int = 0
    snapshot: int | None = None
    size: int = 0
    free: int = 0
    wal: int = 0
    content: int = 0
    damage: list[Damage] = []


def check(path: Path, tell: Tell = lambda done, total: None) -> Report:
    """Read all of the log at `path`. Nothing is written; a server may have it open.

    `LogUnavailableError` where it cannot be read at all; what is wrong with it is in the report.
    """
    try:
        with SqliteView(path) as view:
            # All as of one moment: a server may take a text back, drop records, and save another snapshot meanwhile.
            view.connection.execute("BEGIN")
            return _Check(view, tell).report()
    except LogDamagedError as error:
        return Report(
            log=os.path.realpath(path), sound=False, damage=[Damage("the file", str(error))]
        )


class _Check:
    def __init__(self, view: SqliteView, tell: Tell) -> None:
        self._view, self._tell = view, tell
        self._opened: Opened = view.opened()
        self._damage: list[Damage] = []
        self._bad: list[tuple[int, int, str]] = []
        self._content = 0
        self._at = 0
        self._seen = False
        # The state up to the newest record that was looked at; None: it cannot be known.
        self._state: Workspace | None = Workspace() if self._opened.first == 1 else None

    def report(self) -> Report:
        opened = self._opened
        self._file()
        if 1 <= opened.first <= opened.head + 1:
            self._snapshot(opened.first - 1, opened.first - 1)
            self._walk()
        else:
            what = f"it says that it begins at record {opened.first}, and ends with {opened.head}"
            self._damage.append(Damage("the file", what))
        if opened.snapshot is not None and opened.snapshot.offset > opened.head:
            place = f"the snapshot of record {opened.snapshot.offset}"
            self._damage.append(Damage(place, f"the log ends at record {opened.head}"))
        if opened.first > 1 and opened.snapshot is None:
            what = f"there is none, and the log begins at record {opened.first}"
            self._damage.append(Damage("the snapshot", what))
        damage = [*self._damage, *(Damage(_place(*run[:2]), run[2]) for run in self._bad)]
        epochs = self._state.epochs if self._state is not None else ()
        pages, size = (
            self._view.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("freelist_count", "page_size")
        )
        return Report(
            log=str(self._view.path),
            sound=not damage,
            first=opened.first,
            head=opened.head,
            epoch=epochs[-1].name if epochs else "",
            epochs=len(epochs),
            snapshot=opened.snapshot.offset if opened.snapshot is not None else None,
            size=self._view.size,
            free=pages * size,
            wal=self._view.wal,
            content=self._content,
            damage=damage,
        )

    def _file(self) -> None:
        try:
            for (found,) in self._view.connection.execute(f"PRAGMA integrity_check({MOST})"):
                self._damage += [Damage("the file", line) for line in found.splitlines()]
        except sqlite3.Error as error:
            self._damage.append(Damage("the file", str(error)))
        if self._damage == [Damage("the file", "ok")]:
            self._damage.clear()

    def _walk(self) -> None:
        first, head = self._opened.first, self._opened.head
        done = first - 1
        while done < head:
            try:
                rows = self._select(done + 1, PAGE)
                last = rows[-1][0] if rows else head
            except sqlite3.Error:
                last = min(done + PAGE, head)
                rows = self._one_by_one(range(done + 1, last + 1))
            for row in rows:
                self._missing(done + 1, row[0] - 1)
                done = row[0]
                self._record(done, row)
                self._snapshot(done, done)
            self._missing(done + 1, last)
            done = last
            self._tell(done - first + 1, head - first + 1)

    def _select(self, offset: int, limit: int) -> list[Any]:
        return self._view.connection.execute(READ, (offset, limit)).fetchall()

    def _one_by_one(self, offsets: range) -> list[Any]:
        """Return the rows at `offsets`; in the place of one that cannot be read, its offset and why."""
        rows = []
        for offset in offsets:
            try:
                rows += [row for row in self._select(offset, 1) if row[0] == offset]
            except sqlite3.Error as error:
                rows.append((offset, str(error)))
        return rows

    def _record(self, offset: int, row: Any) -> None:
        try:
            record = self._decoded(offset, row)
            if self._state is not None:
                try:
                    self._state = evolve(self._state, record)
                except Exception as error:  # a record that `decide` did not make
                    raise _Wrong(f"it does not follow on what is before it ({error!r})") from error
        except _Wrong as wrong:
            self._wrong(offset, offset, str(wrong))

    def _missing(self, first: int, last: int) -> None:
        if first <= last:
            self._wrong(first, last, "it is missing")

    def _wrong(self, first: int, last: int, what: str) -> None:
        """Note what is wrong with the records `first` to `last`; behind them the state is not known."""
        self._state = None
        if self._bad and self._bad[-1][1:] == (first - 1, what):
            first = self._bad.pop()[0]
        self._bad.append((first, last, what))
        self._snapshot(first, last)

    def _decoded(self, offset: int, row: Any) -> Record:
        if len(row) == 2:
            raise _Wrong(f"it cannot be read ({row[1]})")
        if not sound(row):
            raise _Wrong("it is not what was written (its checksum is another)")
        stored = StoredRecord(*row[:6])
        self._content += len(stored.body) + len(stored.private)
        try:
            record = load(stored)
        except LocalProtocolError as error:
            raise _Wrong(str(error)) from error
        event = record.event
        cursor = parse_cursor(event.cursor)
        if (stored.kind, stored.topic) != (event.__struct_config__.tag, event.topic):
            raise _Wrong("its row says that it is another kind of event")
        if cursor is None or cursor[1] != offset:
            raise _Wrong(f"it says that it stands at {event.cursor}")
        if record.at < self._at:
            raise _Wrong("it is older than the record before it")
        self._at = record.at
        return record

    def _snapshot(self, first: int, last: int) -> None:
        """Where the snapshot is of one of these offsets: hold it to what came before it, or go on from it."""
        saved = self._opened.snapshot
        if saved is None or not first <= saved.offset <= last or self._seen:
            return
        self._seen = True
        offset = saved.offset
        place = f"the snapshot of record {offset}"
        try:
            state = restore(saved.state)
        except LocalProtocolError as error:
            self._damage.append(Damage(place, str(error)))
            return
        if state.offset != offset or (self._state is not None and state != self._state):
            self._damage.append(Damage(place, "it is not what the records before it amount to"))
        elif self._state is None:
            self._state = state


class _Wrong(Exception):  # noqa: N818 - caught where it is raised
    """Something is wrong with a record; the text says what."""


def _place(first: int, last: int) -> str:
    return f"record {first}" if first == last else f"records {first} to {last}"
