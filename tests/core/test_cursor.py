"""A cursor is served when nothing after it was lost, and otherwise the reader is told why not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.cursor import (
    Epoch,
    Lost,
    Position,
    epoch_at,
    format_cursor,
    locate,
    parse_cursor,
)
from cloudchat_core.testing import cursors

# Three openings of one log: a holds 1 to 9, b 10 to 19, c 20 to the head, 30.
EPOCHS = (Epoch("a", 1), Epoch("b", 10), Epoch("c", 20))
HEAD = 30


@given(st.text("az09", min_size=1, max_size=16), st.integers(0, 2**63 - 1))
def test_a_cursor_is_read_as_it_was_written(epoch: str, offset: int) -> None:
    assert parse_cursor(format_cursor(epoch, offset)) == (epoch, offset)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "-1",
        "a-",
        "a--1",
        "a-01",
        "a-1 ",
        "a-1\n",
        "A-1",
        "a_b-1",
        "a" * 17 + "-1",
        "a-１",
        f"a-{2**63}",
    ],
)
def test_what_is_no_cursor_is_said_to_be_none(text: str) -> None:
    assert parse_cursor(text) is None
    assert locate(text, EPOCHS, 1, HEAD) == Lost("invalid")


@pytest.mark.parametrize(
    ("cursor", "first", "place"),
    [
        ("c-30", 1, Position(30)),
        ("c-31", 1, Lost("future")),
        ("c-19", 1, Position(19)),
        ("c-18", 1, Lost("epoch")),
        ("b-19", 1, Position(19)),
        ("b-20", 1, Lost("epoch")),
        ("b-9", 1, Position(9)),
        ("a-9", 1, Position(9)),
        ("a-0", 1, Position(0)),
        ("a-10", 1, Lost("epoch")),
        ("d-5", 1, Lost("epoch")),
        ("b-14", 15, Position(14)),
        ("b-13", 15, Lost("retention")),
        ("c-30", 31, Position(30)),
    ],
)
def test_a_cursor_is_served_inside_its_epoch_and_as_far_as_the_log_goes_back(
    cursor: str, first: int, place: Position | Lost
) -> None:
    assert locate(cursor, EPOCHS, first, HEAD) == place


@given(cursors(("a", "b", "c"), HEAD), st.integers(1, HEAD + 1))
def test_whatever_a_client_hands_back_gets_a_place_or_a_reason(text: str, first: int) -> None:
    match locate(text, EPOCHS, first, HEAD):
        case Position(offset):
            assert first - 1 <= offset <= HEAD
            assert parse_cursor(text) is not None
        case Lost(reason):
            assert reason in {"retention", "epoch", "future", "invalid"}


def test_a_log_without_epochs_serves_no_cursor() -> None:
    assert locate("a-0", (), 1, 0) == Lost("epoch")


def test_an_offset_carries_the_epoch_that_it_was_appended_in() -> None:
    spelled = [epoch_at(EPOCHS, offset) for offset in (0, 1, 9, 10, 19, 20, 99)]
    assert spelled == ["a", "a", "a", "b", "b", "c", "c"]
