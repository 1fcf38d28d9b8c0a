"""Durable appends a second through SqliteLog, beside a bare SQLite group-commit loop in the same run.

    python benchmarks/log_appends.py [--seconds 2] [--rounds 3] [--directory DIR] [--backend trio]

The bare loop is the least that a durable log can be: one thread, one table of an offset and a body, one transaction a
batch, `synchronous=FULL`. *In flight* is how many appends wait at once: all of them are one batch. The figure is the
median of the rounds, which alternate; on another disk the figures differ, the ratio much less.
"""

import argparse
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs import SqliteLog

BODY = (
    b'{"type":"message","cursor":"k3f9-123456","at":"2026-11-23T10:00:00.000Z",'
    b'"nickname":"Alexandra","text":"is the staging database back, or should I wait?","ref":"c7"}'
)
PRIVATE = b'{"memory":{"scope":"%s","id":"c7","content":"%s"},"holder":"%s"}' % (
    b"0" * 64,
    b"1" * 32,
    b"0" * 64,
)


def records(head: int, count: int) -> list[StoredRecord]:
    """Make the batch that follows `head`."""
    return [
        StoredRecord(offset, 1_700_000_000_000 + offset, "message", "chat", BODY, PRIVATE)
        for offset in range(head + 1, head + count + 1)
    ]


def bare(path: Path, in_flight: int, seconds: float) -> float:
    """Return the appends a second of the bare loop."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE log (o INTEGER PRIMARY KEY, body BLOB)")
        body = BODY + PRIVATE
        head = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            connection.execute("BEGIN")
            rows = [(head + n, body) for n in range(1, in_flight + 1)]
            connection.executemany("INSERT INTO log VALUES (?, ?)", rows)
            connection.execute("COMMIT")
            head += in_flight
        return head / (time.perf_counter() - started)


def through_log(backend: str) -> Callable[[Path, int, float], float]:
    """Return what measures SqliteLog on the event loop `backend`."""

    async def measure(path: Path, in_flight: int, seconds: float) -> float:
        log = SqliteLog(path)
        await log.open()
        head = 0
        started = time.perf_counter()
        while time.perf_counter() - started < seconds:
            await log.append(records(head, in_flight), head)
            head += in_flight
        rate = head / (time.perf_counter() - started)
        await log.aclose()
        return rate

    return lambda *arguments: anyio.run(measure, *arguments, backend=backend)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=2, help="each measurement's length")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", help="where the files go (default: the temporary directory)")
    parser.add_argument("--backend", choices=["trio", "asyncio"], default="trio")
    options = parser.parse_args()
    rivals = {"bare": bare, "log": through_log(options.backend)}
    print(f"{'in flight':>9} {'bare/s':>9} {'SqliteLog/s':>12} {'ratio':>6}")
    for in_flight in (1, 16, 128, 1_000):
        rates: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(options.rounds):
            for name, measure in rivals.items():
                with TemporaryDirectory(dir=options.directory) as directory:
                    path = Path(directory, "log.db")
                    rates[name].append(measure(path, in_flight, options.seconds))
        base, ours = (median(rates[name]) for name in ("bare", "log"))
        print(f"{in_flight:>9} {base:>9,.0f} {ours:>12,.0f} {ours / base:>6.2f}")


if __name__ == "__main__":
    main()
