"""An operation ends, exactly once, whatever the provider does and whenever the server dies."""

import logging
from typing import Literal

import anyio
import anyio.lowlevel
import pytest

from cloudchat_core.commands import Create, Join, Remove, Start, Stop
from cloudchat_core.errors import Code
from cloudchat_core.frames import InstanceView
from cloudchat_core.limits import Limits
from cloudchat_engine import Node, ProviderError, SimulatedProvider, Timer, Work
from tests.engine.world import ANN, RiggedLog, World, contents, kinds, ok, refused, snapshot, until

pytestmark = pytest.mark.anyio

Observed = Literal["absent", "stopped", "running"] | None


class Scripted:
    """A provider that does what `behave` says, and counts how often it was asked and how often it was let go."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[Work] = []
        self.cancelled = 0
        self.sees: Observed = None
        self.closed = False

    def expected(self, command: str) -> float | None:
        return None

    async def behave(self, work: Work) -> None:
        """Do the work at once."""

    async def observe(self, work: Work) -> Observed:
        return self.sees

    async def _ensure(self, work: Work) -> None:
        self.asked.append(work)
        try:
            await self.behave(work)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise

    ensure_stopped = ensure_running = ensure_absent = _ensure

    async def list_owned(self) -> list[str]:
        return []

    async def aclose(self) -> None:
        self.closed = True


class Hanging(Scripted):
    """Never comes back."""

    async def behave(self, work: Work) -> None:
        await anyio.sleep_forever()


async def made(node: Node, world: World) -> InstanceView:
    """Create an instance with the simulated provider, and return it."""
    await ok(node, Create("made"))
    world.clock.advance(20)
    await until(node, lambda: bool(node.state.listed()))
    return node.state.listed()[0]


async def test_a_command_is_received_at_once_and_done_when_its_time_has_come() -> None:
    world = World()
    async with world.running() as node:
        ack = await ok(node, Create("c", name="web"))
        assert snapshot(node)["instances"] == []
        assert len(snapshot(node)["operations"]) == 1
        world.clock.advance(19.999)
        await anyio.wait_all_tasks_blocked()
        assert kinds(await contents(world.log)) == ["opened", "received"]
        world.clock.advance(0.001)
        await until(node, lambda: bool(node.state.listed()))
        [instance] = snapshot(node)["instances"]
        assert (instance["state"], instance["name"]) == ("stopped", "web")
        assert ack.instance
        assert instance["id"] == ack.instance.id
        assert snapshot(node)["operations"] == []
        assert kinds(await contents(world.log)) == ["opened", "received", "created"]


async def test_the_whole_life_of_an_instance() -> None:
    world = World()
    async with world.running() as node:
        instance = await made(node, world)
        for turn, (command, state) in enumerate(
            [(Start, "running"), (Stop, "stopped"), (Start, "running"), (Remove, None)]
        ):
            await ok(node, command(f"c{turn}", instance.id))
            assert await refused(node, Stop(f"x{turn}", instance.id)) == Code.INSTANCE_BUSY
            world.clock.advance(20)
            await until(node, lambda: not node.state.operations)
            assert [it.state for it in node.state.listed()] == ([state] if state else [])
        assert await refused(node, Start("y", instance.id)) == Code.INSTANCE_UNKNOWN


async def test_what_the_provider_cannot_do_has_failed_and_can_be_tried_again() -> None:
    class Picky(Scripted):
        async def behave(self, work: Work) -> None:
            if len(self.asked) == 1:
                raise ProviderError("no_capacity", "there is no room in this zone")

    provider, world = Picky(), World()
    async with world.running(provider=provider) as node:
        await ok(node, Create("1"))
        await until(node, lambda: not node.state.operations)
        failed = snapshot(node)["worklog"][-1]
        assert (failed["type"], failed["reason"]) == ("failed", "no_capacity")
        assert failed["detail"] == "there is no room in this zone"
        assert snapshot(node)["instances"] == []
        await ok(node, Create("2", spec={"size": "large"}))
        await until(node, lambda: bool(node.state.listed()))
        assert provider.asked[-1].spec == {"size": "large"}
    assert provider.closed


@pytest.mark.parametrize(
    "error", [ValueError("oops"), ProviderError("", "no reason"), ExceptionGroup("e", [OSError()])]
)
async def test_a_provider_that_breaks_fails_its_operation_and_nothing_else(
    error: Exception,
) -> None:
    class Broken(Scripted):
        async def behave(self, work: Work) -> None:
            raise error

    world = World()
    async with world.running(provider=Broken()) as node:
        await ok(node, Create("1"))
        await until(node, lambda: not node.state.operations)
        assert snapshot(node)["worklog"][-1]["reason"] == "provider_error"
        await ok(node, Join("2", "Ann"))


async def test_words_that_no_frame_can_hold_still_end_the_operation(
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Nor can a test's report hold them.
    caplog.set_level(logging.CRITICAL, logger="cloudchat_engine.operations")

    class Garbled(Scripted):
        async def behave(self, work: Work) -> None:
            raise OSError("file \udcff\x00 " + "x" * 100_000)

    world = World()
    async with world.running(provider=Garbled()) as node:
        await ok(node, Create("1"))
        await until(node, lambda: not node.state.operations)
        assert len(str(snapshot(node)["worklog"][-1]["detail"])) <= 500


async def test_a_provider_that_hangs_is_let_go_at_the_deadline_and_its_word_counts_no_more() -> (
    None
):
    provider, world = Hanging(), World()
    async with world.running(provider=provider, limits=Limits(operation_time=60)) as node:
        await ok(node, Create("1"))
        while not provider.asked:
            await anyio.lowlevel.checkpoint()
        world.clock.advance(59)
        await anyio.wait_all_tasks_blocked()
        assert node.state.operations
        world.clock.advance(1)
        await until(node, lambda: not node.state.operations)
        failed = snapshot(node)["worklog"][-1]
        assert (failed["type"], failed["reason"]) == ("failed", "timeout")
        await anyio.wait_all_tasks_blocked()
        assert provider.cancelled == 1


async def test_an_outcome_waits_for_a_log_that_is_full_and_is_told_once() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        await ok(node, Create("1"))
        log.full = True
        world.clock.advance(20)
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            world.clock.advance(1)
        assert snapshot(node)["instances"] == []
        assert len(snapshot(node)["operations"]) == 1
        log.full = False
        while node.state.operations:
            world.clock.advance(1)
            await anyio.lowlevel.checkpoint()
        assert kinds(await contents(log)).count("created") == 1


async def test_an_outcome_whose_append_is_uncertain_is_told_once() -> None:
    for fate in ("written", "lost"):
        log = RiggedLog()
        world = World(log)
        async with world.running() as node:
            await ok(node, Create("1"))
            log.fates = [fate]
            world.clock.advance(20)
            while node.state.operations:
                await anyio.lowlevel.checkpoint()
                world.clock.advance(1)
            await ok(node, Join("2", "Ann"))
            assert kinds(await contents(log)).count("created") == 1


async def test_what_is_as_it_should_be_is_not_done_again() -> None:
    """Level-triggered: the instance that a crash left behind is found, not made a second time."""
    provider, world = Scripted(), World()
    provider.sees = "stopped"
    async with world.running(provider=provider) as node:
        await ok(node, Create("1"))
        await until(node, lambda: bool(node.state.listed()))
        assert provider.asked == []


@pytest.mark.parametrize("away", [0, 10, 20, 3600])
@pytest.mark.parametrize("command", ["create", "start", "stop", "remove"])
async def test_an_operation_under_way_ends_after_a_restart_however_long_that_took(
    command: str, away: float
) -> None:
    world = World()
    async with world.running() as node:
        instance: InstanceView | None = None
        if command != "create":
            instance = await made(node, world)
        if command == "stop":
            assert instance
            await ok(node, Start("s", instance.id))
            world.clock.advance(20)
            await until(node, lambda: not node.state.operations)
        if instance is None:
            await ok(node, Create("c"))
        else:
            wish = {"start": Start, "stop": Stop, "remove": Remove}[command]
            await ok(node, wish("c", instance.id))
        before = len(await contents(world.log))
        world.clock.advance(5)
    world.clock.advance(away)
    async with world.running() as node:
        if away < 15:
            await anyio.wait_all_tasks_blocked()
            assert len(node.state.operations) == 1
            world.clock.advance(15 - away)
        await until(node, lambda: not node.state.operations)
    async with world.running() as node:
        world.clock.advance(60)
        await anyio.wait_all_tasks_blocked()
        outcome = {
            "create": "created",
            "start": "started",
            "stop": "stopped",
            "remove": "removed",
        }[command]
        later = kinds(await contents(world.log))[before:]
        assert later.count(outcome) == 1
        assert later.count("failed") == 0
        assert set(later) <= {"opened", outcome}


async def test_a_restart_asks_the_provider_again_for_what_is_open_and_for_nothing_else() -> None:
    world = World()
    first = Hanging()
    async with world.running(provider=first) as node:
        ack = await ok(node, Create("1"))
        while not first.asked:
            await anyio.lowlevel.checkpoint()
    assert first.cancelled == 1
    assert first.closed
    second = Scripted()
    async with world.running(provider=second) as node:
        await until(node, lambda: not node.state.operations)
        assert ack.operation
        assert [work.operation for work in second.asked] == [ack.operation.id]
        assert second.asked[0] == first.asked[0]
    third = Scripted()
    async with world.running(provider=third) as node:
        await ok(node, Join("2", "Ann"))
        assert third.asked == []


async def test_a_crash_between_the_work_and_its_word_ends_the_operation_once() -> None:
    """The provider is done, the log does not take it, the server goes: the next one sees it through."""
    log = RiggedLog()
    world = World(log)
    provider = Scripted()
    async with world.running(provider=provider) as node:
        log.shut()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ok, node, Create("1"))
            await log.wait_for_append()
            log.let_pass()
            await log.wait_for(lambda: len(log.appended) == 2)
            log.full = True
        while not provider.asked:
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
    log.full = False
    async with world.running(provider=provider) as node:
        await until(node, lambda: not node.state.operations)
        assert len(provider.asked) == 2
    assert kinds(await contents(log)).count("created") == 1


async def test_a_provider_that_does_not_let_go_does_not_keep_the_log_open() -> None:
    class Clinging(Scripted):
        async def aclose(self) -> None:
            raise OSError("no")

    log = RiggedLog()
    with pytest.raises(ExceptionGroup) as caught:
        async with World(log).running(provider=Clinging()) as node:
            await ok(node, Join("2", "Ann"))
    assert caught.group_contains(OSError)
    assert log.closed


async def test_hundreds_of_operations_that_time_out_together_all_end() -> None:
    world = World()
    limits = Limits(operation_time=60, commands_burst=10_000)
    async with world.running(provider=Hanging(), limits=limits) as node:
        for n in range(350):
            await ok(node, Create(f"c{n}"))
        world.clock.advance(61)
        await until(node, lambda: not node.state.operations)
        records = kinds(await contents(world.log))
        assert records.count("failed") == 350


async def test_deadlines_cost_nothing_while_the_clock_stands_still() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        await ok(node, Create("c"))
        decided = node.state.offset
        appends = len(log.appended)
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
        await anyio.wait_all_tasks_blocked()
        assert (node.state.offset, len(log.appended)) == (decided, appends)
        world.clock.advance(20)
        await until(node, lambda: not node.state.operations and not node.state.present(ANN.scope))
        # The memory of commands falls due in its time, with one record, and then not again.
        world.clock.advance(8 * 86_400)
        await until(node, lambda: not node.state.memories.scopes)
        await anyio.wait_all_tasks_blocked()
        later = len(log.appended)
        await anyio.wait_all_tasks_blocked()
        assert len(log.appended) == later
        assert kinds(await contents(log)).count("forgotten") <= 2


async def test_a_provider_that_knows_no_time_is_given_the_limit() -> None:
    provider: Scripted = Hanging()
    world = World()
    timer: Timer = world.timer
    assert SimulatedProvider(timer).expected("create") == 20
    async with world.running(provider=provider, limits=Limits(operation_time=5)) as node:
        ack = await ok(node, Create("c"))
        assert ack.operation
        assert not isinstance(ack.operation.expected, str)
        world.clock.advance(5)
        await until(node, lambda: not node.state.operations)
