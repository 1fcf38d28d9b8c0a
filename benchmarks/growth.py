"""How things grow: with clients, events, instances, offered load, publishers."""

import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Final

import anyio
from websockets.sync.client import connect

from benchmarks import logs
from benchmarks.load import Figures
from benchmarks.results import Record
from benchmarks.sections import Plan, Section, measure, say
from benchmarks.servers import (
    BUN,
    FLOOR,
    MEMORY,
    NCHAN,
    SQLITE,
    WS,
    Server,
    cloudchat,
    running,
    serve,
)
from benchmarks.tools import memory_of

STARTS: Final = 5
READS: Final = 20
LATE: Final = 500.0
"""Milliseconds: a server that is so far behind when a phase ends is overloaded."""


def clients(plan: Plan) -> Iterator[Record]:
    """From few clients to very many: what a delivery and a connection cost."""
    for number in range(plan.curve_rounds):
        for count in plan.curve_clients:
            say(f"growth: {count:,} clients, round {number + 1} of {plan.curve_rounds}")
            for server in (FLOOR, MEMORY, NCHAN, BUN, WS):
                if server.there:
                    yield from measure(
                        server,
                        "idle:0.5",
                        f"closed:1:{plan.seconds}",
                        f"closed:64:{plan.seconds}",
                        number=number,
                        clients=count,
                    )


def _serving(path: Path) -> Server:
    return cloudchat("cloudchat-sqlite", "", serve(f"sqlite:{path}"))


def _timed_start(path: Path) -> tuple[float, float]:
    """Return the seconds until a server can be reached, and the bytes it then holds."""
    begun = time.perf_counter()
    with running(_serving(path)) as it:
        return time.perf_counter() - begun, memory_of(it.pid)


def _timed_read(url: str) -> float:
    """Return the milliseconds that one answer takes."""
    begun = time.perf_counter()
    with urllib.request.urlopen(url, timeout=30) as answer:
        answer.read()
    return (time.perf_counter() - begun) * 1e3


def events(plan: Plan) -> Iterator[Record]:
    """From a new log to a very long one: starting over it, what is held in memory, reading a page of it."""
    for count in plan.curve_events:
        say(f"growth: {count:,} events")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.sqlite")
            anyio.run(logs.fill, path, count, backend="trio")
            snapshot, head = anyio.run(logs.keep_snapshot, path)
            starts, held = [], []
            for _ in range(STARTS):
                # A server begins with a new snapshot; the next one is to find the old one.
                anyio.run(logs.keep_snapshot, path, snapshot)
                spent, memory = _timed_start(path)
                starts.append(spent)
                held.append(memory)
            with running(_serving(path)) as it:
                pages = f"http://127.0.0.1:{it.port}/v1/messages?limit=50"
                middle = f"{pages}&before={logs.EPOCH}-{count // 2}"
                newest_ms = median(_timed_read(pages) for _ in range(READS))
                middle_ms = median(_timed_read(middle) for _ in range(READS))
            yield {
                "server": "cloudchat-sqlite",
                "round": 0,
                "phase": "events",
                "asked": count,
                "start_s": median(starts),
                "memory": median(held),
                "file": path.stat().st_size,
                "tail": head - (snapshot.offset if snapshot else 0),
                "newest_ms": newest_ms,
                "middle_ms": middle_ms,
            }


def _timed_snapshot(port: int) -> tuple[float, int]:
    """Return the milliseconds from before the connection until the whole snapshot is there, and its bytes."""
    begun, size = time.perf_counter(), 0
    with connect(f"ws://127.0.0.1:{port}/v1/ws", compression=None, max_size=None) as websocket:
        while True:
            text = websocket.recv(timeout=30)
            frame = json.loads(text)
            if frame["type"] == "snapshot":
                size += len(text)
                if not frame.get("more"):
                    return (time.perf_counter() - begun) * 1e3, size


def instances(plan: Plan) -> Iterator[Record]:
    """From few instances to as many as there may be: starting, memory, and the snapshot that each new client gets."""
    for count in plan.curve_instances:
        say(f"growth: {count:,} instances")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.sqlite")
            anyio.run(logs.create, path, count, backend="trio")
            starts, held = zip(*(_timed_start(path) for _ in range(STARTS)), strict=True)
            with running(_serving(path)) as it:
                took, sizes = zip(*(_timed_snapshot(it.port) for _ in range(READS)), strict=True)
            yield {
                "server": "cloudchat-sqlite",
                "round": 0,
                "phase": "instances",
                "asked": count,
                "start_s": median(starts),
                "memory": median(held),
                "snapshot_ms": median(took),
                "snapshot": median(sizes),
            }


def offered(plan: Plan) -> Iterator[Record]:
    """More and more messages a second, until a server does not keep up: how long each takes to arrive."""

    def keeps_up(figures: Figures) -> bool:
        late: float = figures.get("late_ms", 0)
        unsent: float = figures.get("unsent", 0)
        return late < LATE and unsent < 0.1 * figures.get("rate", 1)

    for number in range(plan.curve_rounds):
        for server in (MEMORY, SQLITE, NCHAN, BUN, WS):
            if server.there:
                say(f"growth: offered load, {server.name}, round {number + 1}")
                phases = [f"open:{rate}:{plan.seconds}" for rate in plan.curve_rates]
                yield from measure(
                    server, *phases, number=number, clients=plan.clients, watch=keeps_up
                )


def publishers(plan: Plan) -> Iterator[Record]:
    """More and more publishers: commands a second."""
    for number in range(plan.curve_rounds):
        for count in plan.curve_publishers:
            say(f"growth: {count} publishers, round {number + 1}")
            for server in (MEMORY, SQLITE):
                done = measure(
                    server,
                    f"pipelined:1:{plan.seconds}",
                    f"pipelined:10:{plan.seconds}",
                    number=number,
                    clients=1,
                    publishers=count,
                )
                yield from ({**one, "asked": count} for one in done)


CURVES: Final[dict[str, Section]] = {
    "clients": clients,
    "events": events,
    "instances": instances,
    "offered": offered,
    "publishers": publishers,
}
