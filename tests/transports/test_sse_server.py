"""Event streams on our own port, byte for byte: what they say, whom they keep present, and how they end."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import h11
import msgspec
import pytest
import trio
from trio.testing import trio_test, wait_all_tasks_blocked

from cloudchat_core.limits import Limits
from cloudchat_core.rates import Rates
from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp
from cloudchat_transports.sse.parser import EventStreamParser, ServerEvent
from tests.specs.generated import CONTRACT
from tests.transports.support import TOKEN, Client, Server, connect, read_all, read_head, serving

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from trio.testing import MockClock

OTHER = "boris-has-this-token-2"


class Late:
    app: HttpApp

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


@asynccontextmanager
async def server(
    limits: Limits | None = None, access: Access | None = None, **options: Any
) -> AsyncIterator[tuple[Server, HttpApp]]:
    late = Late()
    async with serving(limits, app=late, **options) as running:
        late.app = HttpApp(running.node, access or Access(), rates=Rates(0, 1))
        yield running, late.app


class Stream:
    """An event stream as h11 and our parser read it; `types` and `ids` are of the events so far."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._h11 = h11.Connection(h11.CLIENT)
        self._parser = EventStreamParser(1_000_000)
        self._frames: list[dict[str, Any]] = []
        self.head: h11.Response
        self.raw = b""
        self.ids: list[str] = []
        self.over = False

    @classmethod
    async def open(
        cls, running: Server, query: str = "", method: str = "GET", buffer: int = 0, **headers: str
    ) -> Stream:
        stream = cls(await connect(running, buffer))
        await stream.ask(f"/v1/sse{query}", method, **headers)
        return stream

    async def ask(self, path: str, method: str = "GET", **headers: str) -> None:
        """Send a request and read the head of the answer."""
        if self._h11.our_state is not h11.IDLE:
            self._h11.start_next_cycle()
        self.over, self.raw = False, b""
        named = [("host", "localhost")]
        named += [(name.replace("_", "-"), value) for name, value in headers.items()]
        data = self._h11.send(h11.Request(method=method, target=path, headers=named))
        data += self._h11.send(h11.EndOfMessage())
        self.sock.sendall(data)
        while not isinstance(event := await self._event(), h11.Response):
            pass
        self.head = event

    def header(self, name: str) -> str:
        return dict(self.head.headers).get(name.encode(), b"").decode()

    async def _event(self) -> Any:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            try:
                self._h11.receive_data(self.sock.recv(65_536))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(self.sock)
        return event

    async def next(self) -> dict[str, Any]:
        """The next frame."""
        while not self._frames:
            event = await self._event()
            assert isinstance(event, h11.Data), event
            self.raw += event.data
            for each in self._parser.feed(bytes(event.data)):
                frame = msgspec.json.decode(each.data)
                assert frame["type"] == each.type
                CONTRACT.frame("sse", frame)
                self._frames.append(frame)
                self.ids.append(each.last_id)
        return self._frames.pop(0)

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        wanted = {"type": kind, **fields}
        while not wanted.items() <= (frame := await self.next()).items():
            pass
        return frame

    async def end(self) -> bytes:
        """Read on to the end of the answer; what was in it."""
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            assert isinstance(event, h11.Data), event
            self.raw += event.data
        return self.raw

    def vanish(self) -> None:
        self.sock.close()


async def post(running: Server, token: str = TOKEN, **command: Any) -> dict[str, Any]:
    sock = await connect(running)
    body = msgspec.json.encode({"id": "p1", **command})
    named = f"Cloudchat-Token: {token}\r\n" if token else ""
    sock.sendall(
        b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\n"
        + named.encode()
        + b"Content-Length: %d\r\n\r\n" % len(body)
        + body
    )
    head, _, answer = (await read_all(sock)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    reply: dict[str, Any] = msgspec.json.decode(answer)
    return reply


async def say(running: Server, text: str, number: int) -> str:
    reply = await post(running, OTHER, type="say", id=f"s{number}", nickname="bot", text=text)
    return str(reply["cursor"])


async def until(fact: Callable[[], bool], step: float = 0.005) -> None:
    while not fact():  # noqa: ASYNC110 - nobody tells
        await trio.sleep(step)


async def all_left(running: Server) -> float:
    """Let the time pass until nobody is there any more; the seconds that it took."""
    start = running.clock.now()
    while running.node.state.participants:
        running.clock.advance(1)
        await wait_all_tasks_blocked(0.01)
    return (running.clock.now() - start) / 1_000


@trio_test
async def test_a_stream_begins_at_once_with_retry_welcome_and_snapshot() -> None:
    async with server() as (running, _):
        stream = await Stream.open(running)
        assert stream.head.status_code == 200
        assert stream.header("content-type") == "text/event-stream"
        assert stream.header("cache-control") == "no-cache, no-transform"
        assert stream.header("x-accel-buffering") == "no"
        assert stream.header("transfer-encoding") == "chunked"
        assert (await stream.next())["type"] == "welcome"
        snapshot = await stream.next()
        assert snapshot["type"] == "snapshot"
        assert stream.ids == ["", snapshot["cursor"]]
        assert stream.raw.startswith(b"retry: 1000\n\nevent: welcome\ndata: {")
        cursor = await say(running, "hello", 1)
        message = await stream.next()
        assert (message["text"], message["cursor"]) == ("hello", cursor)
        assert stream.ids[-1] == cursor
        assert f"event: message\nid: {cursor}\ndata: {{".encode() in stream.raw


@trio_test
async def test_only_the_last_part_of_a_snapshot_moves_the_cursor() -> None:
    async with server(Limits().with_values({"text": 64, "frame": 4_352})) as (running, _):
        for number in range(60):
            await say(running, "x" * 64, number)
        stream = await Stream.open(running)
        await stream.next()
        parts = [await stream.next()]
        while parts[-1].get("more"):
            parts.append(await stream.next())
        assert len(parts) > 1
        assert len({part["cursor"] for part in parts}) == 1
        assert stream.ids == ["", *[""] * (len(parts) - 1), parts[-1]["cursor"]]
        assert sum(len(part.get("messages", [])) for part in parts) == 50


@trio_test
async def test_last_event_id_wins_over_after_and_what_cannot_be_served_is_said() -> None:
    async with server() as (running, _):
        cursors = [await say(running, str(number), number) for number in range(3)]
        stream = await Stream.open(running, f"?after={cursors[0]}", last_event_id=cursors[1])
        assert [(await stream.next())["type"] for _ in range(2)] == ["welcome", "message"]
        assert stream.ids == ["", cursors[2]]
        stream = await Stream.open(running, f"?after={cursors[1]}", last_event_id="")
        await stream.next()
        assert (await stream.next())["cursor"] == cursors[2]
        stream = await Stream.open(running, f"?after={cursors[1]}", last_event_id="what?")
        assert [(await stream.next())["type"] for _ in range(3)] == ["welcome", "gap", "snapshot"]
        assert stream.ids == ["", "", cursors[2]]
        stream = await Stream.open(running, last_event_id="x" * 129)
        assert stream.head.status_code == 400


@trio_test
async def test_heartbeats_say_the_streams_own_position_past_what_its_topics_hide(
    autojump_clock: MockClock,
) -> None:
    async with server(heartbeat=15, patience=600) as (running, _):
        stream = await Stream.open(running, "?topics=instances")
        await stream.next()
        assert (await stream.next())["cursor"] == "k3f9-1"
        start = trio.current_time()
        beat = await stream.next()
        assert (beat["type"], beat["cursor"]) == ("heartbeat", "k3f9-1")
        assert trio.current_time() - start <= 15
        cursor = await say(running, "not for you", 1)
        assert (await stream.next())["cursor"] == cursor
        assert stream.ids == ["", "k3f9-1", "k3f9-1", cursor]


@trio_test
async def test_head_has_the_head_alone_and_the_connection_goes_on() -> None:
    async with server() as (running, _):
        stream = await Stream.open(running, method="HEAD")
        assert stream.header("content-type") == "text/event-stream"
        assert await stream.end() == b""
        await stream.ask("/v1/sse")
        assert (await stream.next())["type"] == "welcome"
        await until(lambda: running.fanout.followers == 1)


@trio_test
async def test_http_1_0_gets_the_same_stream_without_chunks() -> None:
    async with server() as (running, _):
        sock = await connect(running)
        sock.sendall(b"GET /v1/sse HTTP/1.0\r\nHost: localhost\r\n\r\n")
        head = await read_head(sock)
        assert b"200" in head.splitlines()[0]
        assert b"transfer-encoding" not in head.lower()
        parser = EventStreamParser(1_000_000)
        events: list[ServerEvent] = []
        said = False
        while not any(event.type == "message" for event in events):
            if len(events) >= 2 and not said:
                said = bool(await say(running, "hello", 1))
            with suppress(BlockingIOError):
                events += parser.feed(sock.recv(65_536))
                continue
            await trio.lowlevel.wait_readable(sock)
        assert [event.type for event in events] == ["welcome", "snapshot", "message"]


@trio_test
async def test_a_ninth_stream_ends_the_oldest_in_order_and_its_connection_is_used_again() -> None:
    async with server() as (running, _):
        await post(running, type="join", nickname="Alexandra")
        streams = [
            await Stream.open(running, "?after=k3f9-2", cloudchat_token=TOKEN) for _ in range(9)
        ]
        for stream in streams:
            await stream.until("welcome")
        closing = await streams[0].until("closing")
        assert 0.5 <= closing["retry_after"] <= 5
        await streams[0].end()
        await streams[0].ask("/v1/participants")
        assert b"Alexandra" in await streams[0].end()
        await streams[0].ask("/v1/sse?after=k3f9-2")
        cursor = await say(running, "to all", 1)
        for stream in (streams[0], *streams[2:]):
            assert (await stream.until("message"))["cursor"] == cursor


@trio_test
async def test_a_stream_keeps_the_participations_of_its_tokens_present_until_it_is_gone() -> None:
    async with server() as (running, _), Watcher(running) as watcher:
        for token, name in ((TOKEN, "Alexandra"), (OTHER, "Boris")):
            await post(running, token, type="join", nickname=name)
        stream = await Stream.open(running, cloudchat_token=f"{TOKEN}, {OTHER}")
        await stream.until("snapshot")
        for _ in range(10):
            running.clock.advance(10)
            await wait_all_tasks_blocked(0.01)
        assert len(running.node.state.participants) == 2
        stream.vanish()
        await until(lambda: running.fanout.followers == 1)  # the watcher
        assert 5 <= await all_left(running) <= 7
        left = {(await watcher.until("left"))["nickname"] for _ in range(2)}
        assert left == {"Alexandra", "Boris"}


@trio_test
async def test_an_event_source_takes_part_through_the_name_of_its_feed() -> None:
    async with server() as (running, _), Watcher(running) as watcher:
        stream = await Stream.open(running)
        feed = (await stream.next())["feed"]
        await post(running, type="join", nickname="Alexandra", feed=feed)
        assert (await stream.until("joined"))["nickname"] == "Alexandra"
        running.clock.advance(60)
        await wait_all_tasks_blocked(0.01)
        assert len(running.node.state.participants) == 1
        stream.vanish()
        await until(lambda: running.fanout.followers == 1)  # the watcher
        assert 5 <= await all_left(running) <= 7
        assert (await watcher.until("left"))["reason"] == "disconnected"


@pytest.mark.parametrize("token", ["short", "x" * 129, "never-seen-before-by-us-1", f"{TOKEN},-"])
@trio_test
async def test_a_token_that_is_malformed_or_unknown_is_refused(token: str) -> None:
    async with server() as (running, _):
        await post(running, type="join", nickname="Alexandra")
        stream = await Stream.open(running, cloudchat_token=token)
        assert stream.head.status_code == 401
        assert b'"token_invalid"' in await stream.end()


class Watcher:
    """A WebSocket that sees everything."""

    def __init__(self, running: Server) -> None:
        self._running = running

    async def __aenter__(self) -> Client:
        client = await Client.open(self._running)
        await client.until("snapshot")
        return client

    async def __aexit__(self, *_: object) -> None:
        pass


@trio_test
async def test_a_client_that_asked_for_more_and_is_gone_is_noticed(
    autojump_clock: MockClock,
) -> None:
    """Behind a request that waits its turn nobody reads from the connection."""
    async with server(heartbeat=15, patience=600) as (running, _):
        stream = await Stream.open(running)
        await stream.until("snapshot")
        stream.sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_all_tasks_blocked(0.05)
        stream.vanish()
        await until(lambda: running.listener.connections == 0, 1)


@trio_test
async def test_a_client_that_takes_nothing_for_two_heartbeats_is_lost() -> None:
    """So is one that vanished without a word: to the kernel both look the same."""
    async with server(heartbeat=0.5, send_buffer=4_096) as (running, _):
        stream = await Stream.open(running, buffer=4_096)
        await stream.until("snapshot")
        for number in range(40):
            await say(running, "x" * 4_000, number)
        await until(lambda: running.fanout.followers == 0)
        stream.vanish()


@trio_test
async def test_a_slow_reader_gets_whole_events_in_order_and_then_the_end() -> None:
    async with server(send_buffer=4_096) as (running, app):
        stream = await Stream.open(running, buffer=4_096)
        await stream.until("snapshot")
        quick = await Stream.open(running)
        cursors = [await say(running, f"{n} " + "x" * 3_000, n) for n in range(100)]
        assert (await quick.until("message", cursor=cursors[-1]))["text"].startswith("99 ")
        app.wind_down()
        seen = []
        while (frame := await stream.next())["type"] != "closing":
            seen.append(frame["cursor"])
        await stream.end()
        assert seen
        assert seen == cursors[: len(seen)]


@trio_test
async def test_events_that_come_while_the_snapshot_is_still_on_its_way_follow_it() -> None:
    async with server(send_buffer=4_096) as (running, _):
        for number in range(50):
            await say(running, "x" * 4_000, number)
        stream = await Stream.open(running, buffer=4_096)
        cursors = [await say(running, f"{n}", n) for n in range(100, 110)]
        while (await stream.until("snapshot")).get("more"):
            pass
        shown = [await stream.next() for _ in range(10)]
        assert [frame["cursor"] for frame in shown] == cursors


@trio_test
async def test_who_fell_out_of_the_window_is_served_from_the_log() -> None:
    async with server(Limits().with_values({"window": 10_000})) as (running, _):
        cursors = [await say(running, f"{n} " + "x" * 1_000, n) for n in range(300)]
        stream = await Stream.open(running, "?after=k3f9-1")
        assert (await stream.next())["type"] == "welcome"
        assert [(await stream.next())["cursor"] for _ in range(300)] == cursors
        assert (await say(running, "live", 300)) == (await stream.next())["cursor"]


@trio_test
async def test_who_comes_by_later_does_not_read_what_was_taken_back() -> None:
    async with server() as (running, _):
        await post(running, type="join", nickname="Alexandra")
        secret = await post(running, type="say", id="s1", text="my password")
        await post(running, type="redact", id="r1", message=secret["cursor"])
        stream = await Stream.open(running, "?after=k3f9-1")
        message = await stream.until("message")
        assert (message["text"], message["redacted"]) == ("", True)
        assert (await stream.until("redacted"))["message"] == secret["cursor"]
        assert b"password" not in stream.raw


@trio_test
async def test_a_reader_that_takes_nothing_is_let_go_of(autojump_clock: MockClock) -> None:
    limits = Limits().with_values({"stalled": 20})
    async with server(limits, send_buffer=4_096, heartbeat=15, patience=600) as (running, _):
        stalled = await Stream.open(running, buffer=4_096)
        for number in range(40):
            await say(running, "x" * 4_000, number)
        await until(lambda: running.fanout.followers == 0, 1)
        stalled.vanish()


@trio_test
async def test_pages_of_allowed_origins_may_read_streams_and_no_others() -> None:
    access = Access(allow_origins=["https://app.example.org"])
    async with server(access=access) as (running, _):
        stream = await Stream.open(running, origin="https://app.example.org")
        assert stream.head.status_code == 200
        assert stream.header("access-control-allow-origin") == "https://app.example.org"
        assert "Origin" in stream.header("vary")
        assert (await stream.next())["type"] == "welcome"
        evil = await Stream.open(running, origin="https://evil.example")
        assert evil.head.status_code == 403
        asked = await Stream.open(
            running,
            method="OPTIONS",
            origin="https://app.example.org",
            access_control_request_method="GET",
        )
        allowed = asked.header("access-control-allow-headers")
        assert {"Cloudchat-Token", "Last-Event-ID"} <= set(allowed.split(", "))


@trio_test
async def test_who_is_too_fast_is_told_so_in_the_words_of_a_stream() -> None:
    limits = Limits().with_values({"requests_per_second": 0.01, "requests_burst": 1})
    async with server(limits) as (running, _):
        stream = await Stream.open(running)
        await stream.until("snapshot")
        later = await Stream.open(running)
        assert later.head.status_code == 200
        closing = await later.next()
        assert closing["type"] == "closing"
        seconds = closing["retry_after"]
        assert (await later.end()).startswith(f"retry: {seconds * 1000}\n\n".encode())


@trio_test
async def test_no_stream_begins_while_the_server_goes() -> None:
    async with server() as (running, app):
        first = await Stream.open(running)
        await first.until("snapshot")
        app.wind_down()
        await first.until("closing")
        await first.end()
        await first.ask("/v1/sse")
        assert first.head.status_code == 200
        assert (await first.next())["type"] == "closing"
        await first.end()
