"""The conformance kit for providers: what `cloudchat_engine.ports.Provider` promises, one test for each promise.

A provider of your own is shown to conform by

    class TestMyProvider(ProviderContract):
        @pytest.fixture
        def make_provider(self):
            return lambda timer: MyProvider()

The tests run on asyncio and trio. The timer that a factory is given never waits, so that a provider which is done at a
certain moment is done at once; one that works in real time has no use for it.
"""

import math
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest

from cloudchat_core.clock import SystemClock
from cloudchat_core.commands import Create, Remove, Start, Stop
from cloudchat_core.frames import Ack
from cloudchat_core.instances import ABSENT, RUNNING, STOPPED
from cloudchat_engine.logs import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.ports import Provider, Timer, Work
from cloudchat_engine.timers import SystemTimer

ProviderFactory = Callable[[Timer], Provider]
"""Makes a provider over the same place within one test; it is given a timer that never waits."""

_COMMANDS = ("create", "start", "stop", "remove")


class _NeverWaits:
    async def wait_until(self, deadline: int) -> None:
        await anyio.lowlevel.checkpoint()


def _work(instance: str, command: str) -> Work:
    now = SystemClock().now()
    return Work(str(uuid.uuid4()), instance, command, "kit", None, now, now)


async def _ensure(provider: Provider, work: Work) -> str:
    """Have the work done and return the state that the instance must be in then."""
    match work.command:
        case "create" | "stop":
            await provider.ensure_stopped(work)
            return STOPPED
        case "start":
            await provider.ensure_running(work)
            return RUNNING
        case _:
            await provider.ensure_absent(work)
            return ABSENT


@pytest.mark.anyio
class ProviderContract:
    """What every provider promises. Subclass it as `Test…` and give it a fixture `make_provider`."""

    @pytest.fixture
    def make_provider(self) -> ProviderFactory:
        """Return the factory; to be overridden."""
        raise NotImplementedError("a subclass of ProviderContract has a fixture `make_provider`")

    @asynccontextmanager
    async def _provider(self, make: ProviderFactory) -> AsyncIterator[Provider]:
        provider = make(_NeverWaits())
        try:
            yield provider
        finally:
            await provider.aclose()

    async def test_it_has_a_name_and_says_how_long_things_take(
        self, make_provider: ProviderFactory
    ) -> None:
        async with self._provider(make_provider) as provider:
            assert provider.name.isidentifier()
            for command in _COMMANDS:
                takes = provider.expected(command)
                assert takes is None or (takes >= 0 and math.isfinite(takes))

    async def test_what_it_ensures_is_so_however_often_it_is_asked(
        self, make_provider: ProviderFactory
    ) -> None:
        instance = str(uuid.uuid4())
        async with self._provider(make_provider) as provider:
            for command in ("create", "start", "stop", "start", "remove"):
                work = _work(instance, command)
                for _ in range(2):
                    state = await _ensure(provider, work)
                    assert await provider.observe(work) in {None, state}
                owned = await provider.list_owned()
                assert owned.count(instance) <= (0 if state == ABSENT else 1)

    async def test_what_was_never_made_is_removed_already(
        self, make_provider: ProviderFactory
    ) -> None:
        work = _work(str(uuid.uuid4()), "remove")
        async with self._provider(make_provider) as provider:
            assert await provider.observe(work) in {None, ABSENT}
            await provider.ensure_absent(work)
            assert await provider.list_owned() == []

    async def test_work_that_was_cut_short_is_finished_by_asking_again(
        self, make_provider: ProviderFactory
    ) -> None:
        instance = str(uuid.uuid4())
        for command in ("create", "start", "stop", "remove"):
            work = _work(instance, command)
            async with self._provider(make_provider) as provider:
                with anyio.CancelScope() as scope:
                    scope.cancel()
                    await _ensure(provider, work)
            # Another server goes on where the first was killed.
            async with self._provider(make_provider) as provider:
                assert await provider.observe(work) in {None, ABSENT, STOPPED, RUNNING}
                state = await _ensure(provider, work)
                assert await provider.observe(work) in {None, state}

    async def test_a_node_sees_an_instance_through_its_life(
        self, make_provider: ProviderFactory
    ) -> None:
        clock = SystemClock()
        node = Node(
            MemoryLog(),
            make_provider(_NeverWaits()),
            clock=clock,
            timer=SystemTimer(clock),
            new_id=lambda: str(uuid.uuid4()),
            new_epoch=lambda: "kit",
        )
        async with anyio.create_task_group() as tasks:
            await tasks.start(node.run)
            ack = await node.execute(Create("1", name="kit"))
            assert isinstance(ack, Ack)
            assert ack.instance
            instance = ack.instance.id
            for number, (wish, state) in enumerate(
                ((None, STOPPED), (Start, RUNNING), (Stop, STOPPED), (Remove, None)), 2
            ):
                if wish is not None:
                    assert isinstance(await node.execute(wish(str(number), instance)), Ack)
                while node.state.operations:
                    changed = anyio.Event()
                    forget = node.on_publish(changed.set)
                    await changed.wait()
                    forget()
                assert [it.state for it in node.state.listed()] == ([state] if state else [])
            tasks.cancel_scope.cancel()
