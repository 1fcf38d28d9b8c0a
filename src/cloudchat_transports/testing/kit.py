"""The conformance kit for transports: both halves together, over a real network, as a client meets them.

A transport is shown to conform by

    class TestMyTransport(TransportContract):
        @pytest.fixture
        def serve(self):
            @asynccontextmanager
            async def serve(node):
                async with my_server(node) as port:
                    yield Served(MyTransport("127.0.0.1", port), my_server.wind_down)
            return serve

The kit brings the node, whose clock stands still until a test moves it. Tests run on asyncio and Trio; a transport
that runs on one of them overrides the fixture `anyio_backend`.
"""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, ClassVar

import anyio
import msgspec
import pytest

from cloudchat_core.client_session import may_return
from cloudchat_core.clock import ManualClock
from cloudchat_core.limits import Limits
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import ManualTimer
from cloudchat_transports.client_transport import RejectedError, UnreachableError
from cloudchat_transports.testing.world import AttendedNode, Peer, World, token_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudchat_transports.testing.world import ServerFactory

PATIENCE = 30
"""Seconds after which a test has failed that waits for something."""

_LIMITS = Limits().with_values({"commands_per_second": 0, "requests_per_second": 0})
_BIG = "x" * 4_000


@pytest.mark.anyio
class TransportContract:
    """What every transport promises. Subclass it as `Test…` and give it a fixture `serve`."""

    close_codes: ClassVar[bool] = True
    """Whether a client is told by a close code why its server ended a feed; over HTTP there is none."""

    partings: ClassVar[bool] = True
    """Whether a server learns that its client closed with 1000; otherwise each end is a loss."""

    @pytest.fixture
    def serve(self) -> ServerFactory:
        """Return the factory; to be overridden."""
        raise NotImplementedError("a subclass of TransportContract has a fixture `serve`")

    @asynccontextmanager
    async def world(
        self, serve: ServerFactory, limits: Limits = _LIMITS, heartbeat: float = 15
    ) -> AsyncIterator[World]:
        """Run a node and serve it."""
        clock, ids = ManualClock(), count(1)
        timer = ManualTimer(clock)
        node = AttendedNode(
            MemoryLog(),
            SimulatedProvider(timer, 20),
            clock=clock,
            timer=timer,
            new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
            new_epoch=lambda: "k3f9",
            limits=limits,
            heartbeat=heartbeat,
        )
        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                await tasks.start(node.run)
                async with serve(node) as served:
                    yield World(node, clock, served)
                tasks.cancel_scope.cancel()

    # -- beginning

    async def test_a_feed_begins_with_welcome_and_snapshot(self, serve: ServerFactory) -> None:
        async with self.world(serve) as world:
            await world.publish("hello")
            async with world.connected() as peer:
                welcome = await peer.next()
                assert (welcome["type"], welcome["protocol"]) == ("welcome", "cloudchat.v1")
                snapshot = await peer.next()
                assert snapshot["type"] == "snapshot"
                assert [each["text"] for each in snapshot["messages"]] == ["hello"]

    async def test_what_cannot_be_had_is_refused_before_a_feed_begins(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world:
            for after, topics, status in [("", ("weather",), 404), ("x" * 129, (), 400)]:
                with pytest.raises(RejectedError) as caught:
                    async with world.connected(after, topics):
                        pytest.fail("nobody gets in")
                assert (caught.value.status, caught.value.final) == (status, True)

    async def test_a_feed_shows_its_topics_only(self, serve: ServerFactory) -> None:
        async with self.world(serve) as world, world.connected("", ("instances",)) as peer:
            await peer.until("snapshot")
            await world.publish("not for this feed")
            await peer.send("create")
            kinds = {(await peer.until("received", "ack", "message"))["type"] for _ in range(2)}
            assert kinds == {"received", "ack"}

    # -- commands and events

    async def test_a_command_is_answered_and_all_see_what_came_of_it(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, world.connected() as ann, world.connected() as ben:
            await ann.join("Ann")
            await ben.until("joined", nickname="Ann")
            said = await ann.answer("say", text="привет 😀")
            told = await ben.until("message")
            assert (told["text"], told["ref"]) == ("привет 😀", said["id"])
            assert told["cursor"] == said["cursor"]

    async def test_a_wrong_command_costs_an_error_and_nothing_else(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, world.connected() as peer:
            assert (await peer.answer("dance"))["code"] == "unknown_type"
            assert (await peer.answer("say", text="hi"))["code"] == "not_joined"
            assert (await peer.answer("start"))["code"] == "bad_command"
            assert (await peer.answer("ping"))["type"] == "ack"

    async def test_a_command_that_is_sent_again_happens_once(self, serve: ServerFactory) -> None:
        async with self.world(serve) as world:
            async with world.connected() as peer:
                await peer.join("Ann")
                first = await peer.answer("say", id="same", text="once")
            async with world.connected() as peer:
                await peer.join("Ann")
                assert await peer.answer("say", id="same", text="once") == first
            async with world.connected() as peer:
                messages = (await peer.until("snapshot"))["messages"]
                assert [each["text"] for each in messages] == ["once"]

    async def test_commands_are_done_and_shown_in_the_order_in_which_they_were_sent(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, world.connected() as ann, world.connected() as ben:
            await ann.join("Ann")
            texts = [f"number {number}" for number in range(60)]
            for text in texts:
                await ann.send("say", text=text)
            for peer in (ann, ben):
                assert [(await peer.until("message"))["text"] for _ in texts] == texts

    # -- going on

    async def test_a_feed_goes_on_after_a_cursor_and_nothing_is_missed_or_doubled(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world:
            async with world.connected() as peer:
                await peer.until("snapshot")
                await world.publish("one")
                cursor = (await peer.until("message", text="one"))["cursor"]
            await world.publish("two")
            async with world.connected(cursor) as peer:
                await world.publish("three")
                found = [await peer.until("message", "snapshot", "gap") for _ in range(2)]
                assert [each.get("text") for each in found] == ["two", "three"]

    async def test_a_cursor_that_cannot_be_served_is_answered_by_gap_and_snapshot(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, world.connected("other-7") as peer:
            assert (await peer.next())["type"] == "welcome"
            gap = await peer.next()
            assert (gap["type"], gap["after"], gap["reason"]) == ("gap", "other-7", "epoch")
            assert (await peer.next())["type"] == "snapshot"

    async def test_a_silent_feed_is_told_its_own_position(self, serve: ServerFactory) -> None:
        async with self.world(serve, heartbeat=0.5) as world, world.connected() as peer:
            cursor = (await peer.until("snapshot"))["cursor"]
            assert (await peer.until("heartbeat"))["cursor"] == cursor

    # -- bounds

    async def test_a_command_larger_than_a_frame_leaves_no_trace(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, world.connected() as ann, world.connected() as ben:
            await ann.join("Ann")
            command_id = await ann.send("say", text="x" * world.node.limits.frame)
            while (data := await ann.connection.receive()) is not None:
                frame = msgspec.json.decode(data)
                if frame["type"] == "error":
                    assert frame["id"] in {command_id, None}
                    break
            else:
                assert ann.connection.close_code in ({1009} if self.close_codes else {1009, 1006})
            await world.publish("the next")
            assert (await ben.until("message"))["text"] == "the next"

    async def test_who_does_not_read_holds_nobody_up_and_misses_nothing(
        self, serve: ServerFactory
    ) -> None:
        # More than all buffers on the way hold, and more than the window keeps.
        total = 3_000
        limits = _LIMITS.with_values({"window": 200_000})
        async with (
            self.world(serve, limits) as world,
            world.connected() as slow,
            world.connected() as quick,
        ):
            await slow.until("snapshot")
            await quick.until("snapshot")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._publish_all, world, total)
                last = await quick.until("message", text=f"{_BIG}{total - 1}")
            for number in range(total):
                found = await slow.until("message", "gap", "snapshot")
                assert found["text"] == f"{_BIG}{number}"
            assert found["cursor"] == last["cursor"]

    async def _publish_all(self, world: World, total: int) -> None:
        for number in range(total):
            await world.publish(f"{_BIG}{number}")

    # -- ends

    async def test_who_vanishes_has_a_grace(self, serve: ServerFactory) -> None:
        async with self.world(serve) as world, world.connected() as other:
            async with world.connected() as peer:
                await peer.join("Ann")
            async with world.connected() as peer:
                assert (await peer.answer("join", nickname="Ann", token=token_of("Ann")))["resumed"]
                await other.until("joined")
            left = await world.after_a_while(other, "left")
            assert (left["nickname"], left["reason"]) == ("Ann", "disconnected")

    @pytest.mark.parametrize("code", [1000, 1001])
    async def test_who_closes_with_1000_has_left_at_once_and_who_goes_away_may_come_back(
        self, serve: ServerFactory, code: int
    ) -> None:
        async with self.world(serve) as world, world.connected() as other:
            async with world.connected() as peer:
                await peer.join("Ann")
                await peer.connection.close(code)
            if code == 1000 and self.partings:
                left = await other.until("left")
                assert left["reason"] == "left"
            else:
                left = await world.after_a_while(other, "left")
                assert left["reason"] == "disconnected"

    async def test_one_feed_too_many_of_a_token_ends_the_oldest(self, serve: ServerFactory) -> None:
        limits = _LIMITS.with_values({"feeds_per_token": 1})
        ends: list[tuple[Peer, int]] = []

        async def note_the_end(peer: Peer) -> None:
            ends.append((peer, await peer.ended()))
            tasks.cancel_scope.cancel()

        async with self.world(serve, limits) as world, world.connected() as old:
            await old.join("Ann")
            async with world.connected() as new:
                await new.join("Ann")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(note_the_end, old)
                    tasks.start_soon(note_the_end, new)
            ended, code = ends[0]
            if self.close_codes:
                assert (ended, code) == (old, 4001)
            else:  # which of two that poll is the older one, their next polls decide
                assert may_return(code)

    async def test_a_planned_restart_says_when_to_come_back_and_ends_all_feeds(
        self, serve: ServerFactory
    ) -> None:
        async with self.world(serve) as world, AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(world.connected()) for _ in range(3)]
            async with anyio.create_task_group() as tasks:
                for peer in peers:
                    tasks.start_soon(self._say_goodbye, peer)
                await world.node.attended_by(len(peers))
                await world.served.wind_down()
            with pytest.raises((UnreachableError, RejectedError)) as caught:
                async with world.connected():
                    pytest.fail("nobody gets in")
            assert not getattr(caught.value, "final", False)

    async def _say_goodbye(self, peer: Peer) -> None:
        assert 0 < (await peer.until("closing"))["retry_after"] <= 5
        assert await peer.ended() == 1012
