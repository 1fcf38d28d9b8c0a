"""A node with everything around it in the test's hands: time, the log's luck, the provider's word."""

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal
from uuid import UUID

import anyio
import anyio.lowlevel
import msgspec

from cloudchat_core import codec
from cloudchat_core.clock import ManualClock
from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import Caller, Join, Say
from cloudchat_core.events import TOPICS, Record
from cloudchat_core.frames import Ack, Refusal, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.workspace import Workspace, evolve
from cloudchat_engine import (
    Erasure,
    Log,
    LogUnavailableError,
    LogUncertainError,
    ManualTimer,
    Node,
    Opened,
    Provider,
    Retention,
    Saved,
    SimulatedProvider,
)
from cloudchat_engine.logs import MemoryLog

ALL = frozenset(TOPICS)
ANN, BOB, CID = (Caller(letter * 64) for letter in "abc")

Fate = Literal["full", "written", "lost"]
"""What befalls an append: nothing is written for want of space, or the outcome is not known and it was, or was not."""


class RiggedLog:
    """A log that keeps all promises over another one, and meets with what the test has in store for it."""

    def __init__(self, inner: Log | None = None) -> None:
        self.inner = inner or MemoryLog()
        self.appended: list[int] = []
        self.saved: list[Saved] = []
        self.first = 1
        self.reopened = 0
        self.fates: list[Fate | None] = []
        self.full = False
        self.saving_fails = False
        self.reopening_fails = False
        self.reading_fails = False
        self.closed = False
        self._uncertain = False
        self._waiting = 0
        self._gate: anyio.Event | None = None
        self._changed = anyio.Event()

    def shut(self) -> None:
        """Let every append wait from now on until `let_pass`."""
        self._gate = anyio.Event()

    @property
    def is_shut(self) -> bool:
        return self._gate is not None

    def let_pass(self) -> None:
        gate, self._gate = self._gate, None
        assert gate is not None
        gate.set()

    async def wait_for(self, fact: Callable[[], bool]) -> None:
        """Return when `fact` holds; looked at whenever something happened to the log."""
        while not fact():
            await self._changed.wait()

    async def wait_for_append(self) -> None:
        """Return when an append waits before the gate."""
        await self.wait_for(lambda: self._waiting > 0)

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def open(self) -> Opened:
        self._uncertain = False
        return await self.inner.open()

    async def reopen(self) -> Opened:
        self.reopened += 1
        self._tell()
        if self.reopening_fails:
            raise LogUncertainError("the disk does not answer")
        self._uncertain = False
        return await self.inner.reopen()

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        if self._gate is not None:
            self._waiting += 1
            self._tell()
            await self._gate.wait()
            self._waiting -= 1
        if self._uncertain:
            raise LogUncertainError("it must be opened again first")
        fate = "full" if self.full else self.fates.pop(0) if self.fates else None
        if fate == "full":
            self._tell()
            raise LogUnavailableError("the disk is full")
        if fate != "lost":
            await self.inner.append(records, expected, erased)
            self.appended.append(len(records))
        self._tell()
        if fate is not None:
            self._uncertain = True
            raise LogUncertainError("an I/O error")

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        if self.reading_fails:
            raise LogUnavailableError("the disk does not answer")
        return await self.inner.read(after, limit)

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return await self.inner.page(what, before, limit)

    async def save(self, snapshot: Saved) -> None:
        if self.saving_fails:
            self._tell()
            raise LogUnavailableError("the disk is full")
        await self.inner.save(snapshot)
        self.saved.append(snapshot)
        self._tell()

    async def retain(self, keep: Retention, now: int) -> int:
        self.first = await self.inner.retain(keep, now)
        self._tell()
        return self.first

    async def aclose(self) -> None:
        self.closed = True
        await self.inner.aclose()


class World:
    """What outlives a node: the clock and the log. Ids and epochs are counted, so that every run is the same."""

    def __init__(self, log: Log | None = None, start: int = 1_700_000_000_000) -> None:
        self.clock = ManualClock(start)
        self.timer = ManualTimer(self.clock)
        self.log = log or MemoryLog()
        self._ids = itertools.count(1)
        self._epochs = itertools.count(1)

    def node(
        self,
        *,
        log: Log | None = None,
        provider: Provider | None = None,
        limits: Limits | None = None,
        grace: float = 5,
        keep: Retention | None = None,
    ) -> Node:
        return Node(
            log or self.log,
            provider or SimulatedProvider(self.timer),
            clock=self.clock,
            timer=self.timer,
            new_id=lambda: str(UUID(int=next(self._ids))),
            new_epoch=lambda: f"e{next(self._epochs)}",
            limits=limits,
            grace=grace,
            keep=keep,
        )

    @asynccontextmanager
    async def running(
        self,
        *,
        log: Log | None = None,
        provider: Provider | None = None,
        limits: Limits | None = None,
        grace: float = 5,
        keep: Retention | None = None,
    ) -> AsyncIterator[Node]:
        """A node that serves until the block ends."""
        node = self.node(log=log, provider=provider, limits=limits, grace=grace, keep=keep)
        async with anyio.create_task_group() as tasks:
            await tasks.start(node.run)
            try:
                yield node
            finally:
                # A node that ends waits for its append, also where a test has failed.
                for rigged in (log, self.log):
                    if isinstance(rigged, RiggedLog) and rigged.is_shut:
                        rigged.let_pass()
            tasks.cancel_scope.cancel()


async def until(node: Node, fact: Callable[[], bool]) -> None:
    """Return when `fact` holds; looked at after every commit."""
    while not fact():
        published = anyio.Event()
        forget = node.on_publish(published.set)
        await published.wait()
        forget()


async def ok(node: Node, command: object, caller: Caller = ANN) -> Ack:
    """Have a command decided that must be accepted."""
    reply = await node.execute(command, caller)  # type: ignore[arg-type]
    assert isinstance(reply, Ack), reply
    return reply


async def refused(node: Node, command: object, caller: Caller = ANN) -> str:
    """Have a command decided that must be refused, and return the code."""
    reply = await node.execute(command, caller)  # type: ignore[arg-type]
    assert isinstance(reply, Refusal), reply
    return reply.code


async def drop_old_records(world: World, node: Node, log: RiggedLog) -> None:
    """Let so much time pass that the node looks after retention, and return when it has."""
    before = node.first
    world.clock.advance(60)
    await log.wait_for(lambda: log.first > before)
    while node.first != log.first:
        await anyio.lowlevel.checkpoint()


def submit(node: Node, command: Join | Say, caller: Caller = ANN) -> list[Reply]:
    """Submit a command without waiting; its answer will stand in the list returned."""
    box: list[Reply] = []
    node.submit(command, caller, box.append)
    return box


async def contents(log: Log) -> list[Record]:
    """Return all records that a log has."""
    found: list[Record] = []
    after = 0
    while page := await log.read(after, 500):
        found += map(codec.load, page)
        after = page[-1].offset
    return found


def replayed(records: Sequence[Record]) -> Workspace:
    """Return the workspace that a log without a snapshot amounts to."""
    state = Workspace()
    for record in records:
        state = evolve(state, record)
    return state


def texts(records: Sequence[Record]) -> list[str]:
    """Return what was said, in order."""
    return [record.event.text for record in records if hasattr(record.event, "text")]


def kinds(records: Sequence[Record]) -> list[str]:
    """Return the events' types, in order."""
    return [str(record.event.__struct_config__.tag) for record in records]


def snapshot(node: Node) -> dict[str, list[dict[str, object]]]:
    """Return the snapshot that a client would get now."""
    merged: dict[str, list[dict[str, object]]] = {}
    for frame in node.snapshot(ALL):
        for name, value in msgspec.json.decode(frame).items():
            if isinstance(value, list):
                merged.setdefault(name, []).extend(value)
    return merged
