"""Worlds that broke a promise once, cut down to the reason: what was wrong stays mended."""

from __future__ import annotations

import pytest

from cloudchat_transports.testing.simulation import Act, Fault, Person, Plan, live_through

FOUND = {
    # The answer to a poll was held up for longer than the server waits for the next one. The client went on polling,
    # and never learnt that it was not there any more.
    "a client that polls is held lost while a poll is under way": Plan(
        86,
        (Person("poll", "Ann", ()), Person("ws", "Bob", (Act(30_000, "say"),))),
        (Fault("time", 1_000, "stall down", span=19_000),),
        grace=0,
    ),
    # A client moved to a better transport while the first snapshot was on its way: it got two, and what had happened
    # between them was told by neither.
    "a client moves before its snapshot is in": Plan(
        191,
        (
            Person("auto", "Ann", (), delay=150, piece=300),
            Person("ws", "Bob", (Act(0, "create", 4),)),
        ),
        (Fault("append", 2, "restore", 3, 187),),
    ),
    # The server was stopped in the very turn in which somebody connected: it went on with a socket that was closed.
    "a connection comes as the server is stopped": Plan(
        3408,
        (Person("ws", "Ann", ()), Person("ws", "Bob", ()), Person("sse", "Bob", ())),
        (Fault("written", 2, "stop"),),
    ),
    # A join within the grace of a restart was durable, but its outcome was not known: the grace ran on to its end.
    "who comes back in time joins in an append of unknown outcome": Plan(
        2596,
        (
            Person("ws", "Alexandra", (Act(0, "leave", 2),), delay=20, piece=300),
            Person("ws", "Person 2", ()),
        ),
        (Fault("publish", 5, "crash", 0, 24_929),),
        fates={8: "written"},
        grace=2,
    ),
}


@pytest.mark.parametrize("plan", FOUND.values(), ids=FOUND.keys())
def test_a_world_that_broke_a_promise_keeps_it_now(plan: Plan) -> None:
    outcome = live_through(plan)
    assert not outcome.broken, "\n".join((*outcome.trace, outcome.detail))
