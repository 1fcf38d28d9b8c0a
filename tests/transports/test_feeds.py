"""What a client may ask of a feed, the same on every transport."""

from __future__ import annotations

import pytest

from cloudchat_core.errors import Code, RefusedError
from cloudchat_transports.feeds import feed_request, parse_query

ALL = frozenset({"chat", "instances"})


@pytest.mark.parametrize(
    ("query", "after", "topics"),
    [
        ("", "", ALL),
        ("after=&topics=&workspace=", "", ALL),
        ("after=k3f9-41&topics=chat", "k3f9-41", frozenset({"chat"})),
        ("topics=chat,instances,,chat&workspace=main", "", ALL),
        ("topics=,", "", ALL),
        ("after=%20x%20&more=1", " x ", ALL),
        ("after=a&after=b", "b", ALL),
        ("after=" + "x" * 128, "x" * 128, ALL),
    ],
)
def test_a_feed_is_what_its_parameters_say(query: str, after: str, topics: frozenset[str]) -> None:
    request = feed_request(parse_query(query))
    assert (request.after, request.topics) == (after, topics)


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("after=" + "x" * 129, Code.BAD_REQUEST),
        ("after=%ff", Code.BAD_REQUEST),
        ("&".join(f"p{number}=1" for number in range(100)), Code.BAD_REQUEST),
        ("topics=weather", Code.NOT_FOUND),
        ("topics=chat,weather", Code.NOT_FOUND),
        ("workspace=other", Code.NOT_FOUND),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_code_that_says_why(
    query: str, code: Code
) -> None:
    with pytest.raises(RefusedError) as caught:
        feed_request(parse_query(query))
    assert caught.value.code == code
