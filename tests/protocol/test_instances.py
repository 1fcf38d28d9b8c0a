"""The life of an instance, field by field: sections 4, 5 and 13 of docs/protocol.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.protocol.server import Feed, Frame, Server, is_event, new_name, new_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def feed(server: Server) -> Iterator[Feed]:
    """Somebody who has joined."""
    with server.feed() as opened:
        opened.ready()
        opened.join(new_name("Operator"), new_token())
        yield opened


def play(feed: Feed, kind: str, **fields: object) -> tuple[Frame, Frame, Frame]:
    """Have an operation begun and ended; return the ack and both events."""
    ack = feed.done(kind, **fields)
    received = feed.event(ack["cursor"])
    done = feed.until(lambda f: f.get("operation") == ack["operation"] and f["type"] != "received")
    return ack, received, done


def test_every_step_of_an_instances_life_has_all_its_fields(server: Server, feed: Feed) -> None:
    ack, received, done = play(feed, "create", name="web-1", spec={"size": "small"})
    instance_id, operation = ack["instance"]["id"], ack["operation"]
    assert UUID.fullmatch(instance_id)
    assert set(operation) == {"id", "command", "received_at", "expected"}
    assert UUID.fullmatch(operation["id"])
    assert operation["command"] == "create"
    assert operation["received_at"] == received["at"]
    assert TIME.fullmatch(operation["expected"])
    common = {"type", "cursor", "at", "instance", "operation", "by"}
    assert set(received) == {*common, "command", "expected"}
    assert received["command"] == "create"
    assert received["instance"] == ack["instance"]
    assert "state" not in received["instance"], "there is none until it is created"
    assert received["operation"] == operation
    assert received["expected"] == operation["expected"]
    assert received["by"] == feed.nickname
    assert set(done) == common
    assert (done["type"], done["by"]) == ("created", feed.nickname)
    assert list(done["instance"])[:2] == ["id", "state"]
    stopped = {"id": instance_id, "state": "stopped", "name": "web-1", "created_at": done["at"]}
    assert done["instance"] == stopped

    running = {**stopped, "state": "running"}
    for kind, outcome, before, after in (
        ("start", "started", stopped, running),
        ("stop", "stopped", running, stopped),
        ("start", "started", stopped, running),
        ("remove", "removed", running, None),
    ):
        ack, received, done = play(feed, kind, instance=instance_id)
        assert ack["operation"]["command"] == received["command"] == kind
        assert {**received["instance"], "operation": None} == {**before, "operation": None}
        assert (done["type"], set(done)) == (outcome, common)
        assert done["operation"]["id"] == ack["operation"]["id"]
        listed = [
            one for one in server.http.get("/v1/instances").json() if one["id"] == instance_id
        ]
        assert listed == ([after] if after else [])
        if after:
            assert done["instance"] == after
    assert feed.refused("start", instance=instance_id) == "instance_unknown"


def test_an_operation_under_way_excludes_another_and_is_shown(tmp_path: Path) -> None:
    duration = ("--provider", "simulated:?duration=4")
    with Server(tmp_path / "log.sqlite", *duration) as server, server.feed() as feed:
        feed.join(new_name("Operator"), new_token())
        created = feed.done("create")
        instance, operation = created["instance"]["id"], created["operation"]
        busy = feed.ask("start", instance=instance)
        assert (busy["code"], busy["operation"]) == ("instance_busy", operation)
        path = f"/v1/instances/{instance}"
        assert server.http.get(path).status_code == 404
        refused = server.http.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "instance_busy")
        assert refused.json()["operation"] == operation
        assert server.http.get("/v1/instances").json() == []
        shown = server.http.get(f"/v1/operations/{operation['id']}").json()
        assert shown == {
            **operation,
            "instance": instance,
            "by": feed.nickname,
            "done": False,
        }
        with server.feed() as later:
            assert later.ready()["operations"] == [shown]
        event = feed.until(is_event("created", operation=operation))
        started = feed.done("start", instance=instance)
        assert server.http.get(path).json()["operation"] == started["operation"]
        refused = server.http.delete(path)
        assert (refused.status_code, refused.json()["code"]) == (409, "instance_busy")
        assert refused.json()["operation"] == started["operation"]
        finished = server.http.get(f"/v1/operations/{operation['id']}").json()
        assert finished == {**shown, "done": True, "outcome": "created", "done_at": event["at"]}


def test_a_command_that_does_not_fit_the_state_is_refused(feed: Feed) -> None:
    ack, _, _ = play(feed, "create")
    instance = ack["instance"]["id"]
    assert feed.refused("stop", instance=instance) == "instance_state"
    play(feed, "start", instance=instance)
    assert feed.refused("start", instance=instance) == "instance_state"


def test_the_worklog_is_the_newest_fifty_events_of_instances(server: Server, feed: Feed) -> None:
    for _ in range(26):
        feed.done("create")
    events: list[Frame] = []
    while sum(event["type"] == "created" for event in events) < 26:
        feed.take()
        events = [e for e in feed.events if e["type"] in {"received", "created"}]
    with server.feed("?topics=instances") as later:
        snapshot = later.ready()
        assert snapshot["worklog"] == events[-50:]
        assert snapshot["operations"] == []
        created = [event["instance"] for event in events if event["type"] == "created"]
        assert [one for one in snapshot["instances"] if one in created] == created
