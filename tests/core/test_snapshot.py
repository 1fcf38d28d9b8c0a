"""A snapshot is a pure function of the state, in frames that keep to the limit; an archive is the whole state."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.commands import Caller, Create, Join, Report, Say
from cloudchat_core.errors import LocalProtocolError
from cloudchat_core.events import TOPICS
from cloudchat_core.limits import Limits
from cloudchat_core.nicknames import Participation, Registry
from cloudchat_core.snapshot import archive, restore, snapshot_frames
from cloudchat_core.testing import Driver
from cloudchat_core.workspace import Workspace

SECRETS = ("a" * 64, "b" * 64)


def busy() -> Driver:
    driver = Driver()
    for scope, name in zip(SECRETS, ("Anna", "Bert"), strict=True):
        driver.execute(Join("1", name), Caller(scope))
        driver.execute(Say("2", f"I am {name}"), Caller(scope))
        driver.execute(Create("3", name.lower(), {"password": "hunter2"}), Caller(scope))
    driver.execute(Report(*driver.state.operations.oldest()))
    return driver


def lists(driver: Driver, topics: tuple[str, ...]) -> dict[str, list[dict[str, Any]]]:
    (frame,) = snapshot_frames(driver.state, topics, 65_536)
    value = json.loads(frame)
    assert value.pop("type") == "snapshot"
    assert value.pop("cursor") == driver.state.cursor
    return dict(value)


def test_a_snapshot_has_the_lists_of_its_topics_only_empty_ones_too() -> None:
    chat, fleet = ["participants", "messages"], ["instances", "operations", "worklog"]
    assert list(lists(busy(), TOPICS)) == [*chat, *fleet]
    assert list(lists(busy(), ("chat",))) == chat
    assert list(lists(busy(), ("instances",))) == fleet
    assert lists(Driver(), TOPICS) == {name: [] for name in [*chat, *fleet]}
    assert lists(busy(), ()) == {}


def test_a_snapshot_lists_what_is_there_and_what_is_under_way() -> None:
    driver = busy()
    shown = lists(driver, TOPICS)
    assert [view["name"] for view in shown["instances"]] == ["anna"]
    (operation,) = shown["operations"]
    assert (operation["command"], operation["by"], operation["done"]) == ("create", "Bert", False)


def test_nothing_private_is_in_a_snapshot_or_an_event() -> None:
    driver = busy()
    public = b"".join(snapshot_frames(driver.state, TOPICS, 65_536))
    public += b"".join(stored.body for stored in driver.log)
    for secret in (*SECRETS, "hunter2"):
        assert secret.encode() not in public
        assert secret.encode() in archive(driver.state)


@given(st.integers(0, 400), st.integers(1_300, 3_000))
def test_one_huge_list_is_cut_into_frames_that_keep_to_the_limit(count: int, limit: int) -> None:
    participants = Registry()
    for number in range(count):
        participants = participants.claim(
            str(number),
            Participation(f"name-{number}", f"name-{number}", "2026-11-23T10:00:00.000Z", number),
        )
    frames = snapshot_frames(Workspace(participants=participants), ("chat",), limit)
    assert all(len(frame) <= limit for frame in frames)
    parts = [json.loads(frame) for frame in frames]
    names = [one["nickname"] for part in parts for one in part.get("participants", [])]
    assert names == [f"name-{number}" for number in range(count)]
    assert [part.get("more", False) for part in parts] == [True] * (len(parts) - 1) + [False]


def test_the_longest_messages_fit_the_smallest_frames_that_limits_allow() -> None:
    limits = Limits().with_values({"frame": 20_480})
    driver = Driver(limits)
    for number in range(5):
        driver.execute(Say("", "😀" * (limits.text - number), "Bot"), Caller(SECRETS[0]))
    driver.check_snapshot(limits.frame)
    assert len(snapshot_frames(driver.state, TOPICS, limits.frame)) == 5


def test_an_archive_is_the_whole_state() -> None:
    driver = busy()
    assert restore(archive(driver.state)) == driver.state


def test_an_archive_that_is_damaged_or_of_another_time_is_not_used() -> None:
    data = archive(busy().state)
    for broken in (b"", data[:-10], b"\xff" + data, b"[2" + data[2:], b"{}"):
        with pytest.raises(LocalProtocolError):
            restore(broken)
