"""How a feed begins, goes on and comes back: sections 1 to 4 of docs/protocol.md."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import InvalidStatus

from tests.protocol.server import epoch, is_event, new_name, new_token, offset

if TYPE_CHECKING:
    from tests.protocol.server import Server

CURSOR = re.compile(r"[a-z0-9]{1,16}-(0|[1-9][0-9]{0,18})")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_feed_begins_with_welcome_and_a_snapshot(server: Server) -> None:
    with server.feed() as feed:
        welcome = feed.welcome
        assert set(welcome) == {
            *("type", "protocol", "feed", "cursor", "at", "heartbeat", "limits")
        }
        assert welcome["protocol"] == "cloudchat.v1"
        assert welcome["heartbeat"] == 15
        assert welcome["limits"] == {
            "text": 4096,
            "nickname": 32,
            "frame": 65536,
            "unanswered": 100,
        }
        assert CURSOR.fullmatch(welcome["cursor"])
        assert TIME.fullmatch(welcome["at"])
        snapshot = feed.ready()
        lists = {"participants", "messages", "instances", "operations", "worklog"}
        assert set(snapshot) == {"type", "cursor", *lists}
        assert snapshot["cursor"] == welcome["cursor"]
        assert feed.gap is None


def test_each_feed_has_a_name_of_its_own(server: Server) -> None:
    with server.feed() as one, server.feed() as other:
        assert one.welcome["feed"] != other.welcome["feed"]


def test_the_subprotocol_is_agreed_to_and_not_required(server: Server) -> None:
    with server.feed(subprotocols=["soap", "cloudchat.v1"]) as feed:
        assert feed.ws.subprotocol == "cloudchat.v1"
    with server.feed(subprotocols=["soap"]) as feed:
        assert feed.ws.subprotocol is None


def test_compression_is_declined(server: Server) -> None:
    """Frames are shared by all, so they are not compressed for one; a client that offers it does without."""
    extension = {"Sec-WebSocket-Extensions": "permessage-deflate"}
    with server.feed(additional_headers=extension) as feed:
        assert feed.ws.response is not None
        assert "Sec-WebSocket-Extensions" not in feed.ws.response.headers


def test_empty_parameters_are_as_left_out(server: Server) -> None:
    with server.feed("?after=&topics=&workspace=") as feed:
        assert feed.gap is None
        assert "instances" in feed.ready()
        assert "participants" in feed.ready()


def test_events_are_told_in_the_order_of_the_log_with_all_their_fields(server: Server) -> None:
    with server.feed() as watcher, server.feed() as author:
        name = new_name()
        joined = author.join(name, new_token())
        said = author.done("say", id="my-say", text="  hello\tthere\n")
        redacted = author.done("redact", message=said["cursor"])
        left = author.done("leave")
        watcher.event(left["cursor"])
        events = {event["cursor"]: event for event in watcher.events}
        assert all(TIME.fullmatch(event.pop("at")) for event in events.values())
        assert events[joined["cursor"]] == {
            "type": "joined",
            "cursor": joined["cursor"],
            "nickname": name,
        }
        assert events[said["cursor"]] == {
            "type": "message",
            "cursor": said["cursor"],
            "nickname": name,
            "text": "hello\tthere",
            "ref": "my-say",
        }
        assert events[redacted["cursor"]] == {
            "type": "redacted",
            "cursor": redacted["cursor"],
            "message": said["cursor"],
            "by": name,
        }
        assert events[left["cursor"]] == {
            "type": "left",
            "cursor": left["cursor"],
            "nickname": name,
            "reason": "left",
        }
        offsets = [offset(event["cursor"]) for event in watcher.events]
        assert offsets == sorted(set(offsets))


def test_the_snapshot_holds_what_the_events_said(server: Server) -> None:
    with server.feed() as author:
        name = new_name()
        joined = author.join(name, new_token())
        said = author.done("say", text="to be found again")
        joined_at = author.event(joined["cursor"])["at"]
        message = author.event(said["cursor"])
        with server.feed() as later:
            snapshot = later.ready()
            assert {"nickname": name, "since": joined_at} in snapshot["participants"]
            assert snapshot["messages"][-1] == message
            assert offset(snapshot["cursor"]) >= offset(said["cursor"])


def test_a_feed_goes_on_after_its_cursor_with_nothing_missed_or_doubled(server: Server) -> None:
    with server.feed() as author:
        author.join(new_name(), new_token())
        with server.feed() as feed:
            feed.ready()
            author.done("say", text="1")
            feed.until(is_event("message", text="1"))
            cursor = feed.cursor
        for text in "234":
            author.done("say", text=text)
        with server.feed(f"?after={cursor}") as feed:
            assert feed.welcome["cursor"] == cursor
            author.done("say", text="5")
            feed.until(is_event("message", text="5"))
            assert feed.snapshot is None
            assert feed.gap is None
            assert [event["text"] for event in feed.events] == list("2345")


def test_a_feed_at_the_head_begins_with_nothing_but_what_happens_next(server: Server) -> None:
    with server.feed() as author:
        author.join(new_name(), new_token())
        head = author.done("say", text="the newest")["cursor"]
        with server.feed(f"?after={head}") as feed:
            said = author.done("say", text="the next")
            frame = feed.take()
            assert (frame["type"], frame["cursor"]) == ("message", said["cursor"])


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("{epoch}-{beyond}", "future"),
        ("{epoch}-9223372036854775807", "future"),
        ("nobody-1", "epoch"),
        ("0-0", "epoch"),
        ("{epoch}-9223372036854775808", "invalid"),
        ("{epoch}-01", "invalid"),
        ("{epoch}--1", "invalid"),
        ("{epoch}-%2B1", "invalid"),
        ("{epoch}-1%20", "invalid"),
        ("{epoch}-1%0A", "invalid"),
        ("{epoch}-%D9%A1", "invalid"),
        ("{EPOCH}-1", "invalid"),
        ("nonsense", "invalid"),
        ("%00", "invalid"),
        ("%F0%9F%98%80", "invalid"),
        ("x" * 128, "invalid"),
    ],
)
def test_a_cursor_that_cannot_be_served_is_a_gap_and_a_snapshot(
    server: Server, after: str, reason: str
) -> None:
    with server.feed() as feed:
        head = feed.welcome["cursor"]
    named = after.format(
        epoch=epoch(head), EPOCH=epoch(head).upper() + "A", beyond=offset(head) + 1_000_000
    )
    with server.feed(f"?after={named}") as feed:
        first = feed.take()
        assert first["type"] == "gap"
        assert first["reason"] == reason
        assert set(first) == {"type", "after", "reason"}
        assert feed.take()["type"] == "snapshot"


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?after=" + "x" * 129, 400, "bad_request"),
        ("?after=%FF", 400, "bad_request"),
        ("?topics=weather", 404, "not_found"),
        ("?topics=chat,weather", 404, "not_found"),
        ("?workspace=elsewhere", 404, "not_found"),
    ],
)
def test_a_feed_that_cannot_be_is_refused_before_it_opens(
    server: Server, query: str, status: int, code: str
) -> None:
    with pytest.raises(InvalidStatus) as refused:
        server.feed(query)
    response = refused.value.response
    assert response.status_code == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body is not None
    assert json.loads(response.body)["code"] == code


def test_topics_choose_lists_and_events_and_the_cursor_moves_past_what_they_hide(
    server: Server,
) -> None:
    with (
        server.feed("?topics=chat") as chat,
        server.feed("?topics=instances") as instances,
        server.feed("?topics=instances,chat") as both,
    ):
        lists = {"participants", "messages", "instances", "operations", "worklog"}
        assert lists & chat.ready().keys() == {"participants", "messages"}
        assert lists & instances.ready().keys() == {"instances", "operations", "worklog"}
        assert lists & both.ready().keys() == lists
        name, token = new_name(), new_token()
        both.join(name, token)
        created = both.done("create")
        said = both.done("say", text="made one")
        # Which of the two comes first nobody knows.
        instances.find(is_event("created"))
        chat.event(said["cursor"])
        both.event(said["cursor"])
        both.find(is_event("created"))
        assert {event["type"] for event in chat.events} == {"joined", "message"}
        assert {event["type"] for event in instances.events} == {"received", "created"}
        together = [*chat.events, *instances.events]
        together.sort(key=lambda event: offset(event["cursor"]))
        assert both.events == together
        assert instances.events[0]["cursor"] == created["cursor"]
        assert chat.events[-1]["cursor"] == said["cursor"]


def test_everybody_is_told_the_same_in_the_same_order(server: Server) -> None:
    with server.feed() as one, server.feed() as two, server.feed() as author:
        author.join(new_name(), new_token())
        ids = [author.send("say", text=f"text {number}") for number in range(60)]
        last = [author.answer(command) for command in ids][-1]["cursor"]
        one.event(last)
        two.event(last)
        assert [e["ref"] for e in one.events if e["type"] == "message"][-60:] == ids
        common = [event for event in two.events if event in one.events]
        assert common == [event for event in one.events if event in two.events]
        assert all(offset(a["cursor"]) < offset(b["cursor"]) for a, b in pairwise(common))


def test_redacted_text_is_gone_from_later_feeds_and_from_history(server: Server) -> None:
    secret = "the password is swordfish"
    with server.feed() as author:
        before = author.welcome["cursor"]
        author.join(new_name(), new_token())
        said = author.done("say", text=secret)
        message = author.event(said["cursor"])
        author.done("redact", message=said["cursor"])
        erased = {**message, "text": "", "redacted": True}
        with server.feed() as later:
            assert erased in later.ready()["messages"]
        with server.feed(f"?after={before}") as catching_up:
            assert catching_up.event(said["cursor"]) == erased
            catching_up.until(is_event("redacted", message=said["cursor"]))
        items = server.http.get("/v1/messages").json()["items"]
        assert erased in items
        assert secret not in json.dumps(items)
        again = author.done("redact", message=said["cursor"])
        assert again["type"] == "ack", "what is gone may be taken back again"
    for file in server.log.parent.iterdir():
        assert secret.encode() not in file.read_bytes(), f"{file.name} still has it"
