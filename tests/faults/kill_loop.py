"""Kill a server under load, again and again: `python -m tests.faults.kill_loop --rounds 50`.

After each kill the log is read: every acknowledged command is in it once, at the cursor that its answer named, and
offsets are dense. At the end a server is left alone until all operations have ended, each once.
"""

import argparse
import random
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from cloudchat_core.events import InstanceEvent, Received, Record
from tests.faults.harness import PATIENCE, Publisher, Server, check, records_of, serve_command


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    rounds: int
    acknowledged: int
    records: int
    operations: int


def kill_loop(path: Path, rounds: int, *, publishers: int = 4, seed: int = 1) -> Result:
    """Kill a server over the log at `path` `rounds` times while `publishers` publish.

    AssertionError: something was lost, or happened twice.
    """
    source = random.Random(seed)
    crowd = [Publisher(f"publisher{n}") for n in range(publishers)]
    # Snapshots are made so often that many a kill comes in the middle of one.
    quick = ("--provider", "simulated:?duration=0.5", "--limit", "snapshot_every=50")
    command = serve_command(path, *quick)
    for publisher in crowd:
        publisher.start()
    for _ in range(rounds):
        server = Server(command)
        target = sum(len(publisher.acked) for publisher in crowd) + source.randrange(10, 400)
        attach(crowd, server)
        wait_for_acks(crowd, target)
        server.end(signal.SIGKILL)
        attach(crowd, None)
        check(records_of(path), crowd)
    server = Server(command)
    attach(crowd, server)
    for publisher in crowd:
        publisher.stop()
    deadline = time.monotonic() + PATIENCE
    while not all(operation["done"] for operation in server.get("/v1/operations")):
        assert time.monotonic() < deadline, "an operation does not end"
    assert server.end(signal.SIGTERM) == 0
    records = records_of(path)
    return Result(rounds, check(records, crowd), len(records), ended_once(records))


def attach(crowd: list[Publisher], server: Server | None) -> None:
    for publisher in crowd:
        publisher.attach(server)


def wait_for_acks(crowd: list[Publisher], target: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while sum(len(publisher.acked) for publisher in crowd) < target:
        assert time.monotonic() < deadline, "nothing is acknowledged"
        time.sleep(0.002)  # the publishers' threads work meanwhile


def ended_once(records: list[Record]) -> int:
    """See that every operation that was received has one end; return how many there were."""
    begun = [r.event.operation.id for r in records if isinstance(r.event, Received)]
    ends = Counter(
        record.event.operation.id
        for record in records
        if isinstance(record.event, InstanceEvent) and not isinstance(record.event, Received)
    )
    assert ends == Counter(begun), "an operation ended never, or twice"
    return len(begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        result = kill_loop(Path(directory) / "log.db", options.rounds, seed=options.seed)
    print(f"{result}, in {time.monotonic() - started:.0f} s")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
