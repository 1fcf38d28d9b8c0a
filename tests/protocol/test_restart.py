"""A server that goes and comes back on its log: sections 1, 2, 8 and 11 of docs/protocol.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.protocol.server import Server, epoch, is_event, new_name, new_token, offset

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Server]:
    """A server of this test's own, which may be killed; who is away may take their time to come back."""
    with Server(tmp_path / "log.sqlite", "--grace", "60") as running:
        yield running


def test_what_was_acknowledged_survives_kill_9_and_happens_no_second_time(own: Server) -> None:
    name, token = new_name(), new_token()
    feed = own.feed()
    feed.join(name, token)
    said = feed.done("say", id="s", text="survives")
    created = feed.done("create", id="c", name="web-1")
    ids = [feed.send("say", id=f"n{number}", text=f"text {number}") for number in range(50)]
    own.kill()
    own.start()
    with own.feed(f"?after={said['cursor']}") as again:
        assert again.join(name, token)["resumed"] is True
        assert again.done("say", id="s", text="survives") == said
        assert again.done("create", id="c", name="web-1") == created
        for number, command in enumerate(ids):  # whatever became of them, they happen once
            again.done("say", id=command, text=f"text {number}")
        assert again.refused("say", id="s", text="other") == "id_reused"
        again.find(is_event("created", operation=created["operation"]))
        last = again.done("say", text="the last")
        again.event(last["cursor"])
        assert again.gap is None
        assert again.snapshot is None
        refs = [event["ref"] for event in again.events if event["type"] == "message"]
        assert refs == [*ids, last["id"]]
        assert not any(event["type"] in {"joined", "left"} for event in again.events)
        assert epoch(again.cursor) != epoch(said["cursor"]), "each opening is a new epoch"


def test_a_cursor_of_before_a_restart_is_served_and_one_past_it_is_a_gap(own: Server) -> None:
    with own.feed() as feed:
        feed.join(new_name(), new_token())
        head = feed.done("say", text="the newest of this epoch")["cursor"]
    assert own.terminate() == 0
    own.start()
    with own.feed(f"?after={head}") as feed:
        assert feed.welcome["cursor"] == head
        author = own.feed()
        author.join(new_name(), new_token())
        feed.find(is_event("joined"))
        assert feed.gap is None
        now = feed.cursor
    with own.feed(f"?after={epoch(head)}-{offset(now)}") as feed:
        feed.ready()
        assert feed.gap == {
            "type": "gap",
            "after": f"{epoch(head)}-{offset(now)}",
            "reason": "epoch",
        }
    first_of_epoch = f"{epoch(now)}-{offset(head) - 1}"
    with own.feed(f"?after={first_of_epoch}") as feed:
        feed.ready()
        assert feed.gap is not None
        assert feed.gap["reason"] == "epoch", "a new epoch does not reach back into the old one"


def test_a_restart_gives_everybody_one_fresh_grace(tmp_path: Path) -> None:
    stays, goes, token = new_name(), new_name(), new_token()
    with Server(tmp_path / "log.sqlite", "--grace", "4") as own:
        one, other = own.feed(), own.feed()
        one.join(stays, token)
        cursor = other.join(goes, new_token())["cursor"]
        own.kill()
        own.start()
        with own.feed(f"?after={cursor}") as feed:
            assert stays in [p["nickname"] for p in own.http.get("/v1/participants").json()]
            assert feed.join(stays, token)["resumed"] is True
            event = feed.find(is_event("left"))
            assert (event["nickname"], event["reason"]) == (goes, "disconnected")
            assert stays in [p["nickname"] for p in own.http.get("/v1/participants").json()]


def test_the_memory_of_tokens_outlives_presence_and_restarts(own: Server) -> None:
    name, token = new_name(), new_token()
    with own.feed() as feed:
        feed.join(name, token)
        said = feed.done("say", id="s", text="once")
        feed.done("leave")
    own.kill()
    own.start()
    with own.feed() as feed:
        feed.ready()
        assert name not in [p["nickname"] for p in own.http.get("/v1/participants").json()]
        assert feed.join(name, token)["resumed"] is True
        assert feed.done("say", id="s", text="once") == said


def test_sigterm_says_closing_then_1012_and_the_server_ends_well(own: Server) -> None:
    feeds = [own.feed() for _ in range(3)]
    for feed in feeds:
        feed.ready()
        feed.join(new_name(), new_token())
    assert own.terminate() == 0
    waits = set()
    for feed in feeds:
        assert feed.closed()[0] == 1012
        assert feed.others[-1]["type"] == "closing"
        assert set(feed.others[-1]) == {"type", "retry_after"}
        waits.add(feed.others[-1]["retry_after"])
        assert feed.others[-1]["retry_after"] > 0
    assert len(waits) > 1, "so that they do not come back all at once"


def test_only_hashes_of_tokens_are_kept(own: Server) -> None:
    token = new_token()
    with own.feed() as feed:
        feed.join(new_name(), token)
        feed.done("say", text="hello")
    assert own.terminate() == 0
    for file in own.log.parent.iterdir():
        assert token.encode() not in file.read_bytes()
    assert token not in json.dumps(own.errors)
