"""How long a server takes to start over a long log.

    python benchmarks/start_up.py [--events 1000000] [--path FILE]

A node fills the log with messages of 500 participants (kept under `--path` for another run, else thrown away) and is
then ended as if it had crashed, without its newest snapshot, so that a start has more to replay than it ever should.
Printed are the time until a node serves, and until `cloudchat serve` says where it does; medians of five.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import anyio
import anyio.lowlevel

from cloudchat_core.clock import SystemClock
from cloudchat_core.commands import Caller, Join, Say
from cloudchat_engine import Node, Saved, SimulatedProvider, SystemTimer
from cloudchat_engine.logs import SqliteLog

TOKENS = 500
TEXT = (
    "Somebody says something of about this length, as people do, and goes on for a little while. "
)
SERVE = [sys.executable, "-c", "from cloudchat_cli import main; main()", "serve", "--port", "0"]


class Crashing(SqliteLog):
    """A log that may be told to keep no further snapshot."""

    crashing = False

    async def save(self, snapshot: Saved) -> None:
        """Keep a snapshot, unless the process is about to be taken for crashed."""
        if not self.crashing:
            await super().save(snapshot)


def make_node(log: SqliteLog) -> Node:
    """Return a node over `log`, as `cloudchat serve` makes it."""
    clock = SystemClock()
    timer = SystemTimer(clock)
    return Node(
        log,
        SimulatedProvider(timer),
        clock=clock,
        timer=timer,
        new_id=lambda: str(uuid.uuid4()),
        new_epoch=lambda: "bench",
    )


async def fill(path: Path, events: int) -> None:
    """Fill the log up to about `events` records; the newest snapshot is as old as it gets."""
    log = Crashing(path)
    node = make_node(log)
    callers = [Caller(f"{n:064}") for n in range(TOKENS)]
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        for n, caller in enumerate(callers):
            node.open_feed(str(n), lambda _: None, [caller.scope])
            await node.execute(Join(f"j{node.state.offset}", f"guest {n}"), caller)
        answered = 0

        def hear(_: object) -> None:
            nonlocal answered
            answered += 1

        for sent in range(events - node.state.offset):
            log.crashing = sent > events - node.limits.snapshot_every
            node.submit(Say(f"s{sent}", TEXT), callers[sent % TOKENS], hear)
            while sent - answered > 2_000:
                await anyio.lowlevel.checkpoint()
        await node.execute(Say("last", TEXT), callers[0])
        tasks.cancel_scope.cancel()


async def keep_snapshot(path: Path, snapshot: Saved | None = None) -> tuple[Saved, int]:
    """Return the log's snapshot and head; where `snapshot` is given, put that one in its place."""
    log = SqliteLog(path)
    opened = await log.open()
    if snapshot is not None:
        await log.save(snapshot)
    await log.aclose()
    assert opened.snapshot
    return opened.snapshot, opened.head


async def node_starts(path: Path) -> float:
    """Return the seconds until a node serves."""
    log = Crashing(path)
    log.crashing = True
    begun = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        await tasks.start(make_node(log).run)
        spent = time.perf_counter() - begun
        tasks.cancel_scope.cancel()
    return spent


def server_starts(path: Path) -> float:
    """Return the seconds until `cloudchat serve` says where it serves."""
    begun = time.perf_counter()
    with subprocess.Popen([*SERVE, "--log", f"sqlite:{path}"], stdout=subprocess.PIPE) as server:
        assert server.stdout
        assert b"http://" in server.stdout.readline()
        spent = time.perf_counter() - begun
        server.kill()
    return spent


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--path", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = options.path or Path(directory) / "log.db"
        if not path.exists():
            anyio.run(fill, path, options.events, backend="trio")
        size = path.stat().st_size
        snapshot, head = anyio.run(keep_snapshot, path)
        nodes, servers = [], []
        for _ in range(5):
            nodes.append(anyio.run(node_starts, path, backend="trio"))
            servers.append(server_starts(path))
            # The server has begun with a new snapshot; the next start is to find the old one.
            anyio.run(keep_snapshot, path, snapshot)
    print(f"{head:,} events, {size / 1e6:,.0f} MB, {head - snapshot.offset:,} since the snapshot")
    print(f"a node serves after             {statistics.median(nodes):.2f} s")
    print(f"`cloudchat serve` serves after  {statistics.median(servers):.2f} s")


if __name__ == "__main__":
    main()
