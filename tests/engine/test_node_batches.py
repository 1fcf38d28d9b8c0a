"""The one loop: a batch at a time, durable before anybody is told."""

from pathlib import Path

import anyio
import pytest

from cloudchat_core.commands import Create, Join, Ping, Say
from cloudchat_core.errors import Code
from cloudchat_core.frames import Ack, Refusal, Reply
from cloudchat_core.limits import Limits
from cloudchat_engine import Log, Node
from cloudchat_engine.logs import MemoryLog, SqliteLog
from tests.engine.world import (
    ALL,
    ANN,
    BOB,
    RiggedLog,
    World,
    contents,
    kinds,
    ok,
    submit,
    texts,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db")


async def test_nothing_is_answered_published_or_shown_before_the_append_returns(log: Log) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        published: list[int] = []
        node.on_publish(lambda: published.append(node.feed.head))
        state, frames = node.state, node.snapshot(ALL)
        rigged.shut()
        box = submit(node, Say("1", "hello"))
        await rigged.wait_for_append()
        assert (box, published) == ([], [])
        assert node.state is state
        assert node.feed.head == state.offset
        assert node.snapshot(ALL) == frames
        assert node.begin("", ALL, "f").offset == state.offset
        rigged.let_pass()
        await rigged.wait_for(lambda: bool(rigged.appended[2:]))
        while not box:  # the answer follows the append in the loop's next step
            await anyio.lowlevel.checkpoint()
        assert published == [state.offset + 1]
        assert isinstance(box[0], Ack)


async def test_what_the_log_has_but_nobody_was_told_is_not_read_by_anybody() -> None:
    """Durable and committed are two moments; in between, readers are still shown what is committed."""

    class Slow(RiggedLog):
        """Says that it appended only when it may."""

        async def append(self, records, expected, erased=()):  # type: ignore[no-untyped-def]
            await self.inner.append(records, expected, erased)
            await super().append([], expected + len(records), erased)

    rigged = Slow()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        submit(node, Say("1", "early"))
        await rigged.wait_for_append()
        assert len(await rigged.inner.read(node.state.offset, 10)) == 1
        assert await node.read(node.state.offset, 10) == []
        assert await node.page("messages", None, 10) == []
        assert await node.page("messages", 2**40, 10) == []
        rigged.let_pass()


async def test_commands_that_arrive_during_an_append_are_the_next_batch(log: Log) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        first = submit(node, Say("1", "one"))
        await rigged.wait_for_append()
        rest = [submit(node, Say(str(n), "more")) for n in range(2, 7)]
        rigged.let_pass()
        await ok(node, Ping("p"))
        assert isinstance(first[0], Ack)
        assert [isinstance(box[0], Ack) for box in rest] == [True] * 5
        assert rigged.appended[-2:] == [1, 5]


async def test_a_hundred_and_twenty_eight_in_flight_are_answered_in_order_each_at_its_offset(
    log: Log,
) -> None:
    world = World(log)
    answered: list[str] = []
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))

        def note(reply: Reply) -> None:
            assert isinstance(reply, Ack)
            answered.append(reply.id)

        for n in range(128):
            node.submit(Say(f"c{n}", f"text {n}"), ANN, note)
        last = await ok(node, Say("last", "done"))
        assert answered == [f"c{n}" for n in range(128)]
        assert last.cursor == node.state.cursor
        records = await contents(log)
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        assert texts(records) == [*(f"text {n}" for n in range(128)), "done"]


async def test_a_batch_sees_what_was_decided_before_in_it() -> None:
    world = World()
    async with world.running() as node:
        boxes = [
            submit(node, Join("1", "Ann"), ANN),
            submit(node, Join("2", "ann"), BOB),
            submit(node, Say("3", "hello"), ANN),
            submit(node, Say("3", "hello"), ANN),
            submit(node, Say("3", "other"), ANN),
        ]
        await ok(node, Ping("p"))
        replies = [box[0] for box in boxes]
        assert isinstance(replies[1], Refusal)
        assert replies[1].code == Code.NICKNAME_TAKEN
        assert isinstance(replies[2], Ack)
        assert replies[3] == replies[2]
        assert isinstance(replies[4], Refusal)
        assert replies[4].code == Code.ID_REUSED
        assert texts(await contents(world.log)) == ["hello"]


async def test_a_batch_has_its_limit_and_the_queue_too() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running(limits=Limits(batch=3, waiting=5)) as node:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        submit(node, Say("0", "under way"))
        await rigged.wait_for_append()
        boxes = [submit(node, Say(str(n), "text")) for n in range(1, 8)]
        turned_away = [box[0] for box in boxes[5:]]
        assert all(isinstance(it, Refusal) and it.code == Code.UNAVAILABLE for it in turned_away)
        rigged.let_pass()
        await rigged.wait_for(lambda: sum(rigged.appended) == 8)
        await ok(node, Ping("p"))
        assert all(isinstance(box[0], Ack) for box in boxes[:5])
        assert rigged.appended[-3:] == [1, 3, 2]


async def test_a_large_batch_does_not_keep_the_others_from_running() -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        boxes = [submit(node, Say(f"c{n}", "text")) for n in range(1_000)]
        turns = 0
        while not boxes[-1]:
            await anyio.lowlevel.checkpoint()
            turns += not boxes[0]
        assert turns >= 5
        assert all(isinstance(box[0], Ack) for box in boxes)


async def test_a_transport_that_fails_hurts_neither_the_node_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    async with world.running() as node:

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        told: list[int] = []
        forget = node.on_publish(fail)
        node.on_publish(lambda: told.append(1))
        node.submit(Join("1", "Ann"), ANN, fail)
        await ok(node, Join("2", "Bob"), BOB)
        assert told
        forget()
        forget()
        caplog.clear()
        await ok(node, Say("3", "still here"), BOB)
        assert not caplog.records


async def test_a_command_that_cannot_be_stored_costs_itself_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        strange = submit(node, Say("1", "half a pair: \ud800"))
        fine = submit(node, Say("2", "fine"))
        await ok(node, Ping("p"))
        assert isinstance(strange[0], Refusal)
        assert strange[0].code == Code.INTERNAL
        assert isinstance(fine[0], Ack)
        assert texts(await contents(world.log)) == ["fine"]
    assert "could not be decided" in caplog.text


async def test_a_node_that_is_stopped_learns_what_became_of_its_append_and_says_so(
    log: Log,
) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    node = world.node()
    late: list[Reply] = []
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        box = submit(node, Say("1", "in the append"))
        await rigged.wait_for_append()
        waiting = submit(node, Say("2", "in the queue"))
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.lowlevel.checkpoint()
            assert not box
            rigged.let_pass()
    assert isinstance(box[0], Ack)
    assert isinstance(waiting[0], Refusal)
    assert waiting[0].code == Code.UNAVAILABLE
    node.submit(Say("3", "too late"), ANN, late.append)
    assert isinstance(late[0], Refusal)
    assert rigged.closed


async def test_what_a_stopped_node_acknowledged_is_what_the_next_one_opens_with(
    tmp_path: Path,
) -> None:
    world = World()
    for turn in range(3):
        log = SqliteLog(tmp_path / "log.db")
        async with world.running(log=log) as node:
            await ok(node, Join(f"j{turn}", "Ann"))
            await ok(node, Say(f"s{turn}", f"turn {turn}"))
            assert texts(await contents(log)) == [f"turn {n}" for n in range(turn + 1)]


async def test_giving_up_the_wait_for_an_answer_does_not_undo_the_command() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node, anyio.create_task_group() as tasks:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        tasks.start_soon(node.execute, Say("1", "said"), ANN)
        await rigged.wait_for_append()
        tasks.cancel_scope.cancel()
        rigged.let_pass()
        with anyio.CancelScope(shield=True):
            again = await ok(node, Say("1", "said"))
            assert again.cursor.endswith("-3")
            assert texts(await contents(rigged)) == ["said"]


async def test_of_a_private_record_the_window_has_nothing_but_its_place() -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        await ok(node, Join("k", "Ann"))  # changes nothing, and is remembered
        assert kinds(await contents(world.log)) == ["opened", "joined", "accepted"]
        found = node.feed.view(bytes, {"", *ALL}).since(0)
        assert found is not None
        assert found[0].startswith(b'{"type":"joined"')
        assert found[0].count(b'"type"') == 1
        assert found[1] == 3


async def test_two_nodes_over_one_log_decide_on_top_of_each_other() -> None:
    """Compare-and-append: the one whose append did not fit reads what is new and decides again."""
    world = World()
    async with world.running() as one, world.running() as two:
        assert one.state.offset == 1
        await ok(two, Join("a", "Ann"), ANN)
        published: list[int] = []
        one.on_publish(lambda: published.append(one.feed.head))
        reply = await one.execute(Join("b", "ann"), BOB)
        assert isinstance(reply, Refusal)
        assert reply.code == Code.NICKNAME_TAKEN
        assert published == [3]
        ack = await ok(one, Create("c", name="web"), BOB)
        again = await two.execute(Create("c", name="web"), BOB)
        assert again == ack
        assert one.state == two.state
        records = await contents(world.log)
        assert [record.offset for record in records] == list(range(1, len(records) + 1))


async def test_the_next_batch_is_on_its_way_to_the_disk_when_the_last_is_published_and_answered(
    log: Log,
) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        first = submit(node, Say("1", "one"))
        await rigged.wait_for_append()
        second = submit(node, Say("2", "two"))
        seen: list[tuple[int, int]] = []
        node.on_publish(lambda: seen.append((node.state.offset, node.feed.head)))
        head = node.state.offset
        rigged.let_pass()
        rigged.shut()
        await rigged.wait_for_append()
        while not first:
            await anyio.lowlevel.checkpoint()
        assert isinstance(first[0], Ack)
        assert (second, seen) == ([], [(head + 1, head + 1)])
        assert rigged.appended[-1] == 1
        rigged.let_pass()
        await ok(node, Ping("p"))
        assert isinstance(second[0], Ack)
        assert seen == [(head + 1, head + 1), (head + 2, head + 2)]


async def idle(node: Node) -> None:
    with anyio.fail_after(30):
        while node.busy:
            await anyio.lowlevel.checkpoint()


async def test_a_node_is_busy_from_a_command_on_until_its_outcome_is_published() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        await idle(node)
        published: list[bool] = []
        node.on_publish(lambda: published.append(node.busy))
        rigged.shut()
        submit(node, Say("1", "one"))
        assert node.busy
        await rigged.wait_for_append()
        assert node.busy
        rigged.let_pass()
        await idle(node)
        assert published == [True]


async def test_what_is_durable_is_answered_also_when_the_next_batch_fails() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.shut()
        first = submit(node, Say("1", "one"))
        await rigged.wait_for_append()
        second = submit(node, Say("2", "two"))
        rigged.fates = [None, "full"]
        rigged.let_pass()
        while not second:
            await anyio.lowlevel.checkpoint()
        assert isinstance(first[0], Ack)
        assert isinstance(second[0], Refusal)
        assert second[0].code == Code.UNAVAILABLE
        assert texts(await contents(rigged)) == ["one"]
        await ok(node, Say("2", "two"))
        assert texts(await contents(rigged)) == ["one", "two"]


async def test_answers_that_are_given_together_are_flushed_once_behind_all_of_them() -> None:
    world = World()
    heard: list[str] = []

    def flush() -> None:
        heard.append("flush")

    def fail() -> None:
        raise ValueError

    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        for n in range(3):
            node.submit(
                Say(f"c{n}", "text"), ANN, lambda reply: heard.append(reply.id or ""), flush
            )
            node.submit(Say(f"d{n}", "text"), ANN, lambda _: None, fail)
        await ok(node, Ping("p"))
        assert heard == ["c0", "c1", "c2", "flush"]
    node.submit(Say("late", "text"), ANN, lambda reply: heard.append(type(reply).__name__), flush)
    assert heard[4:] == ["Refusal", "flush"]
