"""A simulation that finds nothing may be blind: each of these bugs, planted on purpose, is found by a default world."""

from __future__ import annotations

from pathlib import Path

import pytest

from cloudchat_transports.testing.simulation.plan import draw
from cloudchat_transports.testing.simulation.world import live_through
from tests.simulation.conftest import DEFAULT
from tests.simulation.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_caught_by_the_promise_that_it_breaks(mutant: Mutant) -> None:
    outcome = mutant.caught(DEFAULT)
    assert outcome is not None, "no default world notices it"
    assert outcome.broken in mutant.breaks, outcome.detail
    sound = live_through(draw(outcome.plan.seed))
    assert not sound.broken, "the world is fine without it"


def test_the_document_lists_all_planted_bugs_and_what_catches_them() -> None:
    document = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text("utf-8")
    listed = document.partition("| planted | caught by |\n|---|---|\n")[2].strip().split("\n")
    assert listed == [mutant.row for mutant in MUTANTS]
