"""The kit, in the hands of somebody who tests code of their own, or looks for the reason of a failure."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import trio

from cloudchat_engine.ports import LogUnavailableError
from cloudchat_transports.client import Client
from cloudchat_transports.testing.simulation import (
    Act,
    Fault,
    Outcome,
    Parts,
    Person,
    Plan,
    draw,
    live_through,
    smallest,
)
from cloudchat_transports.testing.simulation.__main__ import investigate, main
from tests.simulation.mutants import MUTANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from cloudchat_core.codec import StoredRecord
    from cloudchat_engine.ports import Erasure, Log

TALK = (Act(100, "say"), Act(100, "create"), Act(100, "burst", 3))
QUIET = Plan(
    1, (Person("ws", "Ann", TALK), Person("sse", "Bob", TALK), Person("poll", "Cid", TALK)), ()
)


class HopefulLog:
    """Takes a full disk for none of its business."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        with suppress(LogUnavailableError):
            await self._log.append(records, expected, erased)


def test_where_nothing_goes_wrong_everybody_gets_everything_on_every_transport() -> None:
    outcome = live_through(QUIET)
    assert not outcome.broken, outcome.detail
    # A burst of three is five sentences.
    assert (outcome.coverage["say: ack"], outcome.coverage["create: ack"]) == (18, 3)


def test_a_log_of_ones_own_that_loses_something_is_found_out() -> None:
    plan = Plan(1, QUIET.people, (Fault("append", 4, "log fails", span=200),))
    assert not live_through(plan).broken
    assert live_through(plan, Parts(log=HopefulLog)).broken == "durable"


class RestlessClient(Client):
    """Asks again at once, for ever."""

    async def __aenter__(self) -> Self:
        while True:
            await trio.lowlevel.checkpoint()


def test_a_world_in_which_time_stands_still_is_ended() -> None:
    assert live_through(QUIET, Parts(client=RestlessClient)).broken == "endless"


def test_a_plan_that_breaks_a_promise_is_cut_down_to_the_reason() -> None:
    (mutant,) = (each for each in MUTANTS if "skipped" in each.name)
    with mutant.planted():
        whole = next(outcome for seed in range(50) if (outcome := live_through(draw(seed))).broken)
        least = smallest(whole)
    assert least.broken == whole.broken
    assert size(least) < size(whole)


def size(outcome: Outcome) -> int:
    return len(json.dumps(outcome.trace))


def test_a_failure_says_how_to_replay_it(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (mutant,) = (each for each in MUTANTS if "skipped" in each.name)
    with mutant.planted():
        seed = next(seed for seed in range(50) if live_through(draw(seed)).broken)
        told = investigate(seed)
        plan = told.partition("echo '")[2].partition("'")[0]
        path = tmp_path / "plan.json"
        path.write_text(plan)
        assert main(["--plan", str(path)]) == 1
        assert "broken: " in capsys.readouterr().out
        assert main(["--seed", str(seed)]) == 1
    assert main(["--seed", str(seed)]) == 0
    assert f"--seed {seed}" in told
    assert "all promises were kept" in capsys.readouterr().out


def test_a_few_worlds_from_the_command_line_end_with_a_table(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--seeds", "4", "--from", "10", "--workers", "1"]) == 0
    assert "4 worlds" in capsys.readouterr().out
