"""The client over all transports: the same sessions, under several servers, on asyncio and on Trio."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest

from cloudchat_core.client_session import Snapshot
from cloudchat_core.events import Created, Joined, Left, Message, Received
from cloudchat_core.frames import Gap, Welcome
from cloudchat_core.limits import Limits
from cloudchat_transports.client import Client, CommandRefusedError, Disconnected
from cloudchat_transports.client_transport import RejectedError, UnreachableError
from cloudchat_transports.poll.client import PollTransport
from cloudchat_transports.sse.client import SseTransport
from cloudchat_transports.ws.client import WebSocketTransport
from tests.transports.stock import (
    Recorder,
    hypercorn_serves,
    line,
    listener_serves,
    quiet,
    uvicorn_serves,
)
from tests.transports.web import ALEXANDRA, Site, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

TRANSPORTS: dict[str, type[WebSocketTransport | SseTransport | PollTransport]] = {
    "ws": WebSocketTransport,
    "sse": SseTransport,
    "poll": PollTransport,
}
SERVERS: dict[str, Any] = {
    "hypercorn": hypercorn_serves,
    "listener": listener_serves,
    "uvicorn": uvicorn_serves,
}


class World:
    """A server under test, and clients of it over one transport."""

    def __init__(self, web: Site, recorder: Recorder, port: int, transport: str) -> None:
        self.web, self.recorder, self.port = web, recorder, port
        self.kind = TRANSPORTS[transport]
        self.path = f"/v1/{transport}"

    def client(self, *, port: int = 0, path: str = "", **options: Any) -> Client:
        transport = self.kind(f"http://127.0.0.1:{port or self.port}{path}")
        return Client(transport, jitter=lambda: 0, **options)

    async def present(self) -> list[str]:
        return [one["nickname"] for one in (await self.web.get("/v1/participants")).json()]


@asynccontextmanager
async def world(server: str, transport: str, **options: Any) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        web = await stack.enter_async_context(site(**options))
        recorder = Recorder(web.app)
        port = await stack.enter_async_context(SERVERS[server](recorder, web.node))
        stack.callback(web.app.wind_down)
        with anyio.fail_after(30):
            yield World(web, recorder, port, transport)


@pytest.fixture(params=["stock", "special"])
def server(request: pytest.FixtureRequest, anyio_backend_name: str) -> str:
    return _server(request.param, anyio_backend_name)


def _server(kind: str, backend: str) -> str:
    """Hypercorn runs on both; our own listener on Trio alone, uvicorn on asyncio alone."""
    if kind == "stock":
        return "hypercorn"
    return "listener" if backend == "trio" else "uvicorn"


@pytest.fixture(params=["sse", "poll"])
def transport(request: pytest.FixtureRequest) -> str:
    """Those over HTTP."""
    name: str = request.param
    return name


@pytest.fixture(
    params=[
        *(("stock", name) for name in ("sse", "poll")),
        # Hypercorn tells no application with which code a WebSocket was closed.
        *(("special", name) for name in TRANSPORTS),
    ],
    ids="-".join,
)
def place(request: pytest.FixtureRequest, anyio_backend_name: str) -> tuple[str, str]:
    """A server, and a transport."""
    server, transport = request.param
    return _server(server, anyio_backend_name), transport


async def until(client: Client, kind: type[Any], **fields: Any) -> Any:
    """The next item of a kind with these fields."""
    async for item in client:
        if isinstance(item, kind) and all(getattr(item, k) == v for k, v in fields.items()):
            return item
    raise AssertionError("a client's items have no end")


async def test_two_join_say_and_leave_at_once(place: tuple[str, str]) -> None:
    async with world(*place) as it, it.client() as watcher:
        async with it.client(nickname="Ann") as ann, it.client(nickname="Bob") as bob:
            assert (ann.nickname, bob.nickname) == ("Ann", "Bob")
            ack = await ann.say("hello")
            message = await until(bob, Message)
            assert (message.nickname, message.text, message.cursor) == ("Ann", "hello", ack.cursor)
            with pytest.raises(CommandRefusedError) as caught:
                await bob.join("Ann")
            assert caught.value.code == "nickname_taken"
        assert (await until(watcher, Left)).reason == "left"
        assert (await until(watcher, Left)).reason == "left"
        assert await it.present() == []


async def test_who_has_joined_may_speak_under_a_free_nickname_and_who_has_not_under_none(
    place: tuple[str, str],
) -> None:
    async with (
        world(*place) as it,
        it.client(nickname="Alexandra") as one,
        it.client() as other,
    ):
        await one.say("hello", nickname="Bot")
        assert (await until(other, Message)).nickname == "Bot"
        for nickname in (None, "Bot"):
            with pytest.raises(CommandRefusedError) as refused:
                await other.say("hello", nickname=nickname)
            assert refused.value.code == "not_joined"


async def test_without_a_nickname_instances_are_operated_and_followed(
    place: tuple[str, str],
) -> None:
    async with (
        world(*place) as it,
        it.client(topics=["instances"]) as client,
    ):
        assert isinstance(await anext(client), Welcome)
        assert isinstance(await anext(client), Snapshot)
        ack = await client.create("web-1")
        received = await until(client, Received)
        assert received.cursor == ack.cursor
        it.web.clock.advance(20)
        assert (await until(client, Created)).operation.id == received.operation.id


async def test_a_feed_goes_on_after_a_cursor_without_a_snapshot(place: tuple[str, str]) -> None:
    async with world(*place) as it:
        async with it.client(nickname="Ann") as ann:
            first = await ann.say("1")
            await ann.say("2")
            async with it.client(after=first.cursor) as late:
                assert isinstance(await anext(late), Welcome)
                item = await anext(late)
                assert isinstance(item, Message)
                assert item.text == "2"
        async with it.client(after="other-7") as lost:
            assert isinstance(await anext(lost), Welcome)
            item = await anext(lost)
            assert isinstance(item, Gap)
            assert item.reason == "epoch"
            assert isinstance(await anext(lost), Snapshot)


async def test_the_token_goes_in_a_header_and_into_no_address(server: str, transport: str) -> None:
    async with (
        world(server, transport) as it,
        it.client(nickname="Ann", token=ALEXANDRA) as ann,
    ):
        await ann.say("hello")
        await it.recorder.seen("/v1/commands", cloudchat_token=ALEXANDRA)
        if transport == "poll":
            await it.recorder.seen("/v1/poll", cloudchat_token=ALEXANDRA)
        for request in it.recorder.requests:
            assert ALEXANDRA.encode() not in request["query_string"]


async def test_who_only_listens_stays_present(place: tuple[str, str]) -> None:
    async with world(*place) as it, it.client() as watcher:
        # Nothing comes that would wake a poll: the one that waited when the join was answered is asked again at once.
        async with it.client(nickname="Ann", token=ALEXANDRA, topics=["instances"]):
            if place[1] == "poll":
                await it.recorder.seen("/v1/poll", cloudchat_token=ALEXANDRA)
            for _ in range(10):
                it.web.clock.advance(10)
                await quiet()
            assert await it.present() == ["Ann"]
        await until(watcher, Left, reason="left")


async def test_many_commands_at_once_are_done_once_each_and_in_order(
    place: tuple[str, str],
) -> None:
    async with (
        world(*place) as it,
        it.client() as watcher,
        it.client(nickname="Ann") as ann,
    ):
        async with anyio.create_task_group() as tasks:
            for number in range(90):
                tasks.start_soon(ann.say, str(number))
        texts = [(await until(watcher, Message)).text for _ in range(90)]
        assert sorted(texts, key=int) == [str(number) for number in range(90)]
        posts = [one for one in it.recorder.requests if one["path"] == "/v1/commands"]
        assert len(posts) < 45  # what waits together goes together
        assert bool(posts) is (place[1] != "ws")


async def test_cuts_in_the_middle_of_traffic_lose_and_double_nothing(
    place: tuple[str, str],
) -> None:
    async with (
        world(*place) as it,
        line(it.port) as wire,
        it.client() as watcher,
        it.client(port=wire.port, nickname="Ann") as ann,
    ):
        seen: list[str] = []
        written: list[str] = []

        async def read() -> None:
            async for item in ann:
                if isinstance(item, Message):
                    seen.append(item.text)
                    if item.text == "29":
                        return
                elif isinstance(item, Disconnected):
                    assert item.retry_in <= 5

        async def cut() -> None:
            while True:
                await until(watcher, Message)
                wire.cut()
                for _ in range(5):
                    await until(watcher, Message)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cut)
            async with anyio.create_task_group() as both:
                both.start_soon(read)
                for number in range(30):
                    await ann.say(str(number))
                    written.append(str(number))
            tasks.cancel_scope.cancel()
        assert seen == written
        assert wire.cuts >= 3
        stored = (await it.web.get("/v1/messages?limit=200")).json()["items"]
        assert [one["text"] for one in reversed(stored)] == written


async def test_the_server_tells_when_to_come_back(server: str, transport: str) -> None:
    async with world(server, transport) as it, it.client() as client:
        await until(client, Snapshot)
        if transport == "poll":
            while len(it.recorder.requests) < 2:
                it.recorder.news = anyio.Event()
                await it.recorder.news.wait()
            await quiet()
        it.web.app.wind_down()
        gone = await until(client, Disconnected)
        assert 0.5 <= gone.retry_in <= 5
        assert gone.why == "the server restarts"


async def test_a_server_that_is_below_a_path_is_reached(transport: str) -> None:
    async with world("hypercorn", transport, root_path="") as it:

        async def mounted(scope: Any, receive: Any, send: Any) -> None:
            await it.web.app({**scope, "root_path": "/chat"}, receive, send)

        async with (
            hypercorn_serves(mounted) as port,
            it.client(port=port, path="/chat/", nickname="Ann") as ann,
        ):
            await ann.say("hello")


async def test_who_cannot_be_reached_is_named_with_the_reason(transport: str) -> None:
    with pytest.raises(UnreachableError, match=r"http://127\.0\.0\.1:1: Connection refused"):
        async with TRANSPORTS[transport]("http://127.0.0.1:1").connect("", ()):
            raise AssertionError("nobody listens there")
    with pytest.raises(ValueError, match="no address"):
        TRANSPORTS[transport]("chat.example.org")


@pytest.mark.parametrize(
    ("status", "body", "headers", "retry_after"),
    [
        (404, {"code": "not_found", "detail": "switched off"}, [], None),
        (403, {"code": "forbidden", "detail": "not from there"}, [], None),
        (503, "busy", [(b"retry-after", b"7")], 7),
        (429, {"code": "rate_limited", "detail": "slow", "retry_after": 2.5}, [], 2.5),
        (502, "<html>", [], None),
    ],
)
async def test_a_feed_that_is_refused_is_told_with_the_reason(
    transport: str, status: int, body: Any, headers: Any, retry_after: float | None
) -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})

    async with hypercorn_serves(refuse) as port:
        with pytest.raises(RejectedError) as caught:
            async with TRANSPORTS[transport](f"http://127.0.0.1:{port}").connect("", ()):
                raise AssertionError("it was refused")
    assert caught.value.status == status
    assert caught.value.retry_after == retry_after
    assert str(caught.value) == (
        body["detail"]
        if isinstance(body, dict)
        else f"the server answered with HTTP status {status}"
    )


async def test_what_is_no_cloudchat_server_is_not_taken_for_one(transport: str) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        headers = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"<h1>Welcome to nginx!</h1>"})

    async with hypercorn_serves(page) as port:
        with pytest.raises(UnreachableError, match="no cloudchat server"):
            async with TRANSPORTS[transport](f"http://127.0.0.1:{port}").connect("", ()):
                raise AssertionError("it is somebody else")


async def test_a_server_that_is_too_busy_asks_a_stream_to_come_back_later() -> None:
    limits = Limits(requests_per_second=0.01, requests_burst=1)
    async with world("hypercorn", "sse", limits=limits) as it:
        url = f"http://127.0.0.1:{it.port}"
        async with httpx.AsyncClient(base_url=url) as other:
            assert (await other.get("/v1/participants")).status_code == 200
        with pytest.raises(RejectedError) as caught:
            async with SseTransport(url).connect("", ()):
                raise AssertionError("it was refused")
        assert caught.value.retry_after
        assert not caught.value.final


async def test_a_request_that_is_refused_as_a_whole_refuses_each_of_its_commands(
    server: str, transport: str
) -> None:
    async with world(server, transport, limits=Limits(body=1_000)) as it, it.client() as client:
        await until(client, Snapshot)
        with pytest.raises(CommandRefusedError) as caught:
            await client.create("x" * 2_000)
        assert caught.value.code == "too_large"
        assert (await client.ping()).cursor


async def test_joining_again_after_a_cut_makes_no_pair_of_left_and_joined(
    place: tuple[str, str],
) -> None:
    async with (
        world(*place) as it,
        line(it.port) as wire,
        it.client() as watcher,
        it.client(port=wire.port, nickname="Ann") as ann,
    ):
        await until(watcher, Joined)
        for number in range(3):
            wire.cut()
            await until(ann, Disconnected)
            await until(ann, Welcome)
            await ann.say(str(number))
        items = [await anext(watcher) for _ in range(3)]
        assert [type(item) for item in items] == [Message, Message, Message]


async def test_who_vanishes_leaves_when_the_grace_is_over(place: tuple[str, str]) -> None:
    async with (
        world(*place) as it,
        it.client() as watcher,
        anyio.create_task_group() as tasks,
    ):
        ann = it.client(nickname="Ann")
        async with ann:
            await ann.aclose(1001)

        async def time() -> None:
            while True:
                it.web.clock.advance(1)
                await anyio.sleep(0.01)

        tasks.start_soon(time)
        assert (await until(watcher, Left)).reason == "disconnected"
        tasks.cancel_scope.cancel()


async def test_a_feed_that_is_silent_says_its_own_position_past_what_it_hides(
    place: tuple[str, str],
) -> None:
    async with world(*place, heartbeat=0.3) as it:
        transport = it.kind(f"http://127.0.0.1:{it.port}")
        async with transport.connect("", ["instances"]) as connection:
            frames: list[dict[str, Any]] = []

            async def read(kind: str, cursor: str | None = None) -> dict[str, Any]:
                while True:
                    data = await connection.receive()
                    assert data is not None, frames
                    frames.append(json.loads(data))
                    found = frames[-1]
                    if found["type"] == kind and cursor in {None, found["cursor"]}:
                        return found

            start = await read("snapshot")
            await read("heartbeat", start["cursor"])
            hidden = await it.web.command("join", ALEXANDRA, nickname="Alexandra")
            await read("heartbeat", hidden["cursor"])
            assert {frame["type"] for frame in frames} == {"welcome", "snapshot", "heartbeat"}
