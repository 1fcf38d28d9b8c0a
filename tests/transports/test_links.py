"""One participation moves between transports, up and down, and nobody notices but by its speed."""

from __future__ import annotations

import random
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import trio

from cloudchat_core.client_session import Uncertain, decode_frame
from cloudchat_core.clock import SystemClock
from cloudchat_core.events import TOPICS, Event, Left, Message
from cloudchat_core.limits import Limits
from cloudchat_core.mirror import Mirror
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports.access import Access
from cloudchat_transports.client import Client, Disconnected, NicknameLost
from cloudchat_transports.client_transport import UnreachableError
from cloudchat_transports.http import HttpApp
from cloudchat_transports.poll.client import PollTransport
from cloudchat_transports.sse.client import SseTransport
from cloudchat_transports.ws.client import WebSocketTransport
from tests.transports.stock import listener_serves

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

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
async def world(transports: Collection[str] = ("ws", "sse", "poll")) -> AsyncIterator[Any]:
    """A server on real sockets: its node, and its URL."""
    clock, ids = SystemClock(), count()
    timer = SystemTimer(clock)
    node = Node(
        MemoryLog(),
        SimulatedProvider(timer, 0),
        clock=clock,
        timer=timer,
        new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
        new_epoch=lambda: "e1",
        limits=FREE,
        grace=5,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        app = HttpApp(node, Access(), transports=transports)
        async with listener_serves(app, node) as port:
            yield node, f"http://127.0.0.1:{port}"
        nursery.cancel_scope.cancel()


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
