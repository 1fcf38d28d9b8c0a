"""Durable commands a second at the node's seam (no sockets), beside a bare SQLite loop that commits the same rows.

    python benchmarks/node_commands.py [--rounds 5] [--seconds 2]

Each round measures both, one after the other, at 1 and at 128 commands in flight; what is printed is the median and the
ratio of the medians. The bare loop does nothing but to insert rows like the log's, WAL and `synchronous=FULL`, one
transaction for each 1 or 128 of them, in one thread.
"""

import argparse
import itertools
import sqlite3
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import anyio

from cloudchat_core.clock import SystemClock
from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import Caller, Join, Say
from cloudchat_core.frames import Ack, Reply
from cloudchat_engine import Node, SimulatedProvider, SystemTimer
from cloudchat_engine.logs import SqliteLog

TOKENS = 50
TEXT = (
    "Somebody says something of about this length, as people do, and goes on for a little while. "
)


def bare(path: Path, row: StoredRecord, in_flight: int, seconds: float) -> float:
    """Return the rows a second that SQLite takes, `in_flight` a transaction."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(
        "CREATE TABLE log (offset INTEGER PRIMARY KEY, at INTEGER, kind TEXT, topic TEXT, body BLOB, private BLOB)"
    )
    offsets = itertools.count(1)
    done, begun = 0, time.perf_counter()
    while (spent := time.perf_counter() - begun) < seconds:
        rows = [
            (next(offsets), row.at, row.kind, row.topic, row.body, row.private)
            for _ in range(in_flight)
        ]
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        done += in_flight
    connection.close()
    return done / spent


class Load:
    """Keeps a number of `say`s in flight: each answer sends the next one."""

    def __init__(self, node: Node, until: float) -> None:
        self._node, self._until = node, until
        self._callers = itertools.cycle([Caller(f"{n:064}") for n in range(TOKENS)])
        self._ids = itertools.count()
        self._in_flight = 0
        self.done = 0
        self.ended = anyio.Event()

    def send(self) -> None:
        """Send one more."""
        self._in_flight += 1
        self._node.submit(Say(f"s{next(self._ids)}", TEXT), next(self._callers), self._hear)

    def _hear(self, reply: Reply) -> None:
        assert isinstance(reply, Ack), reply
        self._in_flight -= 1
        self.done += 1
        if time.perf_counter() < self._until:
            self.send()
        elif not self._in_flight:
            self.ended.set()


async def through_the_node(
    path: Path, in_flight: int, seconds: float
) -> tuple[float, StoredRecord]:
    """Return the commands a second that a node has durable and answered, and one of its records."""
    clock = SystemClock()
    timer = SystemTimer(clock)
    node = Node(
        SqliteLog(path),
        SimulatedProvider(timer),
        clock=clock,
        timer=timer,
        new_id=lambda: str(uuid.uuid4()),
        new_epoch=lambda: "bench",
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        for n in range(TOKENS):
            caller = Caller(f"{n:064}")
            node.open_feed(str(n), lambda _: None, [caller.scope])
            await node.execute(Join("j", f"guest {n}"), caller)
        begun = time.perf_counter()
        load = Load(node, begun + seconds)
        for _ in range(in_flight):
            load.send()
        await load.ended.wait()
        rate = load.done / (time.perf_counter() - begun)
        [row] = await node.read(node.state.offset - 1, 1)
        tasks.cancel_scope.cancel()
    return rate, row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--backend", choices=["trio", "asyncio"], default="trio")
    options = parser.parse_args()
    rates: dict[tuple[str, int], list[float]] = {}
    for _ in range(options.rounds):
        for in_flight in (1, 128):
            with tempfile.TemporaryDirectory() as directory:
                node, row = anyio.run(
                    through_the_node,
                    Path(directory) / "node.db",
                    in_flight,
                    options.seconds,
                    backend=options.backend,
                )
                floor = bare(Path(directory) / "bare.db", row, in_flight, options.seconds)
            rates.setdefault(("node", in_flight), []).append(node)
            rates.setdefault(("bare", in_flight), []).append(floor)
    print("in flight   node /s   bare /s   node : bare")
    for in_flight in (1, 128):
        node = statistics.median(rates["node", in_flight])
        floor = statistics.median(rates["bare", in_flight])
        print(f"{in_flight:9}{node:10,.0f}{floor:10,.0f}{node / floor:14.2f}")


if __name__ == "__main__":
    main()
