"""One participation moves between transports, up and down, and nobody notices but by its speed."""

from __future__ import annotations

import random
import uuid
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

import anyio
import pytest
import trio
import trio.testing
from trio.testing import MockClock

from cloudchat_core.client_session import ClientSession, Uncertain, decode_frame
from cloudchat_core.clock import SystemClock
from cloudchat_core.codec import encode
from cloudchat_core.events import TOPICS, Event, Left, Message
from cloudchat_core.frames import Welcome, WireLimits
from cloudchat_core.limits import Limits
from cloudchat_core.mirror import Mirror
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports.access import Access
from cloudchat_transports.client import (
    BACKLOG,
    Client,
    ConnectionEndedError,
    Disconnected,
    Item,
    NicknameLost,
)
from cloudchat_transports.client_transport import UnreachableError
from cloudchat_transports.http import HttpApp
from cloudchat_transports.links import LONGEST_WAIT, Links
from cloudchat_transports.poll.client import PollTransport
from cloudchat_transports.sse.client import SseTransport
from cloudchat_transports.ws.client import WebSocketTransport
from tests.transports.stock import listener_serves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from cloudchat_core.client_session import Frame
    from cloudchat_engine.ports import Log
    from cloudchat_transports.client_transport import Connection, Transport

pytestmark = pytest.mark.anyio


@pytest.fixture(name="anyio_backend")
def on_trio() -> str:
    """The listener is Trio's."""
    return "trio"


FREE = Limits(
    commands_per_second=0, requests_per_second=0
)  # what is shown here is not how fast somebody may be


class Gate:
    """A transport that can be shut: then its connections are cut, and no new one is had."""

    def __init__(self, inner: Transport) -> None:
        self.open, self.opened = True, 0
        self._inner = inner
        self._connections: set[_Cuttable] = set()

    def cut(self) -> None:
        """Break all that is open, without a word."""
        for connection in self._connections:
            connection.cut()

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        if not self.open:
            await trio.lowlevel.checkpoint()
            raise UnreachableError("the gate is shut")
        async with self._inner.connect(after, topics) as inner:
            if not self.open:
                raise UnreachableError("the gate was shut meanwhile")
            self.opened += 1
            connection = _Cuttable(inner)
            self._connections.add(connection)
            try:
                yield connection
            finally:
                self._connections.discard(connection)


class _Cuttable:
    """A connection that can be broken from outside."""

    def __init__(self, inner: Connection) -> None:
        self._inner, self._broken, self._receiving = inner, False, trio.CancelScope()

    @property
    def close_code(self) -> int:
        return 1006 if self._broken else self._inner.close_code

    def cut(self) -> None:
        self._broken = True
        self._receiving.cancel()

    async def receive(self) -> str | None:
        if not self._broken:
            with trio.CancelScope() as self._receiving:
                return await self._inner.receive()
        await trio.lowlevel.checkpoint()
        return None

    async def send(self, frame: bytes) -> None:
        if not self._broken:
            await self._inner.send(frame)

    async def close(self, code: int) -> None:
        if not self._broken:
            await self._inner.close(code)


@asynccontextmanager
async def running(log: Log | None = None, grace: float = 60) -> AsyncIterator[Node]:
    """A node that runs, in real time; who comes back may take as long as a busy machine makes it."""
    clock, ids = SystemClock(), count()
    timer = SystemTimer(clock)
    node = Node(
        log or MemoryLog(),
        SimulatedProvider(timer, 0),
        clock=clock,
        timer=timer,
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        new_epoch=lambda: "e1",
        limits=FREE,
        grace=grace,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        yield node
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def world(
    transports: Collection[str] = ("ws", "sse", "poll"),
) -> AsyncIterator[tuple[Node, str]]:
    """A server on real sockets: its node, and its URL."""
    async with running() as node:
        app = HttpApp(node, Access(), transports=transports)
        async with listener_serves(app, node, transports) as port:
            yield node, f"http://127.0.0.1:{port}"


class Ws(Gate):
    """The best way."""


class Sse(Gate):
    """The second best."""


class Poll(Gate):
    """The last."""


def gates(url: str) -> list[Gate]:
    return [Ws(WebSocketTransport(url)), Sse(SseTransport(url)), Poll(PollTransport(url))]


class Reader:
    """Folds what a client is told, and holds it to the protocol: nothing twice, nothing out of order."""

    def __init__(self, client: Client) -> None:
        self.client, self.mirror, self.seen = client, Mirror(), 0
        self.said: list[str] = []
        self.left: list[str] = []
        self._news = trio.Event()

    async def run(self) -> None:
        async for item in self.client:
            if isinstance(item, Event):
                offset = int(item.cursor.rpartition("-")[2])
                assert offset > self.seen, "an event came twice, or late"
                self.seen = offset
                if isinstance(item, Message):
                    self.said.append(item.text)
                elif isinstance(item, Left):
                    self.left.append(item.nickname)
            if not isinstance(item, (Disconnected, NicknameLost, Uncertain)):
                self.mirror.apply(item)
            self._news.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something is so; looked at after each item that is told."""
        while not fact():
            self._news = trio.Event()
            await self._news.wait()


def fresh(node: Node) -> Mirror:
    mirror = Mirror()
    for data in node.snapshot(frozenset(TOPICS)):
        mirror.apply(decode_frame(data))
    return mirror


async def test_two_hundred_moves_in_the_middle_of_traffic_lose_and_double_nothing() -> None:
    chance = random.Random(7)
    async with world() as (node, url), trio.open_nursery() as nursery:
        ways = gates(url)
        with trio.fail_after(60):
            async with (
                Client(ways, nickname="Alexandra", climb=0.1, jitter=lambda: -0.95) as mover,
                Client(url, nickname="Bert", transport="ws") as talker,
            ):
                reader = Reader(mover)
                nursery.start_soon(reader.run)
                here, said = 0, 0
                for _ in range(200):
                    there = chance.choice([level for level in range(3) if level != here])
                    nursery.start_soon(mover.say, f"mover {said}")
                    await talker.say(f"talker {said}")
                    for level, way in enumerate(ways):
                        way.open = level >= there
                    if there > here or chance.random() < 0.3:
                        ways[here].cut()
                    here, said = there, said + 1
                    name = type(ways[there]).__name__
                    await reader.until(lambda: mover.connected and mover.transport == name)  # noqa: B023
                await reader.until(lambda: len(reader.said) == 2 * said)
                assert reader.left == []
                assert sorted(reader.said) == sorted(
                    [f"{who} {n}" for who in ("mover", "talker") for n in range(said)]
                )
                assert [t for t in reader.said if t.startswith("talker")] == [
                    f"talker {n}" for n in range(said)
                ]
                assert reader.mirror.snapshot() == fresh(node).snapshot()
                assert all(way.opened > 20 for way in ways)
                nursery.cancel_scope.cancel()


class Busy(Gate):
    """A gate behind which every frame comes just when there is something to say."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.open = False
        self.wake: Callable[[], None] = lambda: None

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        async with super().connect(after, topics) as inner:
            yield _Waking(inner, self.wake)


class _Waking(_Cuttable):
    def __init__(self, inner: Connection, wake: Callable[[], None]) -> None:
        super().__init__(inner)
        self._wake = wake

    async def receive(self) -> str | None:
        data = await super().receive()
        self._wake()
        return data


async def test_what_is_to_be_said_when_a_link_takes_over_is_said_on_the_new_one() -> None:
    async with world() as (_, url), anyio.create_task_group() as tasks:
        session = ClientSession(lambda: str(uuid.uuid4()), token="t" * 30)
        session.join("Alexandra")
        best, news = Busy(WebSocketTransport(url)), trio.Event()

        def take(frame: Frame) -> None:
            session.receive(frame)
            news.set()

        links = Links(
            [best, SseTransport(url)],
            session,
            (),
            take=take,
            room=trio.lowlevel.checkpoint,
            jitter=lambda: -0.95,
            climb=0.1,
        )
        best.wake = links.wake
        tasks.start_soon(partial(links.run, tasks, patient=True, tell=lambda _: None))
        with trio.fail_after(30):
            # Which task goes first is chance, on Trio: so it is tried again and again.
            for _ in range(10):
                for level in (1, 0):
                    while not (session.joined and links.level == level):
                        news = trio.Event()
                        await news.wait()
                    best.open = level == 1
                best.cut()
        tasks.cancel_scope.cancel()


class Proxy:
    """Something in between that means well: `mood` says what it does to connections whose first request is known."""

    def __init__(self, target: int, mood: Callable[[bytes], str]) -> None:
        self.mood, self.port = mood, 0
        self._target = target
        self._open: set[trio.CancelScope] = set()

    def cut(self) -> None:
        for scope in tuple(self._open):
            scope.cancel()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Pass on bytes both ways (`pass`), refuse (`refuse`), or keep what the server answers (`hold`)."""
        with trio.CancelScope() as scope, suppress(trio.BrokenResourceError):
            self._open.add(scope)
            try:
                async with stream, await trio.open_tcp_stream("127.0.0.1", self._target) as other:
                    head = await stream.receive_some()
                    mood = self.mood(head)
                    if mood == "refuse":
                        await stream.send_all(
                            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n"
                            b"Connection: close\r\n\r\n"
                        )
                        return
                    await other.send_all(head)
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._carry, stream, other, nursery.cancel_scope)
                        await self._carry(
                            other, None if mood == "hold" else stream, nursery.cancel_scope
                        )
            finally:
                self._open.discard(scope)

    async def _carry(
        self, source: trio.SocketStream, target: trio.SocketStream | None, both: trio.CancelScope
    ) -> None:
        with suppress(trio.BrokenResourceError):
            async for data in source:
                if target is not None:
                    await target.send_all(data)
        both.cancel()


@asynccontextmanager
async def behind(url: str, mood: Callable[[bytes], str]) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy in front of the server at `url`, and its own URL."""
    proxy = Proxy(int(url.rpartition(":")[2]), mood)
    async with trio.open_nursery() as nursery:
        (listening,) = await nursery.start(
            partial(trio.serve_tcp, host="127.0.0.1"), proxy.serve, 0
        )
        yield proxy, f"http://127.0.0.1:{listening.socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def is_upgrade(head: bytes) -> bool:
    return b"upgrade: websocket" in head.lower()


def is_stream(head: bytes) -> bool:
    return head.startswith(b"GET /v1/sse")


async def test_a_proxy_that_refuses_upgrades_is_got_around_until_it_lets_them_through() -> None:
    refusing = True
    async with (
        world() as (_, url),
        behind(url, lambda head: "refuse" if refusing and is_upgrade(head) else "pass") as (_, way),
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(30):
            async with Client(way, nickname="Alexandra", climb=0.05) as client:
                reader = Reader(client)
                nursery.start_soon(reader.run)
                assert client.transport == "sse"
                await client.say("by stream")
                refusing = False
                await reader.until(lambda: client.transport == "ws")
                await client.say("by WebSocket")
                await reader.until(lambda: reader.said == ["by stream", "by WebSocket"])
                assert reader.left == []
                nursery.cancel_scope.cancel()


async def test_a_proxy_that_keeps_streams_to_itself_is_got_around_by_polls() -> None:
    def mood(head: bytes) -> str:
        return "hold" if is_upgrade(head) or is_stream(head) else "pass"

    async with world() as (_, url), behind(url, mood) as (_, way):
        with trio.fail_after(45):
            async with Client(way, nickname="Alexandra", climb=60) as client:
                assert client.transport == "poll"
                await client.say("by poll")
                async for item in client:
                    if isinstance(item, Message):
                        assert item.text == "by poll"
                        break


async def test_a_proxy_that_cuts_every_connection_after_a_while_costs_nothing() -> None:
    async with (
        world() as (node, url),
        behind(url, lambda _: "pass") as (proxy, way),
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(45):
            async with Client(way, nickname="Alexandra", jitter=lambda: 0) as client:
                reader = Reader(client)
                nursery.start_soon(reader.run)
                for number in range(5):
                    await client.say(f"before cut {number}")
                    proxy.cut()
                    await client.say(f"after cut {number}")
                    assert client.transport == "ws"
                await reader.until(lambda: len(reader.said) == 10)
                assert reader.left == []
                assert reader.mirror.snapshot() == fresh(node).snapshot()
                nursery.cancel_scope.cancel()


async def test_a_server_that_has_a_transport_switched_off_is_used_by_the_next() -> None:
    async with world(transports=("poll",)) as (_, url):
        with trio.fail_after(30):
            async with Client(url, nickname="Alexandra") as client:
                assert client.transport == "poll"


async def test_a_transport_of_no_name_is_refused_before_anything_is_tried() -> None:
    with pytest.raises(ValueError, match="there are: auto, ws, sse, poll"):
        Client("http://127.0.0.1:1", transport="pigeon")


def tasks_of_trio() -> int:
    """Return how many tasks live outside of every nursery of the program."""
    nurseries = trio.lowlevel.current_root_task().child_nurseries  # type: ignore[union-attr]
    return sum(len(nursery.child_tasks) for nursery in nurseries)


@pytest.mark.parametrize("kind", [WebSocketTransport, SseTransport, PollTransport])
async def test_an_opening_that_is_given_up_at_any_moment_leaves_no_task_behind(
    kind: Callable[[str], Transport],
) -> None:
    async def says_nothing(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def give_up(scope: trio.CancelScope, after: int) -> None:
        for _ in range(after):
            await trio.lowlevel.checkpoint()
        scope.cancel()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, says_nothing, 0)
        transport = kind(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}")
        before = tasks_of_trio()
        # Which task goes first is chance: so each moment has several attempts.
        for moment in [moment for moment in range(15) for _ in range(8)]:
            with trio.CancelScope() as scope:
                nursery.start_soon(give_up, scope, moment)
                async with transport.connect("", ()):
                    pass
        await trio.testing.wait_all_tasks_blocked()
        assert tasks_of_trio() == before
        nursery.cancel_scope.cancel()


class Slow(Gate):
    """A gate that takes its time to say that it is shut."""

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        await trio.sleep(10)
        async with super().connect(after, topics) as connection:
            yield connection


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_the_wait_grows_with_every_failure_however_long_each_takes() -> None:
    slow = Slow(PollTransport("http://127.0.0.1:9"))
    slow.open = False
    async with Client(slow, patient=True, jitter=lambda: 1.0) as client:
        waits = []
        async for item in client:
            assert isinstance(item, Disconnected)
            waits.append(item.retry_in)
            if len(waits) == 6:
                break
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]


class Late(Gate):
    """A gate whose connections are there only when `go` is set; `over` tells that one was given up."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.begun, self.go, self.over = trio.Event(), trio.Event(), trio.Event()

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        try:
            async with super().connect(after, topics) as connection:
                self.begun.set()
                await self.go.wait()
                yield connection
        finally:
            if self.begun.is_set():
                self.over.set()


class Again(Gate):
    """A gate that opens a second time only when the late one has been given up."""

    def __init__(self, inner: Transport, late: Late) -> None:
        super().__init__(inner)
        self._late = late

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        if self.opened:
            self._late.go.set()
            await self._late.over.wait()
        async with super().connect(after, topics) as connection:
            yield connection


async def test_a_better_link_that_comes_when_the_old_one_is_lost_does_not_cross_the_return() -> (
    None
):
    async with world() as (_, url):
        late = Late(WebSocketTransport(url))
        again = Again(SseTransport(url), late)
        late.open = False
        with trio.fail_after(30):
            async with Client(
                [late, again], nickname="Alexandra", climb=0.1, jitter=lambda: -0.95
            ) as mover:
                late.open = True
                await late.begun.wait()
                late.open = False
                again.cut()
                await late.over.wait()
                await mover.say("back")
                assert mover.transport == "Again"


async def test_a_stream_that_says_no_content_is_not_asked_again() -> None:
    asked = 0

    async def answer(stream: trio.SocketStream) -> None:
        nonlocal asked
        asked += 1
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, answer, 0)
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        with trio.fail_after(30):
            async with Client(url, transport="sse", patient=True) as client:
                with pytest.raises(ConnectionEndedError):
                    await anext(client)
        nursery.cancel_scope.cancel()
    assert asked == 1


class Mute(Gate):
    """A gate behind which nothing that is said gets through; `welcomed` tells that somebody was let in."""

    def __init__(self, inner: Transport) -> None:
        super().__init__(inner)
        self.open = False
        self.welcomed = trio.Event()

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        async with super().connect(after, topics) as inner:
            yield _Muted(inner, self.welcomed)


class _Muted(_Cuttable):
    def __init__(self, inner: Connection, welcomed: trio.Event) -> None:
        super().__init__(inner)
        self._welcomed = welcomed

    async def send(self, frame: bytes) -> None:
        self._welcomed.set()
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("old", [WebSocketTransport, SseTransport, PollTransport])
async def test_who_leaves_in_the_middle_of_a_move_has_left(
    old: Callable[[str], Transport],
) -> None:
    async with world() as (_, url), Client(url, transport="ws") as watcher:
        mute = Mute(WebSocketTransport(url))
        with trio.fail_after(30):
            async with Client(
                [mute, old(url)], nickname="Alexandra", climb=0.1, jitter=lambda: -0.95
            ):
                mute.open = True
                # What is said there now is a join that is never answered.
                await mute.welcomed.wait()
            async for item in watcher:
                if isinstance(item, Left):
                    assert item.reason == "left"
                    break


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_of_many_attempts_that_failed_unheard_the_last_one_is_told() -> None:
    gate = Gate(PollTransport("http://127.0.0.1:9"))
    gate.open = False
    async with Client(gate, patient=True, jitter=lambda: 1.0) as client:
        await trio.sleep(1_000)
        before = trio.current_time()
        first, second = await anext(client), await anext(client)
        assert isinstance(first, Disconnected)
        assert first.retry_in == LONGEST_WAIT
        assert isinstance(second, Disconnected)
        assert trio.current_time() > before


class Wordy:
    """A transport whose connections say `count` things, and end."""

    def __init__(self, count: int) -> None:
        self.opened, self._count = 0, count

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        await trio.lowlevel.checkpoint()
        offset = int(after.rpartition("-")[2] or 0)
        self.opened += 1
        yield _Words([_WELCOME, *(_said(offset + n) for n in range(1, self._count + 1))])


class _Words:
    close_code = 1006

    def __init__(self, frames: list[Frame]) -> None:
        self._frames = frames

    async def receive(self) -> str | None:
        await trio.lowlevel.checkpoint()
        return encode(self._frames.pop(0)).decode() if self._frames else None

    async def send(self, frame: bytes) -> None:
        await trio.lowlevel.checkpoint()

    async def close(self, code: int) -> None:
        await trio.lowlevel.checkpoint()


_AT = "2026-11-23T10:00:00.000Z"
_WELCOME = Welcome("cloudchat.v1", "feed", "e-0", _AT, 15, WireLimits(4096, 32, 65_536, 100))


def _said(offset: int) -> Frame:
    return Message(f"e-{offset}", _AT, "Bert", "on and on", "c1")


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_who_is_not_listened_to_does_not_come_back_for_more() -> None:
    wordy = Wordy(count=10)
    async with Client(wordy, patient=True, jitter=lambda: 1.0) as client:
        await trio.sleep(10_000)
        opened = wordy.opened
        assert opened < BACKLOG
        await trio.sleep(10_000)
        assert wordy.opened == opened
        said = [item async for item in _first(client, BACKLOG)]
        await trio.sleep(10_000)
        assert wordy.opened > opened
    offsets = [int(item.cursor.rpartition("-")[2]) for item in said if isinstance(item, Message)]
    assert offsets == list(range(1, len(offsets) + 1))


async def _first(client: Client, count: int) -> AsyncIterator[Item]:
    for _ in range(count):
        yield await anext(client)
