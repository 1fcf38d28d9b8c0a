"""An instance lives by one table, whatever is asked and reported in whatever order."""

from cloudchat_core.instances import ABSENT, TRANSITIONS, mermaid
from cloudchat_core.testing import InstanceMachine

TestInstanceMachine = InstanceMachine.TestCase


def test_the_diagram_has_an_arrow_for_every_move() -> None:
    head, *arrows = mermaid().splitlines()
    assert head == "stateDiagram-v2"
    assert len(arrows) == len(TRANSITIONS)
    assert "    [*] --> stopped: create / created" in arrows
    assert "    running --> [*]: remove / removed" in arrows


def test_who_is_removed_can_only_be_created_anew() -> None:
    assert {command for state, command in TRANSITIONS if state == ABSENT} == {"create"}
