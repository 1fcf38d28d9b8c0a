"""What a client has folded from its feed is what a fresh snapshot shows; its cursor moves as the protocol says."""

import msgspec
import pytest
from msgspec import UNSET

from cloudchat_core.client_session import Frame, Snapshot, decode_frame
from cloudchat_core.codec import encode
from cloudchat_core.commands import Caller, Create, Join, Leave, Redact, Remove, Report, Say, Start
from cloudchat_core.events import Message
from cloudchat_core.frames import (
    Ack,
    Closing,
    Gap,
    Heartbeat,
    ParticipantView,
    Refusal,
    Welcome,
    WireLimits,
)
from cloudchat_core.mirror import Mirror
from cloudchat_core.testing import Driver

ANNA = Caller("a" * 64)
HERE = ParticipantView("Anna", "2026-11-23T10:00:00.000Z")
WELCOME = Welcome("cloudchat.v1", "feed", "e1-9", "…", 15, WireLimits(1, 1, 1, 1))
MESSAGE = Message("e1-9", "2026-11-23T10:00:00.000Z", "Anna", "hi", "c1")


def mirror(*frames: Frame) -> Mirror:
    made = Mirror()
    for frame in frames:
        made.apply(frame)
    return made


@pytest.mark.parametrize(
    "frame",
    [
        WELCOME,
        Gap("e1-9", "retention"),
        Ack("c1", "e1-9"),
        Refusal("c1", "internal", ""),
        Closing(1),
        Snapshot("e1-9", more=True),
        None,
    ],
)
def test_what_says_nothing_of_the_workspace_moves_no_cursor(frame: Frame | None) -> None:
    made = mirror(Snapshot("e1-3"))
    before = encode(made.snapshot())
    assert made.apply(frame) == frozenset()
    assert encode(made.snapshot()) == before


def test_events_heartbeats_whole_snapshots_and_the_answer_of_a_poll_move_the_cursor() -> None:
    made = mirror(Snapshot("e1-3"))
    assert made.cursor == "e1-3"
    assert made.apply(MESSAGE) == {"messages"}
    assert made.cursor == "e1-9"
    assert made.apply(Heartbeat("e1-12", "…")) == frozenset()
    assert made.cursor == "e1-12"
    made.advance("e1-15")
    assert made.cursor == "e1-15"


def test_a_snapshot_takes_effect_when_its_last_part_is_in() -> None:
    made = mirror(MESSAGE)
    assert made.apply(Snapshot("e2-5", participants=(HERE,), more=True)) == frozenset()
    assert (made.cursor, list(made.participants), list(made.messages)) == ("e1-9", [], ["e1-9"])
    other = ParticipantView("Bert", HERE.since)
    assert "participants" in made.apply(Snapshot("e2-5", participants=(other,)))
    assert (made.cursor, list(made.participants), list(made.messages)) == (
        "e2-5",
        ["Anna", "Bert"],
        [],
    )


@pytest.mark.parametrize("between", [WELCOME, Snapshot("e1-8", more=True)])
def test_the_parts_of_a_snapshot_that_was_cut_short_are_dropped(between: Frame) -> None:
    made = mirror(Snapshot("e1-7", participants=(HERE,), more=True), between, Snapshot("e1-8"))
    assert (made.cursor, list(made.participants)) == ("e1-8", [])


def test_an_event_that_comes_on_two_feeds_is_folded_once() -> None:
    made = mirror(Snapshot("e1-3"), MESSAGE)
    assert made.apply(MESSAGE) == frozenset()
    assert made.apply(msgspec.structs.replace(MESSAGE, cursor="e1-4")) == frozenset()
    assert made.apply(msgspec.structs.replace(MESSAGE, cursor="e2-4")) == {"messages"}
    assert list(made.messages) == ["e1-9", "e2-4"]


def test_the_fold_says_what_changed_and_equals_a_fresh_snapshot_at_every_event() -> None:
    driver = Driver()
    driver.execute(Join("1", "Anna"), ANNA)
    driver.execute(Say("2", "hi"), ANNA)
    driver.execute(Redact("3", "e1-3"), ANNA)
    driver.execute(Create("4", "web"), ANNA)
    driver.execute(Leave("5"), ANNA)
    driver.execute(Join("6", "Bert"), ANNA)
    finish(driver)
    (instance,) = driver.state.instances
    for command in (Start("7", instance), Remove("8", instance)):
        driver.execute(command, ANNA)
        finish(driver)
    driver.execute(Create("9"), ANNA)
    finish(driver, "no_space")

    made, changes = Mirror(), list[tuple[str, frozenset[str]]]()
    for offset, stored in enumerate(driver.log, 1):
        if stored.topic:
            changes.append((stored.kind, made.apply(decode_frame(stored.body))))
            assert known(made) == known(driver.mirror(offset, until=offset))
    people, fleet = frozenset({"participants"}), frozenset({"worklog", "operations", "instances"})
    wish, said = frozenset({"worklog", "operations"}), frozenset({"messages"})
    assert changes == [
        ("joined", people),
        ("message", said),
        ("redacted", said),
        ("received", wish),
        ("left", people),
        ("joined", people),
        ("created", fleet),
        ("received", fleet),
        ("started", fleet),
        ("received", fleet),
        ("removed", fleet),
        ("received", wish),
        ("failed", wish),
    ]
    driver.check_mirror(0)


def finish(driver: Driver, reason: str = "") -> None:
    driver.execute(Report(driver.state.operations.oldest()[0], reason))


def known(made: Mirror) -> bytes:
    # The log has the message without its text from the beginning: it was taken back later on.
    return encode(msgspec.structs.replace(made.snapshot(), messages=()))


def test_a_redaction_of_what_is_not_known_changes_nothing_but_the_cursor() -> None:
    driver = Driver()
    driver.execute(Join("1", "Anna"), ANNA)
    cursor = driver.execute(Say("2", "hi"), ANNA).records[0].event.cursor
    for number in range(50):
        driver.execute(Say("", str(number)), ANNA)
    start = len(driver.log)
    driver.execute(Redact("3", cursor), ANNA)
    made = driver.mirror(start)
    assert made.cursor == driver.state.cursor
    assert len(made.messages) == 50
    assert all(message.redacted is UNSET for message in made.messages.values())
