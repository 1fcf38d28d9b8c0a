"""Strategies and state machines to test the core with, and whatever is built on it.

Needs the extra `cloudchat[testing]`. Each machine is a Hypothesis `RuleBasedStateMachine`: take its `TestCase`, or
make a subclass with limits (or more rules) of your own.

    from cloudchat_core import Limits
    from cloudchat_core.testing import WorkspaceMachine

    class SmallWorkspace(WorkspaceMachine):
        limits = Limits(text=40, participants=2)

    TestSmallWorkspace = SmallWorkspace.TestCase

`Driver` is what the machines drive: one workspace, its log and a clock, with checks of what holds for every step. It
serves for tests by example, too.
"""

from cloudchat_core.testing.driver import Driver
from cloudchat_core.testing.feed import FeedMachine
from cloudchat_core.testing.instances import InstanceMachine
from cloudchat_core.testing.nicknames import (
    NicknameMachine,
    bad_nicknames,
    nicknames,
    spellings,
)
from cloudchat_core.testing.strategies import (
    bad_texts,
    callers,
    command_ids,
    commands,
    cursors,
    hostile_frames,
    json_values,
    records,
    specs,
    texts,
    tokens,
)
from cloudchat_core.testing.workspace import WorkspaceMachine

__all__ = [
    "Driver",
    "FeedMachine",
    "InstanceMachine",
    "NicknameMachine",
    "WorkspaceMachine",
    "bad_nicknames",
    "bad_texts",
    "callers",
    "command_ids",
    "commands",
    "cursors",
    "hostile_frames",
    "json_values",
    "nicknames",
    "records",
    "specs",
    "spellings",
    "texts",
    "tokens",
]
