"""Faults: each strikes at its time, or at a certain step of the server, and is undone in its time.

When all acts are done and all that was planned for a moment has struck, or when it has lasted long enough, everything
is mended, and nothing goes wrong any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from cloudchat_transports.testing.simulation.buffers import LOOK, look
from cloudchat_transports.testing.simulation.history import ViolationError
from cloudchat_transports.testing.simulation.plan import LASTS
from cloudchat_transports.testing.simulation.presence import Presences

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchat_transports.testing.simulation.network import Direction, Line, Side
    from cloudchat_transports.testing.simulation.plan import Fault, When
    from cloudchat_transports.testing.simulation.world import World

LONGEST: Final = LASTS / 1000 + 15
"""Virtual seconds after which all is mended, whatever is still to come."""

_SIDES: Final[dict[str, tuple[Side, ...]]] = {
    "cut": ("client", "server"),
    "half": ("client",),
    "deaf": ("server",),
}


class Faults:
    """What goes wrong in a world, and when."""

    def __init__(self, world: World) -> None:
        self.over = trio.Event()
        """Nothing goes wrong any more."""
        self._world = world
        self._waiting: dict[tuple[When, int], list[Fault]] = {}
        self._timed: list[Fault] = []
        for fault in world.plan.faults:
            if fault.when == "time":
                self._timed.append(fault)
            else:
                self._waiting.setdefault((fault.when, fault.at), []).append(fault)
        self._timed.sort(key=lambda fault: fault.at)
        self._publications = 0
        self._known = 0
        self._presences = Presences(world)
        self._undoing = 0

    async def run(self) -> None:
        """Strike at the planned moments, and mend everything in the end."""
        with trio.move_on_after(LONGEST):
            for fault in self._timed:
                await trio.sleep_until(fault.at / 1000)
                look(self._world)
                self._strike(fault)
            while self._undoing or not all(person.finished for person in self._world.people):
                look(self._world)
                await trio.sleep(LOOK)
        self._mend()

    def reached(self, when: When, number: int) -> None:
        """Strike where a fault waits for this step."""
        for fault in self._waiting.pop((when, number), ()):
            self._strike(fault)

    def published(self) -> None:
        """A batch was published, and nobody has been answered yet."""
        self._publications += 1
        self._tell_the_disk()
        try:
            self._presences.look()
        except ViolationError as error:  # a node lets nothing come through to it
            self._world.accused = self._world.accused or error
        self.reached("publish", self._publications)

    def _tell_the_disk(self) -> None:
        world = self._world
        if world.life is None or world.life.dead:
            return  # what it still does is seen by nobody
        head = world.life.node.state.offset
        begin, self._known = min(self._known, head), head
        for offset in range(begin + 1, head + 1):
            world.disk.published(world.disk.branch[offset].record)

    # -- striking

    def _strike(self, fault: Fault) -> None:
        world = self._world
        world.note(f"fault: {fault.harm} {fault.number} for {fault.span} ({fault.when} {fault.at})")
        line = world.people[fault.number % len(world.people)].line
        match fault.harm:
            case "crash" | "blackout" | "restore":
                self._kill(fault)
            case "stop":
                self._stop(fault)
            case "shift":
                for person in world.people:
                    world.network.cut(person.line)
            case "jump":
                self._jump(fault)
            case "back up":
                world.disk.back_up()
            case "log fails" | "reads fail" | "saves fail":
                self._fail(fault)
            case _:
                self._hurt(fault, line)

    def _hurt(self, fault: Fault, line: Line) -> None:
        network = self._world.network
        match fault.harm:
            case "cut" | "half" | "deaf":
                if network.cut(line, _SIDES[fault.harm]):
                    network.coverage[f"a line broken: {fault.harm}"] += 1
            case "stall up" | "stall down":
                direction: Direction = "up" if fault.harm == "stall up" else "down"
                network.coverage[f"a line on which nothing went {direction}"] += 1
                network.stall(line, direction, True)
                self._undo(fault, lambda: network.stall(line, direction, False))
            case "block":
                line.blocked = frozenset(("ws", "sse")[: 1 + fault.number % 2])
                network.cut(line)
                self._undo(fault, lambda: setattr(line, "blocked", frozenset()))
            case "collapse":
                line.cut_after = max(fault.span, 1)
            case "double":
                line.doubling = True
                self._undo(fault, lambda: setattr(line, "doubling", False))
            case _:
                raise AssertionError(fault.harm)

    def _undo(self, fault: Fault, undo: Callable[[], None]) -> None:
        self._undoing += 1

        def mend() -> None:
            self._undoing -= 1
            undo()

        self._world.network.later(fault.span / 1000, mend)

    def _kill(self, fault: Fault) -> None:
        world, life = self._world, self._world.life
        if life is None or life.dead:
            return
        self._count_crash(fault)
        # Down for a moment, or longer than any grace; a process that begins may find another wall clock.
        world.down = min(fault.span / 1000, 12)
        world.drift += (0, 0, -4_000, 30_000)[fault.number % 4]
        if world.drift:
            world.coverage["a process that began with a clock that is off"] += 1
        life.kill(silent=fault.harm == "blackout", complete=bool(fault.number % 2))
        if fault.harm == "restore" and world.disk.restore():
            world.coverage["a backup in the place of a log that was ahead of it"] += 1

    def _count_crash(self, fault: Fault) -> None:
        world, life = self._world, self._world.life
        assert life is not None, "it is killed"
        state = life.node.state
        if not life.up:
            where = "while it started"
        elif life.log.appending:
            where = "with an append on its way"
        elif fault.when == "publish":
            where = "between publish and answers"
        elif world.disk.head > state.offset:
            where = "between append and publish"
        elif any(not each.answered_at for person in world.people for each in person.operations):
            where = "with a command or its answer on its way"
        else:
            where = "at rest"
        world.coverage[f"crash {where}"] += 1
        if state.operations:
            world.coverage["crash with operations under way"] += 1

    def _stop(self, fault: Fault) -> None:
        life = self._world.life
        if life is not None and life.up:
            self._world.coverage["a server stopped in order"] += 1
            self._world.down = min(fault.span / 1000, 12)
            life.stop()

    def _jump(self, fault: Fault) -> None:
        life = self._world.life
        if life is not None:
            self._world.coverage["a clock that jumped"] += 1
            life.clock.jump(fault.span / 1000)

    def _fail(self, fault: Fault) -> None:
        life = self._world.life
        if life is None or life.dead:
            return
        log = life.log
        match fault.harm:
            case "log fails":
                log.failing = "unsure" if fault.number % 2 else "full"
                self._undo(fault, lambda: setattr(log, "failing", ""))
            case "reads fail":
                log.unreadable = True
                self._undo(fault, lambda: setattr(log, "unreadable", False))
            case _:
                log.unsavable = True
                self._undo(fault, lambda: setattr(log, "unsavable", False))

    def _mend(self) -> None:
        world = self._world
        self._waiting.clear()
        world.fates.clear()
        for person in world.people:
            line = person.line
            line.blocked, line.doubling, line.cut_after = frozenset(), False, 0
            world.network.stall(line, "up", False)
            world.network.stall(line, "down", False)
        if world.life is not None:
            log = world.life.log
            log.failing, log.unreadable, log.unsavable = "", False, False
        self.over.set()
