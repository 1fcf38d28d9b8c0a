"""Who is present, and when who leaves: section 11 of docs/protocol.md."""

from __future__ import annotations

from tests.protocol.server import (
    Feed,
    Server,
    is_event,
    joined,
    left,
    new_name,
    new_token,
)


def history(watcher: Feed, name: str) -> list[tuple[str, str | None]]:
    """What became of a nickname, as the feed told it."""
    events = [event for event in watcher.events if event.get("nickname") == name]
    return [(event["type"], event.get("reason")) for event in events]


def test_close_1000_is_leaving_at_once(server: Server, watcher: Feed) -> None:
    name = new_name()
    joined(server, name, new_token()).leave_with(1000)
    assert left(watcher, name)["reason"] == "left"


def test_who_comes_back_within_grace_was_never_away(server: Server, watcher: Feed) -> None:
    name, token = new_name(), new_token()
    feed = joined(server, name, token)
    cursor = feed.done("say", text="before")["cursor"]
    feed.lose()
    with server.feed(f"?after={cursor}") as again:
        assert again.join(name, token)["resumed"] is True
        again.done("say", text="after")
        again.until(is_event("message", text="after"))
        assert again.snapshot is None
        again.leave_with(1000)
    left(watcher, name)
    assert history(watcher, name) == [
        *[("joined", None), ("message", None), ("message", None), ("left", "left")]
    ]


def test_only_the_last_feed_that_ends_counts(server: Server, watcher: Feed) -> None:
    name, token = new_name(), new_token()
    first, second = joined(server, name, token), joined(server, name, token)
    first.leave_with(1000)
    second.done("say", text="still here")
    second.leave_with(1000)
    left(watcher, name)
    assert history(watcher, name) == [("joined", None), ("message", None), ("left", "left")]


def test_a_ninth_feed_ends_the_oldest_with_4001(server: Server, watcher: Feed) -> None:
    name, token = new_name(), new_token()
    feeds = [joined(server, name, token) for _ in range(9)]
    assert feeds[0].closed()[0] == 4001
    assert feeds[1].done("ping")["type"] == "ack"
    for feed in feeds[1:]:
        feed.leave_with(1000)
    left(watcher, name)
    assert history(watcher, name) == [("joined", None), ("left", "left")]


def test_leave_keeps_the_feed_and_a_later_join_finds_it(server: Server, watcher: Feed) -> None:
    name, token = new_name(), new_token()
    with joined(server, name, token) as feed:
        feed.done("leave")
        assert feed.join(name, token)["resumed"] is True
        feed.leave_with(1000)
    left(watcher, name)
    left(watcher, name)
    assert history(watcher, name) == [*[("joined", None), ("left", "left")] * 2]


def test_speaking_without_presence_leaves_no_trace_but_the_message(
    server: Server, watcher: Feed
) -> None:
    name, token = new_name("bot"), new_token()
    body = {"type": "say", "id": "1", "text": "beep", "nickname": f" {name} "}
    assert server.post(body, cloudchat_token=token).json()["type"] == "ack"
    assert watcher.until(is_event("message", text="beep"))["nickname"] == name
    assert name not in [one["nickname"] for one in server.http.get("/v1/participants").json()]
    with joined(server, name, new_token()) as holder:
        body = {**body, "id": "2"}
        assert server.post(body, cloudchat_token=token).json()["code"] == "nickname_taken"
        assert holder.done("say", text="mine", nickname=name)["type"] == "ack"


def test_a_posted_join_may_name_the_feed_that_it_goes_with(server: Server, watcher: Feed) -> None:
    name, token = new_name(), new_token()
    with server.feed() as feed:
        body = {"type": "join", "id": "j", "nickname": name, "feed": feed.welcome["feed"]}
        assert server.post(body, cloudchat_token=token).json()["resumed"] is False
        feed.until(is_event("joined", nickname=name))
        feed.leave_with(1000)
    assert left(watcher, name)["reason"] == "left", "its feed was closed: no window of a lone POST"


def test_away_of_a_page_that_has_joined_again_changes_nothing(
    server: Server, watcher: Feed
) -> None:
    name, token = new_name(), new_token()
    join = {"type": "join", "nickname": name}
    replies = server.post(
        [
            {**join, "id": "j1"},
            {**join, "id": "j2"},
            {"type": "away", "id": "a", "join": "j1"},
            {"type": "leave", "id": "l"},
        ],
        cloudchat_token=token,
    ).json()
    assert [reply.get("code") for reply in replies] == [None, None, "not_joined", None]
    assert left(watcher, name)["reason"] == "left"
