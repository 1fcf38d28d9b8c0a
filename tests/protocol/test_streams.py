"""The feed as an event stream and by long polls: sections 2, 7 and 11 of docs/protocol.md."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.protocol.server import (
    PATIENCE,
    Frame,
    Server,
    is_event,
    new_name,
    new_token,
    offset,
)
from tests.protocol.streams import Stream, events

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ("--limit", "requests_per_second=0")


def poll(server: Server, **query: object) -> dict[str, Any]:
    """One long poll, with nothing wrong with it."""
    response = server.http.get("/v1/poll", params={k: str(v) for k, v in query.items()})
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    answer: dict[str, Any] = response.json()
    assert set(answer) == {"frames", "cursor"}
    return answer


def test_a_stream_begins_with_retry_welcome_and_a_snapshot(server: Server) -> None:
    with Stream(server) as stream:
        assert stream.first.startswith("retry: ")
        welcome, snapshot = stream.take(), stream.take()
        assert (welcome["type"], snapshot["type"]) == ("welcome", "snapshot")
        assert set(welcome) == {
            *("type", "protocol", "feed", "cursor", "at", "heartbeat", "limits")
        }
        assert stream.ids == [None, snapshot["cursor"]]


def test_all_transports_tell_the_same(server: Server) -> None:
    with server.feed() as feed, Stream(server) as stream:
        begun = poll(server)
        assert [frame["type"] for frame in begun["frames"]] == ["welcome", "snapshot"]
        assert begun["cursor"] == begun["frames"][-1]["cursor"]
        assert begun["frames"][-1] == feed.ready() == stream.until(is_event("snapshot"))
        feed.join(new_name(), new_token())
        feed.done("say", text="to all\nof you")
        created = feed.done("create")
        feed.until(is_event("created", operation=created["operation"]))
        stream.until(is_event("created", operation=created["operation"]))
        polled: list[Frame] = []
        cursor = begun["cursor"]
        while len(polled) < len(feed.events):
            answer = poll(server, after=cursor)
            polled, cursor = polled + answer["frames"], answer["cursor"]
        assert polled[: len(feed.events)] == events(stream.frames) == feed.events
        moved = [i for frame, i in zip(stream.frames, stream.ids, strict=True) if frame in polled]
        assert moved == [event["cursor"] for event in feed.events]


def test_a_stream_goes_on_after_last_event_id_which_wins(server: Server) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        first = feed.done("say", text="first")["cursor"]
        second = feed.done("say", text="second")["cursor"]
        third = feed.done("say", text="third")["cursor"]
        with Stream(server, f"?after={second}", Last_Event_ID=first) as stream:
            stream.until(is_event("message", text="third"))
            assert [frame["type"] for frame in stream.frames] == ["welcome", "message", "message"]
            assert stream.ids == [None, second, third]
        with Stream(server, f"?after={second}", Last_Event_ID="nonsense") as stream:
            stream.until(is_event("snapshot"))
            assert [f["type"] for f in stream.frames] == ["welcome", "gap", "snapshot"]
            assert stream.frames[1]["reason"] == "invalid"
            assert stream.ids[:2] == [None, None]


def test_curl_can_follow_a_stream(server: Server) -> None:
    with server.feed() as feed:
        cursor = feed.join(new_name(), new_token())["cursor"]
        feed.done("say", text="for curl")
        url = f"{server.url}/v1/sse?after={cursor}"
        with subprocess.Popen(["curl", "-sN", url], stdout=subprocess.PIPE, text=True) as curl:
            assert curl.stdout is not None
            assert any("for curl" in line for line in curl.stdout)
            curl.kill()


def test_a_poll_waits_until_there_is_something(server: Server) -> None:
    with server.feed() as feed:
        head = feed.join(new_name(), new_token())["cursor"]
        for wait in ("0", "-5", "-0.1"):  # what is outside is clamped
            assert poll(server, after=head, wait=wait)["frames"] == []
        with subprocess.Popen(
            ["curl", "-s", f"{server.url}/v1/poll?after={head}&wait=9e9".replace("9e9", "999")],
            stdout=subprocess.PIPE,
            text=True,
        ) as waiting:
            feed.done("say", text="now")
            answer = json.loads(waiting.communicate(timeout=PATIENCE)[0])
        assert [frame["text"] for frame in answer["frames"]] == ["now"]


def test_a_polls_cursor_moves_past_what_its_topics_hide(server: Server) -> None:
    with server.feed() as feed:
        start = feed.join(new_name(), new_token())["cursor"]
        hidden = feed.done("say", text="hidden")["cursor"]
        answer = poll(server, after=start, topics="instances", wait=0)
        assert answer["frames"] == []
        assert offset(answer["cursor"]) >= offset(hidden)


def test_a_loss_is_said_on_every_transport(server: Server) -> None:
    frames = poll(server, after="nobody-1")["frames"]
    assert [frame["type"] for frame in frames] == ["welcome", "gap", "snapshot"]
    assert frames[1] == {"type": "gap", "after": "nobody-1", "reason": "epoch"}
    with Stream(server, "?after=nobody-1") as stream:
        assert [stream.take()["type"] for _ in range(3)] == ["welcome", "gap", "snapshot"]


@pytest.mark.parametrize("path", ["/v1/sse", "/v1/poll"])
@pytest.mark.parametrize(
    ("query", "headers", "refusal"),
    [
        ("after=" + "x" * 129, {}, (400, "bad_request")),
        ("topics=weather", {}, (404, "not_found")),
        ("workspace=elsewhere", {}, (404, "not_found")),
        ("", {"Cloudchat-Token": "short"}, (401, "token_invalid")),
        ("", {"Cloudchat-Token": "x" * 30}, (401, "token_invalid")),
        ("", {"Origin": "http://evil.example"}, (403, "forbidden")),
        ("", {"Host": "evil.example"}, (403, "forbidden")),
    ],
)
def test_a_feed_that_cannot_be_is_refused(
    server: Server, path: str, query: str, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    response = server.http.get(f"{path}?{query}", headers=headers)
    assert (response.status_code, response.json()["code"]) == refusal


@pytest.mark.parametrize("wait", ["x", "1e", "nan", "inf", "١", "0x1", "1,5"])
def test_a_wait_that_is_no_number_is_refused(server: Server, wait: str) -> None:
    response = server.http.get("/v1/poll", params={"wait": wait})
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


def test_a_planned_end_is_said_to_streams_and_polls(tmp_path: Path) -> None:
    with Server(tmp_path / "log.sqlite") as server, Stream(server) as stream:
        snapshot = stream.until(is_event("snapshot"))
        url = f"{server.url}/v1/poll?after={snapshot['cursor']}"
        with (
            server.feed() as feed,
            subprocess.Popen(["curl", "-s", url], stdout=subprocess.PIPE, text=True) as waiting,
        ):
            feed.done("ping")
            server.process.send_signal(signal.SIGTERM)
            assert stream.until(is_event("closing"))["retry_after"] > 0
            with pytest.raises((StopIteration, KeyError)):
                stream.take()
            waiting.communicate(timeout=PATIENCE)
        assert server.process.wait(PATIENCE) == 0


def test_a_temporary_refusal_of_a_stream_is_no_error_to_an_event_source(tmp_path: Path) -> None:
    slow = ("--limit", "requests_per_second=0.01", "--limit", "requests_burst=1")
    with Server(tmp_path / "log.sqlite", *slow) as server:
        assert server.http.get("/v1/participants").status_code == 200
        assert server.http.get("/v1/poll").status_code == 429
        response = server.http.get("/v1/sse")
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.text.startswith("retry: ")
        assert "event: closing" in response.text


def test_a_stream_that_does_not_read_costs_the_others_nothing(server: Server) -> None:
    with server.feed() as author:
        cursor = author.join(new_name(), new_token())["cursor"]
        with (
            httpx.Client(base_url=server.url, timeout=PATIENCE) as other,
            other.stream("GET", f"/v1/sse?after={cursor}") as stream,
        ):
            ids = [author.send("say", text=f"{n} " + "😀" * 4000) for n in range(90)]
            last = [author.answer(command) for command in ids][-1]["cursor"]
            told = [
                json.loads(line.removeprefix("data: "))
                for line in iter(stream.iter_lines().__next__, f"id: {last}")
                if line.startswith("data: ")
            ]
        assert [frame["ref"] for frame in events(told)] == ids[:-1]
