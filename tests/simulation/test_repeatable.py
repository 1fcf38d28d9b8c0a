"""The same seed is the same world: in this process, after other worlds, and in another process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import trio

from cloudchat_transports.testing.simulation.plan import draw
from cloudchat_transports.testing.simulation.world import live_through

SEEDS = range(40, 48)


class Steps(trio.abc.Instrument):
    """Every turn of every task, and when it was."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.count += 1
        self.hash.update(f"{trio.current_time()} {task.name}\n".encode())


def digest(seed: int) -> str:
    steps = Steps()
    outcome = live_through(draw(seed), instruments=[steps])
    assert steps.count > 100
    assert len(outcome.trace) > 10
    return f"{outcome.digest} {steps.count} {steps.hash.hexdigest()}"


def test_the_same_seed_takes_the_same_steps_again_whatever_was_lived_through_before() -> None:
    first = [digest(seed) for seed in SEEDS]
    assert [digest(seed) for seed in reversed(SEEDS)] == first[::-1]


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_another_process_with_another_order_of_sets_takes_the_same_steps(hash_seed: str) -> None:
    program = (
        "from tests.simulation.test_repeatable import SEEDS, digest\n"
        "for seed in SEEDS: print(digest(seed))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert ran.stdout.split("\n")[:-1] == [digest(seed) for seed in SEEDS]


def test_another_seed_is_another_world() -> None:
    assert len({live_through(draw(seed)).digest for seed in SEEDS}) == len(SEEDS)
