"""Who is silent or lost, and how long that is borne: sections 7 and 11 of docs/protocol.md."""

from __future__ import annotations

from datetime import datetime

import pytest

from tests.protocol.server import (
    UPGRADE,
    Feed,
    Frame,
    Server,
    is_event,
    joined,
    left,
    masked,
    new_name,
    new_token,
    offset,
)
from tests.protocol.streams import Stream, events

GRACE = 1.0
HEARTBEAT = 1.0
ARGUMENTS = ("--grace", str(GRACE), "--heartbeat", str(HEARTBEAT))


def moment(frame: Frame) -> float:
    return datetime.fromisoformat(frame["at"]).timestamp()


@pytest.mark.parametrize("how", ["away", "lost", "aborted"])
def test_a_page_that_goes_away_and_a_loss_leave_when_grace_is_over(
    server: Server, watcher: Feed, how: str
) -> None:
    name = new_name()
    feed = joined(server, name, new_token())
    with server.feed() as other:
        marker = other.join(new_name(), new_token())["cursor"]
        gone_after = moment(other.event(marker))
    if how == "away":
        feed.leave_with(1001)
    elif how == "aborted":
        feed.leave_with(1011)
    else:
        feed.lose()
    event = left(watcher, name)
    assert event["reason"] == "disconnected"
    assert moment(event) - gone_after >= GRACE


def test_away_ends_the_window_of_a_posted_join_as_close_1001_ends_a_feed(
    server: Server, watcher: Feed
) -> None:
    name, token = new_name(), new_token()
    server.post({"type": "join", "id": "j", "nickname": name}, cloudchat_token=token)
    away = {"type": "away", "id": "a", "join": "j"}
    assert server.post(away, cloudchat_token=token).json()["type"] == "ack"
    came = watcher.find(is_event("joined", nickname=name))
    gone = left(watcher, name)
    assert gone["reason"] == "disconnected"
    assert moment(gone) - moment(came) < 15, "the window of a posted join"
    assert server.post(away, cloudchat_token=token).json()["code"] == "not_joined"


def test_a_silent_feed_gets_heartbeats_with_its_own_position_and_pings(server: Server) -> None:
    with server.feed("?topics=instances") as feed:
        assert feed.welcome["heartbeat"] == HEARTBEAT
        start = feed.ready()["cursor"]
        beat = feed.until(lambda frame: frame["type"] == "heartbeat")
        assert set(beat) == {"type", "cursor", "at"}
        assert offset(beat["cursor"]) >= offset(start)
        with server.feed() as author:
            author.join(new_name(), new_token())
            head = author.done("say", text="not for that feed")["cursor"]
        feed.until(lambda f: f["type"] == "heartbeat" and offset(f["cursor"]) >= offset(head))
        created = author_create(server)
        feed.event(created)
        assert feed.events[0]["cursor"] == created


def author_create(server: Server) -> str:
    with server.feed() as author:
        cursor: str = author.done("create", id="00000000-0000-4000-8000-00000000000a")["cursor"]
        return cursor


def test_a_client_that_is_not_heard_of_is_pinged_and_then_lost(
    server: Server, watcher: Feed
) -> None:
    """A stock client answers pings; this one does not, though its connection stands."""
    name = new_name()
    join = f'{{"type":"join","id":"j","nickname":"{name}","token":"{new_token()}"}}'.encode()
    got = server.raw(UPGRADE + masked(0x81, join))
    assert got.count(b"\x89\x00") == 2, "two pings, then the end"
    assert left(watcher, name)["reason"] == "disconnected"


def test_a_silent_stream_gets_heartbeats_that_move_its_cursor(server: Server) -> None:
    with server.feed() as feed, Stream(server, "?topics=instances") as stream:
        feed.join(new_name(), new_token())
        hidden = feed.done("say", text="not for that stream")["cursor"]
        beat = stream.until(
            lambda f: f["type"] == "heartbeat" and offset(f["cursor"]) >= offset(hidden)
        )
        assert set(beat) == {"type", "cursor", "at"}
        assert stream.ids[-1] == beat["cursor"]
        assert events(stream.frames) == []


def test_a_stream_with_the_token_keeps_its_participation(server: Server) -> None:
    name, token = new_name(), new_token()
    with server.feed() as watcher:
        with server.feed() as first:
            cursor = first.join(name, token)["cursor"]
            with Stream(server, f"?after={cursor}", Cloudchat_Token=token):
                first.lose()
                said = server.post({"type": "say", "id": "s", "text": "x"}, cloudchat_token=token)
                assert said.json()["type"] == "ack"
                watcher.until(is_event("heartbeat"))
                watcher.until(is_event("heartbeat"))
                people = server.http.get("/v1/participants").json()
                assert name in [one["nickname"] for one in people]
        left = watcher.until(is_event("left", nickname=name))
        assert left["reason"] == "disconnected"
        kinds = [e["type"] for e in watcher.events if e.get("nickname") == name]
        assert kinds == ["joined", "message", "left"]


def test_an_event_source_takes_part_through_its_feeds_name(server: Server) -> None:
    name, token = new_name(), new_token()
    with server.feed() as watcher:
        with Stream(server) as stream:
            feed = stream.take()["feed"]
            join = {"type": "join", "id": "j", "nickname": name, "token": token, "feed": feed}
            assert server.post(join).json()["type"] == "ack"
            stream.until(is_event("joined", nickname=name))
        assert watcher.until(is_event("left", nickname=name))["reason"] == "disconnected"
