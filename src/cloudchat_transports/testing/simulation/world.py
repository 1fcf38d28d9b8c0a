"""A world: all that a plan names, brought to life in one process and in virtual time, and looked at when it is over."""

from __future__ import annotations

import gc
import hashlib
import logging
import traceback
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from cloudchat_core.events import CHAT, Joined, Left
from cloudchat_engine.ports import LogError
from cloudchat_transports.testing.simulation import scheduler
from cloudchat_transports.testing.simulation.buffers import LOOK, look
from cloudchat_transports.testing.simulation.checks import check, check_the_log
from cloudchat_transports.testing.simulation.clock import VirtualClock
from cloudchat_transports.testing.simulation.cloud import Cloud, ProviderBugError
from cloudchat_transports.testing.simulation.edges import replaced
from cloudchat_transports.testing.simulation.faults import Faults
from cloudchat_transports.testing.simulation.history import ViolationError, offset_of
from cloudchat_transports.testing.simulation.log import Disk
from cloudchat_transports.testing.simulation.network import Line, Network
from cloudchat_transports.testing.simulation.parts import Parts
from cloudchat_transports.testing.simulation.person import Somebody
from cloudchat_transports.testing.simulation.plan import Plan
from cloudchat_transports.testing.simulation.server import Life

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cloudchat_transports.testing.simulation.log import Moment

CONVERGE: Final = 240.0
"""Virtual seconds within which everything has to come right once the faults are over."""

TURNS: Final = 300_000
"""Turns of tasks that a world may take; it usually takes some thousands."""

FAREWELL: Final = 60.0
"""Virtual seconds within which those who have left have to be gone."""

AFTERWARDS: Final = 20.0
"""Virtual seconds for which those who have left by a `leave` look on."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a world: `broken` names the promise that it broke (empty: none), `detail` how."""

    plan: Plan
    broken: str
    detail: str
    trace: tuple[str, ...]
    coverage: dict[str, int]
    took: float

    @property
    def digest(self) -> str:
        """A hash of everything that was noted."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


class World:
    """The parts of a world, for those who act in it."""

    def __init__(self, plan: Plan, parts: Parts) -> None:
        self.plan, self.parts = plan, parts
        self.trace: list[str] = []
        self.coverage: Counter[str] = Counter()
        self.network = Network(plan.seed, self.coverage, self.note)
        self.disk = Disk()
        self.cloud = Cloud(plan.seed, plan.mood / 100, self.coverage)
        self.fates = dict(plan.fates)
        """What is in store for appends, by their number."""
        self.life: Life | None = None
        self.lives = 0
        self.drift = 0
        """How wrong (ms) the wall clock is that the next process reads when it begins."""
        self.down = 0.0
        """Seconds until the next process begins, once this one has ended."""
        self.existence = trio.CancelScope()
        self.accused: ViolationError | None = None
        """What was found wrong where nothing could be raised."""
        self.people: list[Somebody] = []
        for number, person in enumerate(plan.people):
            address = f"127.0.1.{number + 1}"
            line = Line(address, person.delay / 1000, person.piece, person.buffer)
            self.network.lines[address] = line
            self.people.append(Somebody(number, person, plan, line, self))
        self.faults = Faults(self)

    def note(self, what: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{trio.current_time():9.3f} {what}")

    def reached(self, moment: Moment, number: int) -> None:
        """The log has come to this point of an append."""
        self.faults.reached(moment, number)

    # -- the course of things

    async def run(self) -> None:
        """Live through the plan; raises `ViolationError` in an exception group."""
        trio.socket.set_custom_socket_factory(self.network)  # type: ignore[arg-type]
        with self.existence:
            await self._take_place()

    async def _take_place(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            nursery.start_soon(self._serve)
            nursery.start_soon(self.faults.run)
            for person in self.people:
                nursery.start_soon(person.live)
            await self.faults.over.wait()
            self.note("no more faults")
            await self._until("converge", CONVERGE, self._calm)
            check(self)
            for person in self.people:
                person.leave()
            await self._until("farewell", FAREWELL, self._empty)
            await self._look_on()
            self.note("the end")
            nursery.cancel_scope.cancel()

    async def _look_on(self) -> None:
        """See that who has left by a `leave` is out for good, whatever becomes of its connection."""
        if not any(person.out for person in self.people):
            return
        head = self.disk.head
        await trio.sleep(AFTERWARDS / 2)
        for person in self.people:
            self.network.cut(person.line)
        await trio.sleep(AFTERWARDS / 2)
        for person in self.people:
            if person.client is not None and person.out and person.client.connected:
                self.coverage["a client that had left came back, to look on"] += 1
        events = (entry.record.event for at, entry in self.disk.branch.items() if at > head)
        if back := [event for event in events if isinstance(event, Joined)]:
            raise ViolationError("gone", f"all had left, but {back}")
        await self._until("farewell", FAREWELL, self._empty)
        for person in self.people:
            person.end()

    async def _serve(self) -> None:
        """Run one server after the other."""
        while True:
            self.lives += 1
            life = self.life = Life(
                self.lives,
                self.plan,
                network=self.network,
                disk=self.disk,
                cloud=self.cloud,
                clock=VirtualClock(self.drift),
                fates=self.fates,
                reached=self.reached,
                parts=self.parts,
            )
            life.node.on_publish(self.faults.published)
            self.note(f"server {self.lives} starts")
            await life.run()
            self.note(f"server {self.lives} is gone")
            await trio.sleep(self.down or 0.5)
            self.down = 0.0

    async def _until(self, what: str, bound: float, fact: Any) -> None:
        with trio.move_on_after(bound):
            while (missing := fact()) != "":
                look(self)
                await trio.sleep(LOOK)
            return
        check_the_log(self)  # it may know the reason
        raise ViolationError(what, f"after {bound:g} s {missing}")

    def _calm(self) -> str:
        """Say what has not come right yet; nothing: everything has."""
        life = self.life
        if life is None or not life.up:
            return "no server is up"
        if life.node.state.operations:
            return f"operations are under way: {list(life.node.state.operations)}"
        for person in self.people:
            if not person.finished:
                open_ = [f"{o.verb} {o.text}" for o in person.operations if not o.answered_at]
                return f"{person.name} waits for the answer to {open_}"
            if person.client is None or not person.client.connected:
                return f"{person.name} is not connected"
            if behind := self._behind(person):
                return behind
            held = life.node.state.participants.participation(person.scope)
            name = held.nickname if held else ""
            if held is None and CHAT not in person.witness.topics:
                # Who does not follow the chat is not told that it was held lost, until it says something.
                self.coverage["who follows no chat was held lost, and does not know"] += bool(
                    person.client.nickname
                )
            elif name != person.client.nickname and not self._left_late(person.scope):
                return f"{person.name} is {held}, and takes itself for {person.client.nickname!r}"
        return ""

    def _behind(self, person: Somebody) -> str:
        cursor, newest = person.witness.mirror.cursor, self.disk.newest(person.witness.topics)
        if offset_of(cursor) < newest or cursor in self.disk.undone:
            return f"{person.name} is at {cursor}, and the log at {newest}"
        return ""

    def _left_late(self, scope: str) -> bool:
        """Tell whether a `leave` of this participation has come to pass after its last `join`.

        Where what is sent arrives again later, that may be one of a client that was killed before it had the answer.
        """
        if not any(fault.harm == "double" for fault in self.plan.faults):
            return False
        events = (entry.record for entry in reversed(self.disk.branch.values()))
        ours = (record.event for record in events if record.private.holder == scope)
        newest = next((event for event in ours if isinstance(event, (Joined, Left))), None)
        return isinstance(newest, Left) and newest.reason == "left"

    def _empty(self) -> str:
        life = self.life
        if life is None or not life.up:
            return "no server is up"
        here = [p.nickname for _, p in life.node.state.participants.items()]
        if here:
            return f"{here} are still there"
        for person in self.people:
            if person.person.farewell == "close":
                continue
            if not person.out:
                return f"{person.name} waits for the answer to its leave"
            if behind := self._behind(person):
                return behind
            if shown := list(person.witness.mirror.participants):
                return f"{shown} are on the screen of {person.name}"
        return ""


class Turns(trio.abc.Instrument):
    """Counts the turns of all tasks, and ends a world in which they take turns for ever while time stands still."""

    def __init__(self, world: World) -> None:
        self._world, self._count = world, 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._count += 1
        self._world.faults.reached("step", self._count)
        if self._count == TURNS:
            self._world.accused = ViolationError(
                "endless", f"{task.name} took the last of {TURNS:,} turns"
            )
            self._world.existence.cancel()


class _Bugs(logging.Handler):
    """Errors that our code has logged with an exception that nobody had planned."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and not isinstance(error, (LogError, ProviderBugError)):
            self.found.append(f"{record.getMessage()}: {error!r}")


@contextmanager
def _listening() -> Iterator[_Bugs]:
    bugs, root = _Bugs(), logging.getLogger()
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    root.addHandler(bugs)
    try:
        yield bugs
    finally:
        root.removeHandler(bugs)
        logging.disable(level)


def live_through(
    plan: Plan, parts: Parts | None = None, instruments: Sequence[trio.abc.Instrument] = ()
) -> Outcome:
    """Return what becomes of `plan`, always the same; `parts` are those that are not ours.

    `instruments` watch Trio's steps. Nothing else may run in this process meanwhile: chance, time and threads are the
    world's (see `edges.py`).
    """
    world, broken, detail, took = World(plan, parts or Parts()), "", "", 0.0

    async def main() -> None:
        nonlocal took
        with replaced(world.network, plan.seed):
            try:
                await world.run()
            finally:
                took = trio.current_time()

    collecting = gc.isenabled()
    gc.disable()  # what is collected when would differ from run to run
    try:
        with _listening() as bugs:
            try:
                scheduler.run(main, plan.seed, [Turns(world), *instruments])
            except BaseExceptionGroup as group:
                broken, detail = _told(group)
        if world.accused is not None:
            broken, detail = world.accused.check, world.accused.detail
        if bugs.found and not broken:
            broken, detail = "bug", bugs.found[0]
    finally:
        if collecting:
            gc.enable()
    return Outcome(plan, broken, detail, tuple(world.trace), dict(world.coverage), took)


def _told(group: BaseExceptionGroup[BaseException]) -> tuple[str, str]:
    """Return the promise that was broken, and how; whatever else was raised is a bug, and told with its place."""
    found = group.subgroup(ViolationError) or group
    error: BaseException = found
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, ViolationError):
        return error.check, error.detail
    if not isinstance(error, Exception):
        raise group
    return "bug", "".join(traceback.format_exception(error))
