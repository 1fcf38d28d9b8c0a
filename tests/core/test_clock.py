"""Time is a number of milliseconds; who wants it asks a clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.clock import ManualClock, SystemClock, parse_rfc3339, rfc3339

YEAR_9999 = 253_402_300_799_999


def test_a_moment_is_written_as_the_wire_wants_it() -> None:
    assert rfc3339(1_795_428_000_007) == "2026-11-23T10:00:00.007Z"


@given(st.integers(0, YEAR_9999))
def test_a_moment_is_read_as_it_was_written(moment: int) -> None:
    assert parse_rfc3339(rfc3339(moment)) == moment


@given(st.integers(0, YEAR_9999), st.integers(0, YEAR_9999))
def test_moments_sort_as_their_texts_do(one: int, other: int) -> None:
    assert (one < other) == (rfc3339(one) < rfc3339(other))


@pytest.mark.parametrize("text", ["", "now", "2026-11-23", "2026-11-23T10:00:00"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_rfc3339(text)


def test_a_manual_clock_stands_still_until_it_is_advanced_and_wakes_who_waits() -> None:
    clock, woken = ManualClock(5), []
    forget = clock.watch(lambda: woken.append(clock.now()))
    assert clock.now() == clock.now() == 5
    clock.advance(1.5)
    clock.advance(0)
    forget()
    clock.advance(1)
    assert (clock.now(), woken) == (2_505, [1_505, 1_505])
    with pytest.raises(ValueError, match="back"):
        clock.advance(-1)


def test_the_system_clock_does_not_go_back() -> None:
    clock = SystemClock()
    moments = [clock.now() for _ in range(100)]
    assert moments == sorted(moments)
    assert parse_rfc3339("2020-01-01T00:00:00Z") < moments[0] < YEAR_9999
