"""A participant is here while a feed is open, and no longer than the protocol gives after that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudchat_core.presence import AWAY, JOIN_HOLD, POLL_HOLD, Ending, Presence

GRACE = 5_000


def present(feeds: int = 1, grace: int = GRACE) -> Presence:
    presence = Presence(grace, 8)
    for number in range(feeds):
        assert presence.opened("a", f"feed-{number}") is None
    return presence


@pytest.mark.parametrize(
    ("ending", "grace", "wait", "reason"),
    [
        ("left", GRACE, 0, "left"),
        ("away", GRACE, AWAY, "disconnected"),
        ("away", 1_000, 1_000, "disconnected"),
        ("lost", GRACE, GRACE, "disconnected"),
        ("lost", 0, 0, "disconnected"),
    ],
)
def test_who_has_no_feed_any_more_leaves_when_the_time_for_it_has_come(
    ending: Ending, grace: int, wait: int, reason: str
) -> None:
    presence = present(grace=grace)
    presence.closed("a", "feed-0", ending, 100)
    assert presence.next_deadline() == presence.deadline_of("a") == 100 + wait
    assert presence.due(100 + wait - 1) == []
    assert presence.due(100 + wait) == [("a", reason)]
    assert presence.due(10**12) == []
    assert presence.next_deadline() is None


def test_a_feed_that_comes_back_in_time_makes_nobody_leave() -> None:
    presence = present()
    presence.closed("a", "feed-0", "lost", 0)
    assert presence.knows("a")
    assert not presence.is_present("a")
    presence.opened("a", "feed-1")
    assert presence.due(10**12) == []
    assert presence.is_present("a")


def test_who_has_another_feed_stays_whatever_ends() -> None:
    presence = present(2)
    presence.closed("a", "feed-0", "left", 0)
    presence.closed("a", "feed-0", "left", 0)
    presence.closed("b", "feed-0", "left", 0)
    assert presence.next_deadline() is None


def test_a_ninth_feed_ends_the_oldest_one_which_then_counts_no_more() -> None:
    presence = present(8)
    assert presence.opened("a", "ninth") == "feed-0"
    presence.closed("a", "feed-0", "left", 0)
    for name in [*(f"feed-{number}" for number in range(1, 8)), "ninth"]:
        assert presence.next_deadline() is None
        presence.closed("a", name, "left", 0)
    assert presence.due(0) == [("a", "left")]


@pytest.mark.parametrize(("grace", "wait"), [(GRACE, AWAY), (1_000, 1_000)])
def test_who_goes_away_has_no_feed_and_no_window_but_the_time_of_a_reload(
    grace: int, wait: int
) -> None:
    presence = present(2, grace)
    presence.hold("a", 0, JOIN_HOLD)
    assert presence.away("a", 100) == ("feed-0", "feed-1")
    presence.closed("a", "feed-0", "lost", 100)
    assert presence.due(100 + wait - 1) == []
    assert presence.due(100 + wait) == [("a", "disconnected")]


def test_who_comes_back_after_going_away_stays() -> None:
    presence = present()
    presence.away("a", 0)
    presence.opened("a", "reloaded")
    assert presence.due(10**12) == []


def test_who_went_away_is_known_as_such_until_back() -> None:
    presence = present()
    assert not presence.is_away("a")
    presence.away("a", 0)
    assert presence.is_away("a")
    assert presence.back("a")
    assert not presence.is_away("a")
    assert not presence.back("a")


@pytest.mark.parametrize("least", [POLL_HOLD, JOIN_HOLD])
@pytest.mark.parametrize("grace", [0, GRACE, 60_000])
def test_a_window_counts_as_an_open_feed_and_is_followed_by_no_grace(
    least: int, grace: int
) -> None:
    presence = Presence(grace, 8)
    presence.hold("a", 0, least)
    end = max(least, grace)
    assert presence.due(end - 1) == []
    assert presence.due(end) == [("a", "disconnected")]


def test_a_feed_that_ends_for_good_within_a_window_is_not_the_last_one() -> None:
    presence = present()
    presence.hold("a", 0, POLL_HOLD)
    presence.closed("a", "feed-0", "left", 1_000)
    assert presence.next_deadline() == POLL_HOLD
    assert presence.due(POLL_HOLD) == [("a", "disconnected")]


def test_a_window_that_is_over_keeps_nobody() -> None:
    presence = present()
    presence.hold("a", 0, POLL_HOLD)
    presence.closed("a", "feed-0", "left", POLL_HOLD)
    assert presence.due(POLL_HOLD) == [("a", "left")]


def test_a_restart_gives_everybody_one_fresh_grace_and_counts_as_no_feed() -> None:
    presence = present()
    presence.restarted(["a", "b", "c"], 0)
    assert presence.deadline_of("a") is None
    presence.opened("b", "back")
    presence.closed("b", "back", "left", 1)
    assert presence.due(1) == [("b", "left")]
    assert presence.due(GRACE) == [("c", "disconnected")]


def test_who_left_by_command_is_forgotten_with_every_window() -> None:
    presence = present()
    presence.hold("a", 0, JOIN_HOLD)
    presence.forget("a")
    presence.forget("a")
    presence.opened("a", "again")
    presence.closed("a", "again", "left", 1)
    assert presence.due(1) == [("a", "left")]
    assert not presence.knows("a")


class PresenceMachine(RuleBasedStateMachine):
    """One participation's feeds and windows, against a list of moments."""

    def __init__(self) -> None:
        super().__init__()
        self.presence = Presence(GRACE, 3)
        self.now = 0
        self.feeds: list[str] = []
        self.window = 0
        self.until: int | None = None
        self.number = 0

    @rule()
    def open(self) -> None:
        self.number += 1
        self.feeds.append(f"feed-{self.number}")
        ended = self.presence.opened("a", self.feeds[-1])
        assert ended == (self.feeds.pop(0) if len(self.feeds) > 3 else None)
        self.until = None

    @precondition(lambda self: self.feeds)
    @rule(data=st.data(), ending=st.sampled_from(["left", "away", "lost"]))
    def close(self, data: st.DataObject, ending: Ending) -> None:
        feed = data.draw(st.sampled_from(self.feeds))
        self.feeds.remove(feed)
        self.presence.closed("a", feed, ending, self.now)
        if not self.feeds:
            wait = {"left": 0, "away": AWAY, "lost": GRACE}[ending]
            self.until = max(self.now + wait, self.window)

    @rule(least=st.sampled_from([POLL_HOLD, JOIN_HOLD]))
    def hold(self, least: int) -> None:
        self.presence.hold("a", self.now, least)
        self.window = max(self.window, self.now + max(least, GRACE))
        if not self.feeds:
            self.until = max(self.until or 0, self.window)

    @rule(seconds=st.integers(0, 20))
    def wait(self, seconds: int) -> None:
        self.now += seconds * 1_000
        due = self.presence.due(self.now)
        assert bool(due) == (self.until is not None and self.until <= self.now)
        if due:
            self.until, self.window = None, 0

    @invariant()
    def the_deadline_is_the_model_s(self) -> None:
        assert self.presence.next_deadline() == self.presence.deadline_of("a") == self.until
        assert self.presence.is_present("a") == bool(self.feeds)
        assert self.presence.knows("a") == (bool(self.feeds) or self.until is not None)


TestPresenceMachine = PresenceMachine.TestCase


@given(st.lists(st.integers(0, 20_000), min_size=1, max_size=20))
def test_everybody_leaves_at_their_own_time(moments: list[int]) -> None:
    presence = Presence(GRACE, 8)
    for number, moment in enumerate(moments):
        presence.opened(str(number), "feed")
        presence.closed(str(number), "feed", "lost", moment)
    left: dict[str, int] = {}
    while (deadline := presence.next_deadline()) is not None:
        left |= {scope: deadline for scope, _ in presence.due(deadline)}
    assert left == {str(number): moment + GRACE for number, moment in enumerate(moments)}
