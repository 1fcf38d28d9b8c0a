"""Whatever happens to the log, and however often the server goes: every command once, and every feed the same story.

Several clients send commands, and send again what they have no answer to. Appends fail, or fail without saying whether
they were written; the server stops, or crashes in mid-append; time passes. Each client folds its feed from its cursor.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchat_core.client_session import Frame, decode_frame
from cloudchat_core.commands import Caller, ClientCommand, Create, Join, Leave, Redact, Say, Start
from cloudchat_core.errors import Code
from cloudchat_core.events import Event, Record
from cloudchat_core.frames import Ack, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.mirror import Mirror
from cloudchat_core.session import Beginning
from cloudchat_engine import Log, Node
from cloudchat_engine.logs import MemoryLog, SqliteLog
from tests.engine.world import ALL, ANN, BOB, CID, Fate, RiggedLog, World, contents, replayed
from tests.specs.generated import CONTRACT

LIMITS = Limits(snapshot_every=7, window=1_500, batch=4, page=3)

Step = tuple[str, int]
WISHES = ("join", "leave", "say", "say", "redact", "create", "start", "again", "feed")
EVENTS = (
    "answers",
    "read",
    "time",
    "full",
    "written",
    "lost",
    "stop",
    "crash",
    "crash in an append",
)
STEPS = st.lists(
    st.tuples(st.sampled_from(WISHES + EVENTS), st.integers(0, 8)), min_size=20, max_size=120
)


def line(frame: bytes) -> bytes:
    return frame + b"\n"


class Client:
    """What one client remembers: what it sent, what it was told, and what it knows of the workspace."""

    def __init__(self, caller: Caller, name: str) -> None:
        self.caller, self.name = caller, name
        self.count = 0
        self.unanswered: dict[str, ClientCommand] = {}
        self.in_flight: set[str] = set()
        self.commands: dict[str, ClientCommand] = {}
        self.acks: dict[str, Ack] = {}
        self.refused: dict[str, str] = {}
        self.mirror = Mirror()
        self.since = self.head = 0
        self.seen: list[int] = []

    def new_id(self) -> str:
        self.count += 1
        return f"{self.name}{self.count}"

    def send(self, node: Node, command: ClientCommand, is_connected: Callable[[], bool]) -> None:
        """Send what is unanswered, in order, and then something new."""
        self.unanswered[command.id] = self.commands[command.id] = command
        self.resend(node, is_connected)

    def resend(self, node: Node, is_connected: Callable[[], bool]) -> None:
        for command in [it for key, it in self.unanswered.items() if key not in self.in_flight]:
            self.in_flight.add(command.id)

            def hear(reply: Reply) -> None:
                if is_connected():
                    self.hear(reply)

            node.submit(command, self.caller, hear)

    def hear(self, reply: Reply) -> None:
        assert reply.id is not None
        self.in_flight.discard(reply.id)
        if isinstance(reply, Ack):
            assert self.acks.setdefault(reply.id, reply) == reply, "a second answer, another one"
            assert reply.id not in self.refused
            self.unanswered.pop(reply.id, None)
        elif reply.code != Code.UNAVAILABLE:
            assert reply.code != Code.INTERNAL
            self.refused[reply.id] = reply.code
            self.unanswered.pop(reply.id, None)

    def disconnected(self) -> None:
        self.in_flight.clear()

    def see(self, data: bytes) -> None:
        CONTRACT.frame("ws", json.loads(data))
        self.fold(decode_frame(data))

    def fold(self, frame: Frame | None) -> None:
        if isinstance(frame, Event):
            offset = int(frame.cursor.rpartition("-")[2])
            assert offset > max([self.since, *self.seen[-1:]]), "an event twice, or out of order"
            self.seen.append(offset)
        self.mirror.apply(frame)

    def begin(self, beginning: Beginning) -> int:
        assert beginning.gap is None
        for data in beginning.frames():
            self.see(data)
        if beginning.snapshot:
            self.since, self.seen = beginning.offset, []
        return beginning.offset

    async def read(self, node: Node) -> None:
        """Read the feed from the cursor to the head: from the window, or from the log where it fell out of it."""
        cursor = self.begin(node.begin(self.mirror.cursor, ALL, self.name))
        view = node.feed.view(line, ALL)
        while cursor < view.head:
            found = view.since(cursor)
            if found is not None:
                data, cursor = found
                frames = data.splitlines()
            else:
                records = await node.read(cursor, LIMITS.page)
                assert records[0].offset == cursor + 1
                frames = [record.body for record in records if record.topic]
                cursor = records[-1].offset
            for data in frames:
                self.see(data)
        self.head = cursor


class Story:
    """One server after the other over one log, and the clients that outlive them all."""

    def __init__(self, make_log: Callable[[], Log]) -> None:
        self._make_log = make_log
        self.log = RiggedLog(make_log())
        self.world = World(self.log)
        self.clients = [Client(ANN, "Ann"), Client(BOB, "Bob"), Client(CID, "Cid")]
        self.server = 0
        self.node = self.world.node()

    def command(self, what: str, client: Client, number: int) -> ClientCommand | None:
        """Return the next command of its kind that a client would send; None: there is nothing to send."""
        key = client.new_id()
        said = [ack for it, ack in client.acks.items() if isinstance(client.commands[it], Say)]
        match what:
            case "join":
                return Join(key, ("Ann", "Bob", "Cid", "ann", "Dora")[number % 5])
            case "leave":
                return Leave(key)
            case "say":
                return Say(key, f"text of {key}")
            case "redact":
                return Redact(key, said[number % len(said)].cursor) if said else None
            case "create":
                return Create(key, name=f"made by {key}")
            case "start":
                listed = self.node.state.listed()
                return Start(key, listed[number % len(listed)].id) if listed else None
            case _:
                return None

    def connection(self) -> Callable[[], bool]:
        server = self.server
        return lambda: server == self.server

    async def step(self, what: str, number: int) -> bool:
        """Do one thing; return whether the server goes on."""
        client = self.clients[number % 3]
        command = self.command(what, client, number)
        match what:
            case _ if command is not None:
                client.send(self.node, command, self.connection())
            case "again" if client.acks:
                key = list(client.acks)[number % len(client.acks)]
                client.send(self.node, client.commands[key], self.connection())
            case "feed":
                self.node.open_feed(f"{client.name}{number}", lambda _: None, [client.caller.scope])
            case "answers":
                await self.answers()
            case "read":
                await client.read(self.node)
            case "time":
                self.world.clock.advance((0.5, 1, 5, 20, 700)[number % 5])
            case "full" | "written" | "lost":
                self.log.fates.append(what)
            case "stop" | "crash":
                self.log.saving_fails = what == "crash"
                return False
            case "crash in an append":
                self.log.saving_fails = True
                self.log.shut()
                for one in self.clients:
                    one.send(self.node, Create(one.new_id()), self.connection())
                await self.log.wait_for_append()
                return False
        return True

    async def answers(self) -> None:
        """Let everything be answered that was sent."""
        while any(client.in_flight for client in self.clients):
            await anyio.lowlevel.checkpoint()

    def restarted(self) -> None:
        for client in self.clients:
            client.disconnected()
        if isinstance(self.log.inner, SqliteLog):
            fates = self.log.fates
            self.log = RiggedLog(self._make_log())
            self.log.fates = fates
        self.log.saving_fails = False
        self.node = self.world.node(log=self.log, limits=LIMITS)

    async def life(self, steps: Sequence[Step], *, last: bool = False) -> int:
        """Run one server through `steps` until one ends it; return how many were taken."""
        self.restarted()
        fates, self.log.fates = self.log.fates, []
        taken = 0
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.node.run)
            self.log.fates = fates
            for what, number in steps:
                taken += 1
                if not await self.step(what, number):
                    self.server += 1  # from now on nobody hears an answer
                    break
            if last:
                await self.ending()
            tasks.cancel_scope.cancel()
            if self.log.is_shut:
                self.log.let_pass()
        return taken

    async def ending(self) -> None:
        """The log is well, everybody gets every answer and reads to the end."""
        self.log.fates = []
        while any(client.unanswered for client in self.clients):
            for client in self.clients:
                client.resend(self.node, self.connection())
            await self.answers()
        records: list[Record] = []
        # Work that ends meanwhile is to be read by all, too.
        while len(records) != self.node.state.offset or any(
            client.head != len(records) for client in self.clients
        ):
            for client in self.clients:
                await client.read(self.node)
            records = await contents(self.log)
        self.judge(records)

    def judge(self, records: Sequence[Record]) -> None:
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        assert replayed(records) == self.node.state
        kept = [record for record in records if record.private.memory is not None]
        for client in self.clients:
            fresh = Mirror()
            for frame in self.node.snapshot(ALL):
                fresh.apply(decode_frame(frame))
            client.mirror.advance(
                fresh.cursor
            )  # it stands on the last event, which may not be the head
            assert client.mirror.snapshot() == fresh.snapshot()
            public = [record.offset for record in records if record.event.topic]
            assert client.seen == [offset for offset in public if offset > client.since]
            for key, ack in client.acks.items():
                mine = [
                    record.event.cursor
                    for record in kept
                    if record.private.memory
                    and (record.private.memory.scope, record.private.memory.id)
                    == (client.caller.scope, key)
                ]
                assert mine == [ack.cursor], "an accepted command is in the log once"
            for key in client.refused:
                assert not any(
                    record.private.memory and record.private.memory.id == key for record in kept
                ), "a refused command left a trace"


async def tell(make_log: Callable[[], Log], steps: Sequence[Step]) -> None:
    story = Story(make_log)
    with anyio.fail_after(60):
        while steps:
            taken = await story.life(steps)
            steps = steps[taken:]
        await story.life([], last=True)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(steps=STEPS)
def test_every_command_once_and_every_feed_the_same_story(backend: str, steps: list[Step]) -> None:
    log = MemoryLog()
    anyio.run(tell, lambda: log, steps, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@settings(max_examples=30)
@given(steps=STEPS)
def test_the_same_with_a_log_on_disk(backend: str, steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "log.db"
        anyio.run(tell, lambda: SqliteLog(path), steps, backend=backend)


def test_the_story_knows_every_way_in_which_an_append_can_fail() -> None:
    assert {"full", "written", "lost"} == set(get_args(Fate))
