"""Clients on all transports at once, while connections break and servers are killed: nothing is lost or doubled."""

from __future__ import annotations

import socket
import tempfile
import uuid
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pytest
import trio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from cloudchat_core.client_session import Snapshot, Uncertain, decode_frame
from cloudchat_core.clock import SystemClock
from cloudchat_core.commands import Caller, Say
from cloudchat_core.events import TOPICS, Event, Left, Message
from cloudchat_core.frames import Ack, Gap, Heartbeat
from cloudchat_core.mirror import Mirror
from cloudchat_core.rates import Rates
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.logs.sqlite import SqliteLog
from cloudchat_engine.node import Node
from cloudchat_engine.ports import LogDamagedError
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.access import Access
from cloudchat_transports.client import Client, Disconnected, NicknameLost
from cloudchat_transports.client_transport import UnreachableError
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.follower import Follower, read_page
from cloudchat_transports.http import HttpApp
from cloudchat_transports.listener import Listener, bind
from cloudchat_transports.outlet import Outlet
from cloudchat_transports.sse.client import SseTransport
from cloudchat_transports.ws.client import WebSocketTransport
from cloudchat_transports.ws.server import WebSocketServer
from tests.ports import free_port
from tests.transports.stock import Line, line
from tests.transports.test_links import FREE, Gate, Reader, fresh, gates, running, world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from cloudchat_core.codec import StoredRecord
    from cloudchat_transports.client_transport import Connection, Transport

pytestmark = pytest.mark.anyio


@pytest.fixture(name="anyio_backend")
def on_trio() -> str:
    """The listener is Trio's."""
    return "trio"


KINDS: Final = ("ws", "sse", "poll", "auto")


@asynccontextmanager
async def serving(log: Path, port: int) -> AsyncIterator[Node]:
    """A whole server on a log and a port; where it is cancelled it says goodbye to nobody."""
    clock = SystemClock()
    timer = SystemTimer(clock)
    node = Node(
        SqliteLog(log),
        SimulatedProvider(timer, 0),
        clock=clock,
        timer=timer,
        new_id=lambda: str(uuid.uuid4()),
        new_epoch=lambda: uuid.uuid4().hex[:8],
        limits=FREE,
        grace=60,  # longer than any example: who leaves here was thrown out
    )
    fanout = Fanout(node)
    websockets = WebSocketServer(node, fanout, rates=Rates(0, 0), check=Access().check)
    http = HttpServer(HttpApp(node, Access()), node.limits, node.heartbeat)
    sockets = bind("127.0.0.1", port)
    listener = Listener(
        sockets, limits=node.limits, websockets=websockets, http=http, fanout=fanout
    )
    with ExitStack() as closing:
        for sock in sockets:
            closing.enter_context(sock)
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            nursery.start_soon(fanout.run)
            nursery.start_soon(websockets.run)
            await nursery.start(listener.run)
            yield node
            nursery.cancel_scope.cancel()


class Home:
    """A server that comes back on the same log and port whenever it is killed."""

    node: Node

    def __init__(self, log: Path) -> None:
        self.port, self.lives = free_port(), 0
        self.lines: list[Line] = []
        self._log, self._life, self._up = log, trio.CancelScope(), trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        while True:
            with trio.CancelScope() as self._life:
                async with serving(self._log, self.port) as self.node:
                    self.lives += 1
                    self._up.set()
                    if self.lives == 1:
                        task_status.started()
                    await trio.sleep_forever()
            self.cut()  # as the kernel does with what a killed process had open

    def cut(self) -> None:
        for each in self.lines:
            each.cut()

    def kill(self) -> None:
        self._up = trio.Event()
        self._life.cancel()

    async def until_up(self) -> None:
        await self._up.wait()


@dataclass
class Person:
    """A client behind a line of its own; what it is told is folded and held to the protocol."""

    name: str
    client: Client
    line: Line
    ways: list[Gate]
    mirror: Mirror = field(default_factory=Mirror)
    last: int = 0
    snapshots: int = 0
    said: int = 0
    created: int = 0
    acked: dict[str, str] = field(default_factory=dict)
    news: trio.Event = field(default_factory=trio.Event)

    async def listen(self) -> None:
        async for item in self.client:
            # Nothing was lost here, so nobody may say so; nobody left, no command is in doubt.
            assert not isinstance(item, (Gap, Left, NicknameLost, Uncertain)), item
            if isinstance(item, Event):
                offset = offset_of(item.cursor)
                assert offset > self.last, "an event came twice, or late"
                self.last = offset
            elif isinstance(item, Snapshot):
                self.snapshots += 1
                assert self.snapshots == 1, "who comes back with a cursor needs no snapshot"
                self.last = offset_of(item.cursor)
            if not isinstance(item, (Disconnected, NicknameLost, Uncertain)):
                self.mirror.apply(item)
            self.news.set()

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until something is so; looked at after each item that is told."""
        while not fact():
            self.news = trio.Event()
            await self.news.wait()

    async def say(self) -> None:
        """Say this person's next sentence; sentences begun one after the other are numbered so."""
        text = f"{self.name} {self.said}"
        self.said += 1
        self.acked[text] = (await self.client.say(text)).cursor

    async def create(self) -> None:
        self.created += 1
        await self.client.create()

    def shift(self, level: int) -> None:
        """Have only the transports from `level` on work, and what is open on the others break."""
        for here, way in enumerate(self.ways):
            way.open = here >= level
            if not way.open:
                way.cut()


@dataclass
class World:
    home: Home
    people: list[Person]
    nursery: trio.Nursery

    def at_commit(self, harm: Callable[[], None]) -> None:
        """Do harm when the next command is in the log and nobody has been answered yet."""

        def strike() -> None:
            end()
            harm()

        end = self.home.node.on_publish(strike)

    def crash(self) -> None:
        self.home.cut()
        self.home.kill()

    async def step(self, what: str, number: int) -> None:
        person = self.people[number % len(self.people)]
        match what:
            case "say":
                await person.say()
            case "burst":
                for each in self.people:
                    for _ in range(3):
                        self.nursery.start_soon(each.say)
            case "create":
                await person.create()
            case "cut":
                self.nursery.start_soon(person.say)
                person.line.cut()
            case "cut at commit":
                self.at_commit(person.line.cut)
                await person.say()
            case "shift":
                for each in self.people:
                    if each.ways:
                        each.shift(number % 3)
            case "crash":
                self.nursery.start_soon(person.say)
                self.crash()
                await self.home.until_up()
            case "crash at commit":
                self.at_commit(self.crash)
                await person.say()
                await self.home.until_up()


STEPS: Final = st.tuples(
    st.sampled_from(
        ["say", "burst", "create", "cut", "cut at commit", "shift", "crash", "crash at commit"]
    ),
    st.integers(0, 11),
)


async def read_log(node: Node) -> list[dict[str, Any]]:
    """All public events that the log has."""
    events: list[dict[str, Any]] = []
    after = 0
    while records := await node.read(after, 100):
        events += [msgspec.json.decode(record.body) for record in records if record.topic]
        after = records[-1].offset
    return events


async def live_through(steps: list[tuple[str, int]], log: Path) -> None:
    home = Home(log)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            await nursery.start(home.run)
            async with AsyncExitStack() as stack:
                people = [
                    await stack.enter_async_context(person(kind, home, nursery)) for kind in KINDS
                ]
                async with trio.open_nursery() as talking:
                    world = World(home, people, talking)
                    for what, number in steps:
                        await world.step(what, number)
                # Here everything that was said has its answer.
                for each in people:
                    each.shift(0)
                    await each.say()
                await check(home.node, people)
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def person(kind: str, home: Home, nursery: trio.Nursery) -> AsyncIterator[Person]:
    async with line(home.port) as way:
        home.lines.append(way)
        url = f"http://127.0.0.1:{way.port}"
        ways = gates(url) if kind == "auto" else []
        async with Client(
            ways or url,
            transport=kind,
            nickname=kind.capitalize(),
            climb=0.1,
            jitter=lambda: -0.95,
        ) as client:
            one = Person(kind.capitalize(), client, way, ways)
            nursery.start_soon(one.listen)
            yield one


def offset_of(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


def told(mirror: Mirror) -> Snapshot:
    """What is known. The cursor is left out: the log's head may be a record that is shown to nobody."""
    return msgspec.structs.replace(mirror.snapshot(), cursor="")


async def check(node: Node, people: list[Person]) -> None:
    await people[0].until(lambda: not node.state.operations)
    log = await read_log(node)
    newest = offset_of(log[-1]["cursor"])
    for one in people:
        await one.until(lambda: one.last >= newest)  # noqa: B023
        assert told(one.mirror) == told(fresh(node))
    kinds = Counter(event["type"] for event in log)
    assert (kinds["joined"], kinds["left"]) == (len(people), 0)
    assert kinds["received"] == kinds["created"] == sum(one.created for one in people)
    messages = [event for event in log if event["type"] == "message"]
    acked = {text: cursor for one in people for text, cursor in one.acked.items()}
    assert {event["text"]: event["cursor"] for event in messages} == acked
    assert len(messages) == len(acked)
    for one in people:
        said = [event["text"] for event in messages if event["nickname"] == one.name]
        assert said == [f"{one.name} {number}" for number in range(one.said)]


@given(st.lists(STEPS, min_size=12, max_size=24))
# Not shrunk: a failure here mostly shows by waiting, and a shorter one would be another one.
@settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate))
def test_whatever_breaks_everybody_is_told_everything_once_and_every_command_happens_once(
    steps: list[tuple[str, int]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trio.run(live_through, steps, Path(directory) / "log")


def in_a_line(frame: bytes) -> bytes:
    return frame + b"\n"


async def speak(node: Node) -> None:
    reply = await node.execute(Say(str(uuid.uuid4()), "hello", "Bot"), Caller("a bot"))
    assert isinstance(reply, Ack), reply


async def test_no_heartbeat_ever_runs_ahead_of_the_events_of_its_feed() -> None:
    """A client goes on after the cursor of a heartbeat: what that had skipped would be lost without a word."""
    async with running() as node, trio.open_nursery() as nursery:
        node.heartbeat = 0  # at every turn of the loop
        fanout, (mine, theirs) = Fanout(node), trio.socket.socketpair()
        near = socket.socket(fileno=mine.detach())
        near.setblocking(False)
        outlet = Outlet(near, start_soon=nursery.start_soon, limits=FREE)
        nursery.start_soon(fanout.run)
        fanout.follow(outlet, in_a_line, frozenset(TOPICS), 0)
        far = trio.SocketStream(theirs)
        with trio.fail_after(30):
            nursery.start_soon(speak_often, node, 50)
            said, at, beats, rest = 0, 0, 0, b""
            while said < 50:
                *lines, rest = (rest + await far.receive_some()).split(b"\n")
                for data in lines:
                    frame = decode_frame(data)
                    if isinstance(frame, Heartbeat):
                        at, beats = max(at, offset_of(frame.cursor)), beats + 1
                    elif isinstance(frame, Message):
                        assert offset_of(frame.cursor) > at, "a heartbeat had skipped this event"
                        said += 1
        assert beats > 0
        await far.aclose()
        outlet.abort()
        nursery.cancel_scope.cancel()


async def speak_often(node: Node, times: int) -> None:
    for _ in range(times):
        await speak(node)


async def test_the_heartbeat_of_a_reader_that_is_behind_says_where_it_is() -> None:
    async with running() as node:
        here = node.state.offset
        with Follower(node, in_a_line, frozenset(TOPICS), here) as follower:
            await speak(node)
            beat = decode_frame(follower.heartbeat())
            assert isinstance(beat, Heartbeat)
            assert offset_of(beat.cursor) == here
            assert b"hello" in await follower.next(0)
            beat = decode_frame(follower.heartbeat())
            assert isinstance(beat, Heartbeat)
            assert offset_of(beat.cursor) == here + 1


class DamagedLog(MemoryLog):
    """A log of which one record cannot be read any more."""

    damaged = 0

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        records = await super().read(after, limit)
        if any(record.offset == self.damaged for record in records):
            raise LogDamagedError(f"record {self.damaged} is damaged")
        return records


async def test_who_needs_a_damaged_record_is_told_of_a_gap_and_goes_on_behind_it() -> None:
    log = DamagedLog()
    async with running(log) as node:
        await speak_often(node, 100)
        log.damaged = 50
        seen, after = [], 3
        while after < node.state.offset:
            page, after = await read_page(node, in_a_line, frozenset(TOPICS), after)
            seen += [decode_frame(line) for line in page.splitlines()]
        gap = next(number for number, frame in enumerate(seen) if isinstance(frame, Gap))
        assert [offset_of(frame.cursor) for frame in seen[:gap] if isinstance(frame, Message)] == [
            *range(4, 4 + gap)
        ]
        assert gap > 0
        assert isinstance(seen[gap + 1], Snapshot)


class CountedLog(MemoryLog):
    """A log that counts how often it is read."""

    reads = 0

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        self.reads += 1
        return await super().read(after, limit)


async def test_who_cannot_wait_is_answered_page_by_page_where_a_long_log_has_nothing_for_it() -> (
    None
):
    log = CountedLog()
    async with running(log) as node:
        await speak_often(node, 3_000)
    async with running(log) as node:  # its window begins with the newest thousand
        log.reads, answers = 0, 0
        with Follower(node, in_a_line, frozenset({"instances"}), 3) as follower:
            while follower.offset < node.state.offset:
                before, log.reads = follower.offset, 0
                assert await follower.next(0) == b""
                assert follower.offset > before
                assert log.reads <= node.limits.page
                answers += 1
        assert answers > 1


class Watched:
    """A transport that tells how many of its connections are open, and on which nothing is said before `go`."""

    def __init__(self, inner: Transport) -> None:
        self.count = 0
        self.usable, self.asked, self.go = True, trio.Event(), trio.Event()
        self._inner = inner

    @asynccontextmanager
    async def connect(self, after: str, topics: Sequence[str]) -> AsyncIterator[Connection]:
        if not self.usable:
            await trio.lowlevel.checkpoint()
            raise UnreachableError("not yet")
        async with self._inner.connect(after, topics) as connection:
            self.count += 1
            try:
                yield _Held(connection, self)
            finally:
                self.count -= 1


class _Held:
    def __init__(self, inner: Connection, owner: Watched) -> None:
        self._inner, self._owner = inner, owner
        self.receive, self.close = inner.receive, inner.close

    @property
    def close_code(self) -> int:
        return self._inner.close_code

    async def send(self, frame: bytes) -> None:
        self._owner.asked.set()
        await self._owner.go.wait()
        await self._inner.send(frame)


async def test_who_moves_keeps_the_old_feed_until_the_new_one_has_joined() -> None:
    async with world() as (_, url), trio.open_nursery() as nursery:
        best, second = Watched(WebSocketTransport(url)), Watched(SseTransport(url))
        best.usable = False
        second.go.set()
        with trio.fail_after(30):
            async with (
                Client([best, second], nickname="Alexandra", climb=0.05) as mover,
                Client(url, nickname="Bert", transport="ws") as other,
            ):
                reader = Reader(other)
                nursery.start_soon(reader.run)
                best.usable = True
                await best.asked.wait()
                for _ in range(5):
                    await other.say("who is still here?")
                assert (best.count, second.count) == (1, 1)
                best.go.set()
                await mover.say("I am")
                await reader.until(lambda: "I am" in reader.said)
                assert reader.left == []
                nursery.cancel_scope.cancel()
