"""Makes logs to start over: long ones, ones with many instances; and the state of one after a crash."""

import uuid
from pathlib import Path

import anyio
import anyio.lowlevel

from cloudchat_core.clock import SystemClock
from cloudchat_core.commands import Caller, Create, Join, Say
from cloudchat_engine import Node, Saved, SimulatedProvider, SystemTimer
from cloudchat_engine.logs import SqliteLog

EPOCH = "bench"
PARTICIPANTS = 500
IN_FLIGHT = 2_000
TEXT = (
    "Somebody says something of about this length, as people do, and goes on for a little while. "
)


class Crashing(SqliteLog):
    """A log that may be told to keep no further snapshot."""

    crashing = False

    async def save(self, snapshot: Saved) -> None:
        """Keep a snapshot, unless the process is about to be taken for crashed."""
        if not self.crashing:
            await super().save(snapshot)


def make_node(log: SqliteLog) -> Node:
    """Return a node over `log`, whose operations are done at once."""
    clock = SystemClock()
    timer = SystemTimer(clock)
    return Node(
        log,
        SimulatedProvider(timer, duration=0),
        clock=clock,
        timer=timer,
        new_id=lambda: str(uuid.uuid4()),
        new_epoch=lambda: EPOCH,
    )


async def fill(path: Path, events: int) -> None:
    """Fill a log with messages, up to about `events` records.

    It is left as by a crash, without its newest snapshot: a start has more to replay than it ever should.
    """
    log = Crashing(path)
    node = make_node(log)
    callers = [Caller(f"{number:064}") for number in range(min(PARTICIPANTS, events // 4))]
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        for number, caller in enumerate(callers):
            node.open_feed(str(number), lambda _: None, [caller.scope])
            await node.execute(Join(f"j{node.state.offset}", f"guest {number}"), caller)
        answered = 0

        def hear(_: object) -> None:
            nonlocal answered
            answered += 1

        for sent in range(events - node.state.offset):
            log.crashing = sent > events - node.limits.snapshot_every
            node.submit(Say(f"s{sent}", TEXT), callers[sent % len(callers)], hear)
            while sent - answered > IN_FLIGHT:
                await anyio.lowlevel.checkpoint()
        await node.execute(Say("last", TEXT), callers[0])
        tasks.cancel_scope.cancel()


async def create(path: Path, instances: int) -> None:
    """Fill a log with the creation of instances, and wait until all of them are there."""
    node = make_node(SqliteLog(path))
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        there, changed = 0, anyio.Event()

        def look() -> None:
            changed.set()

        unsubscribe = node.on_publish(look)
        for number in range(instances):
            await node.execute(Create(str(uuid.uuid4()), f"web-{number}", None), Caller(""))
        while (there := len(node.state.instances)) < instances or node.state.operations:
            changed = anyio.Event()
            await changed.wait()
        unsubscribe()
        assert there == instances
        tasks.cancel_scope.cancel()


async def keep_snapshot(path: Path, snapshot: Saved | None = None) -> tuple[Saved | None, int]:
    """Return the log's snapshot, where there is one, and head; where `snapshot` is given, put that one in its place."""
    log = SqliteLog(path)
    opened = await log.open()
    if snapshot is not None:
        await log.save(snapshot)
    await log.aclose()
    return opened.snapshot, opened.head
