"""Long polls: what each answer says, how long it waits, and whom it keeps present; on asyncio and on Trio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cloudchat_core.limits import Limits
from cloudchat_engine import LogUnavailableError
from tests.transports.web import ALEXANDRA, BORIS, Site, ask, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudchat_core.codec import StoredRecord

pytestmark = pytest.mark.anyio


@pytest.fixture
async def web() -> AsyncIterator[Site]:
    async with site() as web:
        with anyio.fail_after(30):
            yield web


async def poll(web: Site, query: str = "", **headers: str) -> dict[str, Any]:
    response = await web.get(f"/v1/poll{query}", **headers)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    answer: dict[str, Any] = response.json()
    assert answer.keys() == {"frames", "cursor"}
    return answer


def types(answer: dict[str, Any]) -> list[str]:
    return [frame["type"] for frame in answer["frames"]]


async def say(web: Site, text: str) -> str:
    ack = await web.command("say", BORIS, text=text, nickname="bot")
    return str(ack["cursor"])


async def waiting(web: Site, count: int = 1) -> None:
    """Wait until so many polls wait; each watches for what is published."""
    while len(web.node._publications) < count:  # noqa: SLF001 - nobody else knows
        await anyio.lowlevel.checkpoint()


async def test_a_poll_without_a_cursor_is_answered_by_welcome_and_snapshot(web: Site) -> None:
    cursor = await say(web, "hello")
    answer = await poll(web)
    assert types(answer) == ["welcome", "snapshot"]
    assert answer["cursor"] == answer["frames"][1]["cursor"] == cursor


async def test_a_cursor_that_can_be_served_gets_what_follows_it_and_no_welcome(web: Site) -> None:
    first = await say(web, "1")
    second, third = await say(web, "2"), await say(web, "3")
    answer = await poll(web, f"?after={first}")
    assert [frame["cursor"] for frame in answer["frames"]] == [second, third]
    assert answer["cursor"] == third
    assert await poll(web, f"?after={third}&wait=0") == {"frames": [], "cursor": third}


@pytest.mark.parametrize(
    ("after", "reason"), [("other-3", "epoch"), ("k3f9-99", "future"), ("what?", "invalid")]
)
async def test_a_loss_is_said_between_welcome_and_snapshot(
    web: Site, after: str, reason: str
) -> None:
    answer = await poll(web, f"?after={after}")
    assert types(answer) == ["welcome", "gap", "snapshot"]
    assert answer["frames"][1] == {"type": "gap", "after": after, "reason": reason}


async def test_all_parts_of_a_snapshot_stand_in_one_answer() -> None:
    async with site(Limits().with_values({"text": 64, "frame": 4_352})) as web:
        for number in range(60):
            await say(web, f"{number:064}")
        welcome, *parts = (await poll(web))["frames"]
        assert welcome["type"] == "welcome"
        assert [part.get("more", False) for part in parts] == [*[True] * (len(parts) - 1), False]
        assert len(parts) > 1
        assert sum(len(part.get("messages", [])) for part in parts) == 50


async def test_a_poll_waits_for_what_comes(web: Site) -> None:
    cursor = await say(web, "1")
    answers: list[dict[str, Any]] = []

    async def listen() -> None:
        answers.append(await poll(web, f"?after={cursor}"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await waiting(web)
        assert answers == []
        after = await say(web, "2")
    assert types(answers[0]) == ["message"]
    assert answers[0]["cursor"] == after


async def test_what_the_topics_hide_moves_the_cursor_and_wakes_nobody(web: Site) -> None:
    cursor = (await poll(web))["cursor"]
    hidden = await say(web, "not for you")
    assert await poll(web, f"?after={cursor}&topics=instances&wait=0.01") == {
        "frames": [],
        "cursor": hidden,
    }


@pytest.mark.parametrize("wait", ["0", "-5", "0.0", ".001", "1E-9", "-0", "-99999999999999999999"])
async def test_a_wait_below_its_bounds_is_none(web: Site, wait: str) -> None:
    cursor = (await poll(web))["cursor"]
    assert (await poll(web, f"?after={cursor}&wait={wait}"))["frames"] == []


@pytest.mark.parametrize("wait", ["1e", "nan", "inf", "five", "1_0", "0x5", "--1", ".", "1 2"])
async def test_a_wait_that_is_no_number_is_a_bad_request(web: Site, wait: str) -> None:
    response = await web.get(f"/v1/poll?after=k3f9-1&wait={wait}")
    assert (response.status_code, response.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("wait", ["55", "56", "99999999999999999999", "1e3", "1e999", ""])
async def test_a_wait_above_its_bounds_is_a_long_one(web: Site, wait: str) -> None:
    cursor = (await poll(web))["cursor"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(poll, web, f"?after={cursor}&wait={wait}")
        await waiting(web)
        await say(web, "enough")


async def test_who_does_not_wait_comes_forward_from_behind_the_window_all_the_same() -> None:
    limits = Limits().with_values({"window": 1_000, "commands_per_second": 0})
    async with site(limits) as web:
        cursors = [await say(web, f"{n} " + "x" * 200) for n in range(300)]
        cursor, seen = "k3f9-1", []
        while cursor != cursors[-1]:
            answer = await poll(web, f"?after={cursor}&wait=0")
            assert answer["cursor"] != cursor
            cursor = answer["cursor"]
            seen += [frame["cursor"] for frame in answer["frames"]]
        assert seen == cursors
        hidden, polls = "k3f9-1", 0
        while hidden != cursor:
            answer = await poll(web, f"?after={hidden}&wait=0&topics=instances")
            assert (answer["frames"], hidden != answer["cursor"]) == ([], True)
            hidden, polls = answer["cursor"], polls + 1
        assert polls < 5


async def test_a_log_that_cannot_be_read_is_a_temporary_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site(Limits().with_values({"window": 1_000})) as web:
        for number in range(20):
            await say(web, f"{number} " + "x" * 200)

        async def broken(after: int, limit: int) -> list[StoredRecord]:
            raise LogUnavailableError(f"bad block after {after}, wanted {limit}")

        web.log.read = broken  # type: ignore[method-assign]
        response = await web.get("/v1/poll?after=k3f9-1")
        assert (response.status_code, response.json()["code"]) == (503, "unavailable")
        assert "retry-after" in response.headers
        assert "bad block" in caplog.text


async def test_polls_with_the_token_keep_its_participation_present_in_between(web: Site) -> None:
    joined = await web.command("join", ALEXANDRA, nickname="Alexandra")
    cursor = joined["cursor"]
    for _ in range(20):
        web.clock.advance(4)
        answer = await poll(web, f"?after={cursor}&wait=0", cloudchat_token=ALEXANDRA)
        assert types(answer) == []
    assert len(web.node.state.participants) == 1
    web.clock.advance(4)
    assert types(await poll(web, f"?after={cursor}&wait=0")) == []
    web.clock.advance(1)
    answer = await poll(web, f"?after={cursor}")
    assert answer["frames"][0]["type"] == "left"
    assert answer["frames"][0]["reason"] == "disconnected"


@pytest.mark.parametrize(("grace", "kept"), [(0, 5), (30, 30)])
async def test_a_poll_counts_as_open_for_the_longer_of_grace_and_five_seconds(
    grace: float, kept: int
) -> None:
    async with site(grace=grace) as web:
        cursor = (await web.command("join", ALEXANDRA, nickname="Alexandra"))["cursor"]
        web.clock.advance(14)
        await poll(web, f"?after={cursor}&wait=0", cloudchat_token=ALEXANDRA)
        web.clock.advance(kept - 1)
        await anyio.wait_all_tasks_blocked()
        assert types(await poll(web, f"?after={cursor}&wait=0")) == []
        web.clock.advance(1)
        assert types(await poll(web, f"?after={cursor}")) == ["left"]


async def test_a_poll_that_waits_is_a_feed_that_is_open(web: Site) -> None:
    cursor = (await web.command("join", ALEXANDRA, nickname="Alexandra"))["cursor"]
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: poll(web, f"?after={cursor}", cloudchat_token=ALEXANDRA))
        await waiting(web)
        for _ in range(10):
            web.clock.advance(10)
            await anyio.wait_all_tasks_blocked()
        assert len(web.node.state.participants) == 1
        await say(web, "enough")


async def test_a_join_by_post_lasts_until_the_first_poll(web: Site) -> None:
    cursor = (await web.command("join", ALEXANDRA, nickname="Alexandra"))["cursor"]
    web.clock.advance(14)
    assert types(await poll(web, f"?after={cursor}&wait=0")) == []
    web.clock.advance(1)
    assert types(await poll(web, f"?after={cursor}")) == ["left"]


async def test_one_poll_serves_several_participations(web: Site) -> None:
    await web.command("join", ALEXANDRA, nickname="Alexandra")
    cursor = (await web.command("join", BORIS, nickname="Boris"))["cursor"]
    both = f"{ALEXANDRA} , {BORIS},"
    for _ in range(5):
        web.clock.advance(4)
        await poll(web, f"?after={cursor}&wait=0", cloudchat_token=both)
    assert len(web.node.state.participants) == 2


async def test_a_poll_that_names_more_tokens_than_a_feed_serves_is_refused(web: Site) -> None:
    await web.command("join", ALEXANDRA, nickname="Alexandra")
    most = web.node.limits.tokens_per_feed
    tokens = ",".join([ALEXANDRA] * most)
    assert (await web.get("/v1/poll?wait=0", cloudchat_token=tokens)).status_code == 200
    refused = await web.get("/v1/poll?wait=0", cloudchat_token=f"{tokens},{ALEXANDRA}")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize("token", ["short", "x" * 129, "never-seen-before-by-us-1"])
async def test_a_token_that_is_malformed_or_unknown_is_refused(web: Site, token: str) -> None:
    response = await web.get("/v1/poll", cloudchat_token=token)
    assert (response.status_code, response.json()["code"]) == (401, "token_invalid")


async def test_a_ninth_poll_of_a_token_sends_the_oldest_away_for_a_while(web: Site) -> None:
    cursor = (await web.command("join", ALEXANDRA, nickname="Alexandra"))["cursor"]
    answers: list[dict[str, Any]] = []

    async def listen() -> None:
        answers.append(await poll(web, f"?after={cursor}", cloudchat_token=ALEXANDRA))

    async with anyio.create_task_group() as tasks:
        for count in range(1, 9):
            tasks.start_soon(listen)
            await waiting(web, count)
        tasks.start_soon(listen)
        while not answers:
            await anyio.lowlevel.checkpoint()
        assert types(answers[0]) == ["closing"]
        assert answers[0]["frames"][0]["retry_after"] >= 0.5
        assert answers[0]["cursor"] == cursor
        await say(web, "enough")
    assert [types(answer) for answer in answers[1:]] == [["message"]] * 8


async def test_polls_that_wait_are_told_that_the_server_goes_and_later_ones_to_come_back(
    web: Site,
) -> None:
    cursor = (await poll(web))["cursor"]
    answers: list[dict[str, Any]] = []

    async def listen() -> None:
        answers.append(await poll(web, f"?after={cursor}"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await waiting(web)
        web.app.wind_down()
    assert types(answers[0]) == ["closing"]
    assert answers[0]["cursor"] == cursor
    late = await web.get(f"/v1/poll?after={cursor}")
    assert (late.status_code, late.json()["code"]) == (503, "unavailable")
    assert "retry-after" in late.headers


async def test_a_client_that_is_gone_is_not_waited_for(web: Site) -> None:
    cursor = (await poll(web))["cursor"]
    gone = anyio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/poll",
        "query_string": f"after={cursor}".encode(),
        "headers": [(b"host", b"localhost")],
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(web.app, scope, receive, send)
        await waiting(web)
        gone.set()
    assert sent == []


async def test_a_query_that_cannot_be_served_is_refused(web: Site) -> None:
    for query, code in (
        ("topics=weather", "not_found"),
        ("workspace=other", "not_found"),
        ("after=" + "x" * 129, "bad_request"),
    ):
        answer = await ask(web.app, path="/v1/poll", query=query.encode())
        assert answer.code == code
