"""Every bound stands in one place and says what it is for."""

import math
from dataclasses import fields

import pytest

from cloudchat_core.limits import Limits


@pytest.mark.parametrize("limit", fields(Limits), ids=lambda limit: limit.name)
def test_a_limit_says_its_unit_and_why(limit: object) -> None:
    metadata = getattr(limit, "metadata", {})
    assert metadata["unit"]
    assert "peers" in metadata


def test_values_replace_defaults_and_stay_whole_where_they_count_things() -> None:
    limits = Limits().with_values({"participants": 5.0, "stalled": 0.5, "commands_per_second": 0})
    assert (limits.participants, limits.stalled, limits.commands_per_second) == (5, 0.5, 0)
    assert isinstance(limits.participants, int)
    assert limits.text == Limits().text


def test_what_is_per_address_may_be_none() -> None:
    named = ("connections_per_address", "rates_per_address")
    assert {getattr(Limits(), name) for name in named} == {0}
    assert Limits().with_values(dict.fromkeys(named, 7)).rates_per_address == 7
    assert Limits().with_values(dict.fromkeys(named, 0)) == Limits()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("participant", 5, "participants"),
        ("participants", -1, "not negative"),
        ("participants", 0, "more than 0"),
        ("participants", 1.5, "whole number"),
        ("participants", math.inf, "number"),
        ("stalled", math.nan, "number"),
        ("stalled", 0, "more than 0"),
        ("text", 20_000, "frame must be at least"),
        ("frame", 4_096, "frame must be at least"),
        ("command_ids", 99, "unanswered, 100"),
        ("unanswered", 257, "unanswered, 257"),
    ],
)
def test_a_wrong_limit_is_refused_with_words(name: str, value: float, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Limits().with_values({name: value})
