"""What a workspace promises holds whatever it is told, in whatever order."""

import os
import subprocess
import sys

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchat_core.codec import StoredRecord, load, store
from cloudchat_core.commands import Caller, Create, Join, Report, Say
from cloudchat_core.events import TOPICS, Memory, Message, Private, Record, Redacted
from cloudchat_core.limits import Limits
from cloudchat_core.snapshot import archive, snapshot_frames
from cloudchat_core.testing import Driver, WorkspaceMachine, nicknames, records
from cloudchat_core.workspace import Workspace, evolve

TestWorkspaceMachine = WorkspaceMachine.TestCase
# The longest way to a state: it is worth more examples than a function is.
TestWorkspaceMachine.settings = settings(max_examples=max(300, settings().max_examples))

REPLAY = """
import sys, msgspec
from cloudchat_core import *
state = Workspace()
for stored in msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[StoredRecord]):
    state = evolve(state, load(stored))
sys.stdout.buffer.write(archive(state) + b"".join(snapshot_frames(state, TOPICS, 4096)))
"""


def test_another_process_with_another_hash_seed_replays_to_the_same_bytes() -> None:
    driver = Driver(Limits(tokens=20, command_ids=3))
    for number in range(60):
        caller = Caller(f"{number % 40:064x}")
        driver.execute(Join(f"{number}", f"name {number}"), caller)
        driver.execute(Say(f"{number}s", "hi", f"bot {number}"), caller)
        driver.execute(Create(f"{number}c", spec={"a": number, "b": {"c": 1}}), caller)
        driver.advance(60)
    for operation in list(driver.state.operations)[::2]:
        driver.execute(Report(operation))
    expected = archive(driver.state) + b"".join(snapshot_frames(driver.state, TOPICS, 4096))
    log = msgspec.msgpack.encode(driver.log)
    for seed in ("1", "2"):
        replayed = subprocess.run(
            [sys.executable, "-c", REPLAY],
            input=log,
            capture_output=True,
            check=True,
            timeout=300,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        assert replayed.stdout == expected


@given(st.lists(records(), max_size=5))
def test_no_record_whatever_is_in_it_stops_a_replay(history: list[Record]) -> None:
    state = Workspace()
    for number, record in enumerate(history, 1):
        placed = msgspec.structs.replace(record, offset=number)
        state = evolve(state, load(store(placed)))
        assert state.offset == number
    assert snapshot_frames(state, TOPICS, 65_536)


def test_a_record_that_names_what_is_gone_changes_nothing_of_it() -> None:
    driver = Driver()
    driver.execute(Create("1"))
    (operation,) = driver.state.operations.oldest()
    (done,) = driver.execute(Report(operation)).records
    again = msgspec.structs.replace(done, offset=driver.state.offset + 1)
    assert evolve(driver.state, again).instances == driver.state.instances
    assert evolve(driver.state, again).finished == driver.state.finished
    redacted = Redacted("e1-9", "…", "nonsense", "Anna")
    assert evolve(driver.state, Record(9, 0, redacted)).messages == driver.state.messages
    forgotten = Private(Memory("a", "1", "", forget_scopes=("gone",)))
    after = evolve(driver.state, Record(9, 0, Message("e1-9", "…", "Anna", "hi", "1"), forgotten))
    assert "a" in after.memories.scopes


def test_a_workspace_that_was_never_opened_has_a_cursor_that_no_log_serves() -> None:
    state = Workspace()
    assert (state.epoch, state.cursor) == ("", "0-0")


def test_a_token_is_known_from_its_first_accepted_command_on() -> None:
    driver, scope = Driver(), "a" * 64
    driver.execute(Join("1", ""), Caller(scope))
    assert not driver.state.knows_token(scope)
    driver.execute(Say("1", "hi", "Bot"), Caller(scope))
    assert driver.state.knows_token(scope)


def test_the_oldest_openings_are_forgotten() -> None:
    driver = Driver()
    for _ in range(1_000):
        driver.reopen()
    assert len(driver.state.epochs) == 1_000
    assert driver.state.epochs[0].first == 2


@given(nicknames())
def test_every_good_nickname_can_be_joined_with_and_replayed(nickname: str) -> None:
    driver = Driver()
    driver.execute(Join("1", nickname), Caller("a" * 64))
    assert len(driver.state.participants) == 1
    driver.check_replay(0)
    driver.check_mirror(0)


def test_the_log_is_bytes_that_name_their_kind_and_topic() -> None:
    driver = Driver()
    driver.execute(Join("1", "Anna"), Caller("a" * 64))
    assert [(one.offset, one.kind, one.topic) for one in driver.log] == [
        (1, "opened", ""),
        (2, "joined", "chat"),
    ]
    assert all(isinstance(one, StoredRecord) for one in driver.log)
