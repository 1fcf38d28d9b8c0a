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
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from cloudchat_core.clock import SystemClock
from cloudchat_core.commands import Create, Remove, Start, Stop
from cloudchat_core.frames import Ack
from cloudchat_core.instances import ABSENT, RUNNING, STOPPED
from cloudchat_engine.logs import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.ports import Provider, ProviderError, Timer, Work
from cloudchat_engine.timers import SystemTimer

ProviderFactory = Callable[[Timer], Provider]
"""Makes a provider over the same place within one test; it is given a timer that never waits."""

_COMMANDS = ("create", "start", "stop", "remove")


class _NeverWaits:
    async def wait_until(self, deadline: int) -> None:
        await anyio.lowlevel.checkpoint()


def _work(instance: str, command: str, spec: dict[str, Any] | None = None) -> Work:
    now = SystemClock().now()
    return Work(str(uuid.uuid4()), instance, command, "kit", spec, now, now)


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
    """What every provider promises. Subclass it as `Test…` and give it a fixture `make_provider`.

    `impossible`: the `spec` of an instance that it cannot make (None: it makes whatever it is asked for).
    """

    impossible: ClassVar[dict[str, Any] | None] = None

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

    async def test_what_is_so_already_is_ensured_by_another_operation_too(
        self, make_provider: ProviderFactory
    ) -> None:
        instance = str(uuid.uuid4())
        async with self._provider(make_provider) as provider:
            for command in ("create", "stop", "start", "start", "stop", "remove", "remove"):
                work = _work(instance, command)
                state = await _ensure(provider, work)
                assert await provider.observe(work) in {None, state}

    async def test_what_is_done_to_one_instance_changes_no_other(
        self, make_provider: ProviderFactory
    ) -> None:
        one, other = str(uuid.uuid4()), str(uuid.uuid4())
        async with self._provider(make_provider) as provider:
            for instance in (one, other):
                await _ensure(provider, _work(instance, "create"))
            await _ensure(provider, _work(one, "start"))
            assert await provider.observe(_work(other, "stop")) in {None, STOPPED}
            await _ensure(provider, _work(other, "start"))
            await _ensure(provider, _work(one, "remove"))
            assert await provider.observe(_work(one, "remove")) in {None, ABSENT}
            assert await provider.observe(_work(other, "start")) in {None, RUNNING}
            await _ensure(provider, _work(other, "remove"))

    async def test_what_it_keeps_is_listed_once_and_is_there_for_who_comes_next(
        self, make_provider: ProviderFactory
    ) -> None:
        instances = sorted(str(uuid.uuid4()) for _ in range(3))
        async with self._provider(make_provider) as provider:
            for instance in instances:
                await _ensure(provider, _work(instance, "create"))
            await _ensure(provider, _work(instances[0], "start"))
        async with self._provider(make_provider) as provider:
            states = [await provider.observe(_work(it, "stop")) for it in instances]
            owned = await provider.list_owned()
            if None in states:  # it cannot tell: it keeps nothing, or does not look
                assert sorted(owned) in ([], instances)
            else:
                assert states == [RUNNING, STOPPED, STOPPED]
                assert sorted(owned) == instances
            for instance in instances:
                await _ensure(provider, _work(instance, "remove"))
            assert await provider.list_owned() == []

    async def test_what_cannot_be_made_is_said_with_a_reason_and_leaves_nothing(
        self, make_provider: ProviderFactory
    ) -> None:
        if self.impossible is None:
            return
        instance = str(uuid.uuid4())
        work = _work(instance, "create", self.impossible)
        async with self._provider(make_provider) as provider:
            for _ in range(2):
                with pytest.raises(ProviderError) as caught:
                    await provider.ensure_stopped(work)
                assert re.fullmatch("[a-z_]+", caught.value.reason)
                assert str(caught.value)
            assert await provider.observe(work) in {None, ABSENT}
            assert instance not in await provider.list_owned()
            await _ensure(provider, _work(instance, "remove"))

    @pytest.mark.parametrize("steps", range(5))
    async def test_work_that_was_cut_short_anywhere_is_finished_by_asking_again(
        self, make_provider: ProviderFactory, steps: int
    ) -> None:
        instance = str(uuid.uuid4())
        for command in ("create", "start", "stop", "remove"):
            work = _work(instance, command)
            async with (
                self._provider(make_provider) as provider,
                anyio.create_task_group() as tasks,
            ):
                tasks.start_soon(_ensure, provider, work)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            # Another server goes on where the first was killed.
            async with self._provider(make_provider) as provider:
                assert await provider.observe(work) in {None, ABSENT, STOPPED, RUNNING}
                state = await _ensure(provider, work)
                assert await provider.observe(work) in {None, state}
                owned = await provider.list_owned()
                assert owned.count(instance) <= (0 if state == ABSENT else 1)

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
