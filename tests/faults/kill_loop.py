"""A server is killed under load, again and again, and its log is read each time.

After each kill every acknowledged command is in the log once, at the cursor that its answer named, and offsets are
dense. At the end a server is left alone until all operations have ended, each once.
"""

import random
import signal
import time
from pathlib import Path

from tests.faults.accounts import Result, ended_once, result
from tests.faults.harness import (
    PATIENCE,
    Publisher,
    Server,
    check,
    records_of,
    serve_command,
    settled,
    tally_of,
)


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
    settled(server)
    assert server.end(signal.SIGTERM) == 0
    records = records_of(path)
    operations = ended_once(records)
    assert operations, "there was nothing under way"
    return result(tally_of(records, crowd), rounds, f"{operations} operations, each ended once")


def attach(crowd: list[Publisher], server: Server | None) -> None:
    for publisher in crowd:
        publisher.attach(server)


def wait_for_acks(crowd: list[Publisher], target: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while sum(len(publisher.acked) for publisher in crowd) < target:
        assert time.monotonic() < deadline, "nothing is acknowledged"
        time.sleep(0.002)  # the publishers' threads work meanwhile
