"""What retention drops from a `SqliteLog`, in steps of bounded work.

The log must always be able to tell the state: nothing goes that follows the newest snapshot, and without a snapshot
nothing goes at all.

SQLite deletes a row by taking it out of its page, and when a page is mostly empty moves rows of its neighbours into it,
leaving copies behind that nobody overwrites. A text that is erased later would still stand in such a copy. So what is
dropped is overwritten in place first, and its rows are deleted only when they are `MOAT` records behind the first that
stays: rebalancing reaches two pages further at most, and there it moves zeroes.

Pages that become free are used for new records: the file does not grow beyond the most that it ever held.
"""

import sqlite3
from typing import NamedTuple

from cloudchat_engine.ports import Retention

STEP = 500
"""How many records one call drops at most: some 10 ms of writing."""
MOAT = 1024
"""Dropped records that stay, overwritten: more than fit on three pages of 4 kB, with at least 12 bytes each."""


class Held(NamedTuple):
    """What a log holds: offsets `first` to `head`; `size` as in the newest record."""

    first: int
    head: int
    size: int


def first_kept(connection: sqlite3.Connection, held: Held, keep: Retention, now: int) -> int:
    """Return the first offset that stays after this step."""
    first = held.first
    saved = connection.execute('SELECT max("offset") FROM snapshot').fetchone()[0]
    if saved is None:
        return first
    end: int = min(first + STEP, saved + 1, held.head + 1)
    kept = first
    if keep.count:
        kept = max(kept, held.head - keep.count + 1)
    if keep.age:
        # Moments never go back within a log, so that the first young record ends the old ones.
        young = """SELECT "offset" FROM log WHERE "offset" >= ? AND "offset" < ? AND at >= ?
            ORDER BY "offset" LIMIT 1"""
        row = connection.execute(young, (first, end, now - keep.age * 1000)).fetchone()
        kept = max(kept, row[0] if row else end)
    if keep.size and held.size - _before(connection, first) > keep.size:
        enough = """SELECT "offset" + 1 FROM log WHERE "offset" >= ? AND "offset" < ? AND size >= ?
            ORDER BY "offset" LIMIT 1"""
        row = connection.execute(enough, (first, end, held.size - keep.size)).fetchone()
        kept = max(kept, row[0] if row else end)
    return max(first, min(kept, end))


def _before(connection: sqlite3.Connection, first: int) -> int:
    """Return the weight of all that stood before `first`, whose last record is still there, overwritten."""
    row = connection.execute('SELECT size FROM log WHERE "offset" = ?', (first - 1,)).fetchone()
    return int(row[0]) if row else 0


def drop(connection: sqlite3.Connection, first: int, kept: int) -> None:
    """Drop the records from `first` to before `kept`, inside the caller's transaction."""
    connection.execute(
        """UPDATE log SET body = zeroblob(length(body)), private = zeroblob(length(private)),
           sum = zeroblob(length(sum)) WHERE "offset" >= ? AND "offset" < ?""",
        (first, kept),
    )
    connection.execute('DELETE FROM log WHERE "offset" < ?', (kept - MOAT,))
    connection.execute('DELETE FROM erased WHERE "offset" < ?', (kept,))
    connection.execute("UPDATE retained SET first = ?", (kept,))


def forget(connection: sqlite3.Connection, first: int) -> None:
    """Take away the rows that `drop` left behind, but the last, whose `size` is needed; inside a transaction.

    What stays goes to a new table, in order, and the old one is zeroed as a whole: so no row moves here either.
    """
    behind = 'SELECT EXISTS (SELECT 1 FROM log WHERE "offset" < ?)'
    if not connection.execute(behind, (first - 1,)).fetchall()[0][0]:
        return
    made = """SELECT sql FROM sqlite_master WHERE tbl_name = 'log' AND sql IS NOT NULL
        ORDER BY type = 'index'"""
    table, *indexes = (sql for (sql,) in connection.execute(made).fetchall())
    for statement in (
        "ALTER TABLE log RENAME TO dropped",
        table,
        f'INSERT INTO log SELECT * FROM dropped WHERE "offset" >= {first - 1} ORDER BY "offset"',  # noqa: S608 - a number
        "DROP TABLE dropped",
        *indexes,
    ):
        connection.execute(statement)
