"""When the log cannot be written: nothing is lost, nobody is told a lie, and it comes back by itself."""

from pathlib import Path

import anyio
import pytest

from cloudchat_core import codec
from cloudchat_core.commands import Create, Join, Leave, Ping, Redact, Say
from cloudchat_core.errors import Code
from cloudchat_core.frames import Ack, Reply
from cloudchat_engine import (
    Log,
    LogConflictError,
    LogError,
    LogUncertainError,
    Node,
    Opened,
    Retention,
)
from cloudchat_engine.logs import MemoryLog, SqliteLog
from tests.engine.world import (
    ALL,
    ANN,
    BOB,
    Fate,
    RiggedLog,
    World,
    contents,
    drop_old_records,
    kinds,
    ok,
    refused,
    replayed,
    snapshot,
    submit,
    texts,
    until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    return MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db")


async def recovery(world: World, node: Node) -> None:
    """Let time pass until the node finds that its log can be written."""
    assert node.problem is not None
    while node.problem is not None:
        world.clock.advance(1)
        await anyio.lowlevel.checkpoint()


async def test_a_log_without_room_refuses_and_changes_nothing_and_readers_go_on(log: Log) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        await ok(node, Say("1", "before"))
        state, shown = node.state, node.snapshot(ALL)
        rigged.full = True
        boxes = [submit(node, Say(f"c{n}", f"text {n}")) for n in range(5)]
        assert await refused(node, Join("b", "Bob"), BOB) == Code.UNAVAILABLE
        assert [getattr(box[0], "code", "") for box in boxes] == [Code.UNAVAILABLE] * 5
        assert node.state is state
        assert node.snapshot(ALL) == shown
        await ok(node, Ping("p"))
        assert len(await node.page("messages", None, 10)) == 1
        assert node.begin(state.cursor, ALL, "f").gap is None
        assert "full" in (node.problem or "")
        rigged.full = False
        for n in range(5):
            await ok(node, Say(f"c{n}", f"text {n}"))
        assert node.problem is None
        assert texts(await contents(log)) == ["before", *(f"text {n}" for n in range(5))]


async def test_the_node_finds_out_by_itself_that_there_is_room_again() -> None:
    """A node that is not ready gets no commands; so readiness must not wait for one."""
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.full = True
        await refused(node, Say("1", "text"))
        for _ in range(3):
            world.clock.advance(1)
            await refused(node, Say("1", "text"))
        rigged.full = False
        cursor = node.state.cursor
        await recovery(world, node)
        assert node.begin(cursor, ALL, "f").gap is None
        await ok(node, Say("1", "text"))
        assert texts(await contents(rigged)) == ["text"]


@pytest.mark.parametrize("fate", ["written", "lost"])
async def test_an_append_of_unknown_outcome_is_looked_up_and_happens_once(
    fate: Fate, log: Log
) -> None:
    rigged = RiggedLog(log)
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.fates = [fate]
        boxes = [submit(node, Say(f"c{n}", f"text {n}")) for n in range(3)]
        made = await refused(node, Create("i", name="web"))
        assert made == Code.UNAVAILABLE
        assert [getattr(box[0], "code", "") for box in boxes] == [Code.UNAVAILABLE] * 3
        again = [await ok(node, Say(f"c{n}", f"text {n}")) for n in range(3)]
        instance = await ok(node, Create("i", name="web"))
        assert rigged.reopened == 1
        assert await ok(node, Create("i", name="web")) == instance
        records = await contents(log)
        assert texts(records) == ["text 0", "text 1", "text 2"]
        assert [record.event.cursor for record in records if record.event.topic == "chat"][1:] == [
            ack.cursor for ack in again
        ]
        assert node.state == replayed(records)
        assert node.feed.head == node.state.offset
        world.clock.advance(20)
        await until(node, lambda: bool(node.state.listed()))
        assert len(snapshot(node)["instances"]) == 1
        assert node.problem is None


async def test_a_log_that_does_not_open_again_is_asked_until_it_does_and_commands_do_not_hang() -> (
    None
):
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.fates, rigged.reopening_fails = ["written"], True
        assert await refused(node, Say("1", "text")) == Code.UNAVAILABLE
        for _ in range(3):
            assert await refused(node, Say("1", "text")) == Code.UNAVAILABLE
            assert await refused(node, Say("2", "other")) == Code.UNAVAILABLE
        rigged.reopening_fails = False
        await recovery(world, node)
        assert snapshot(node)["messages"][0]["text"] == "text"
        await ok(node, Say("2", "other"))
        await ok(node, Say("1", "text"))
        assert texts(await contents(rigged)) == ["text", "other"]


async def test_an_epoch_that_may_have_begun_is_not_begun_a_second_time() -> None:
    """Two epochs of one name would make the cursors of the second look lost."""
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.fates = ["lost", "written"]  # the command's append, and that of the epoch after it
        assert await refused(node, Say("1", "text")) == Code.UNAVAILABLE
        await rigged.wait_for(lambda: not rigged.fates)
        await recovery(world, node)
        names = [epoch.name for epoch in node.state.epochs]
        assert len(names) == len(set(names)) == 3
        said = await ok(node, Say("1", "text"))
        assert node.begin(said.cursor, ALL, "f").gap is None


async def test_who_joined_in_an_append_of_unknown_outcome_does_not_stay_for_ever() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        rigged.fates = ["written"]
        assert await refused(node, Join("j", "Ann")) == Code.UNAVAILABLE
        await ok(node, Join("b", "Bob"), BOB)
        assert [p["nickname"] for p in snapshot(node)["participants"]] == ["Ann", "Bob"]
        node.open_feed("f", lambda _: None, [BOB.scope])
        world.clock.advance(15)
        await until(node, lambda: len(snapshot(node)["participants"]) == 1)


async def test_a_redaction_of_unknown_outcome_reaches_the_feeds_too() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        said = await ok(node, Say("1", "secret"))
        offset = node.state.offset
        rigged.fates = ["written"]
        assert await refused(node, Redact("2", said.cursor)) == Code.UNAVAILABLE
        await ok(node, Redact("2", said.cursor))
        view = node.feed.view(bytes, ALL)
        found = view.since(offset - 1)
        assert found is not None
        assert b"secret" not in found[0]
        assert found[0].count(b'"redacted"') == 2  # the message that is one, and the event


async def test_a_log_that_lost_what_was_acknowledged_is_not_written_to_any_more() -> None:
    class Forgetful(RiggedLog):
        """Has lost its tail when it is opened again."""

        async def reopen(self) -> Opened:
            opened = await super().reopen()
            return Opened(opened.first, opened.head - 1, opened.snapshot)

    rigged = Forgetful()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.fates = ["lost"]
        assert await refused(node, Say("1", "text")) == Code.UNAVAILABLE
        appended = len(rigged.appended)
        assert await refused(node, Say("2", "text")) == Code.UNAVAILABLE
        assert "restore a backup" in (node.problem or "")
        assert len(rigged.appended) == appended
        assert snapshot(node)["participants"][0]["nickname"] == "Ann"


async def test_a_conflict_without_anything_new_is_a_damage_and_no_endless_loop() -> None:
    class Confused(RiggedLog):
        """Says that somebody else appended, but nobody did."""

        async def append(self, records, expected, erased=()):  # type: ignore[no-untyped-def]
            if expected > 1:
                raise LogConflictError("the head is elsewhere")
            await super().append(records, expected, erased)

    world = World(Confused())
    async with world.running() as node:
        assert isinstance(await node.execute(Join("j", "Ann"), ANN), Ack)
        assert await refused(node, Say("1", "text")) == Code.UNAVAILABLE
        assert "nothing new" in (node.problem or "")


async def test_what_cannot_be_looked_up_now_is_unavailable_and_not_unknown() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        old = await ok(node, Say("0", "old"))
        for n in range(1, 60):
            await ok(node, Say(str(n), "newer"))
        rigged.reading_fails = True
        assert await refused(node, Redact("r", old.cursor)) == Code.UNAVAILABLE
        rigged.reading_fails = False
        await ok(node, Redact("r", old.cursor))
        assert await refused(node, Redact("s", "e1-1")) == Code.MESSAGE_UNKNOWN
        assert await refused(node, Redact("t", "e1-9999")) == Code.MESSAGE_UNKNOWN
        assert await refused(node, Redact("u", "what")) == Code.MESSAGE_UNKNOWN


async def test_a_node_that_is_stopped_while_it_looks_something_up_has_not_done_it() -> None:
    class Slow(RiggedLog):
        """Takes for ever to look something up."""

        slow = False

        async def read(self, after: int, limit: int) -> list[codec.StoredRecord]:
            if self.slow:
                await anyio.sleep_forever()
            return await super().read(after, limit)

    log = Slow()
    async with World(log).running() as node:
        await ok(node, Join("j", "Ann"))
        old = await ok(node, Say("0", "old"))
        for n in range(1, 60):
            await ok(node, Say(str(n), "newer"))
        log.slow = True
        box: list[Reply] = []
        node.submit(Redact("r", old.cursor), ANN, box.append)
        await anyio.wait_all_tasks_blocked()
    assert getattr(box[0], "code", "") == Code.UNAVAILABLE
    log.slow = False
    assert "redacted" not in kinds(await contents(log))


async def test_records_that_cannot_be_dropped_now_are_dropped_later() -> None:
    class Stubborn(RiggedLog):
        """Drops nothing while its disk is bad."""

        bad = True

        async def retain(self, keep: Retention, now: int) -> int:
            if self.bad:
                raise LogUncertainError("an I/O error")
            return await super().retain(keep, now)

    log = Stubborn()
    world = World(log)
    async with world.running(keep=Retention(count=5)) as node:
        node.open_feed("f", lambda _: None, [ANN.scope])
        await ok(node, Join("j", "Ann"))
        for n in range(20):
            await ok(node, Say(str(n), "text"))
        world.clock.advance(60)
        await log.wait_for(lambda: bool(log.saved))
        await anyio.wait_all_tasks_blocked()
        assert node.first == 1
        await ok(node, Say("still", "here"))
        log.bad = False
        await drop_old_records(world, node, log)
        assert len(await node.read(0, 100)) <= 6


@pytest.mark.parametrize("fate", ["full", "lost"])
async def test_a_node_that_cannot_begin_its_epoch_does_not_start(fate: Fate) -> None:
    rigged = RiggedLog()
    rigged.fates = [fate]
    world = World(rigged)
    node = world.node()
    with pytest.raises(LogError) as caught:
        await node.run()
    assert isinstance(caught.value, LogUncertainError) == (fate == "lost")
    assert rigged.closed
    async with world.running() as second:
        await ok(second, Join("j", "Ann"))


async def test_another_servers_damaged_record_does_not_take_this_one_down() -> None:
    inner = MemoryLog()
    world = World(inner)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        bad = codec.StoredRecord(node.state.offset + 1, 0, "message", "chat", b"{}", b"{}")
        await inner.append([bad], node.state.offset, ())
        assert await refused(node, Leave("l")) == Code.UNAVAILABLE
        assert "damaged" in (node.problem or "")
        assert node.feed.head == node.state.offset


async def test_a_node_stops_though_its_log_never_came_back() -> None:
    rigged = RiggedLog()
    world = World(rigged)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
        rigged.fates, rigged.reopening_fails = ["lost"], True
        await refused(node, Say("1", "text"))
    assert rigged.closed
    assert not rigged.saved


async def test_erasures_of_another_node_are_taken_over() -> None:
    world = World()
    async with world.running() as one, world.running() as two:
        await ok(two, Join("j", "Ann"))
        said = await ok(two, Say("1", "secret"))
        await ok(one, Join("b", "Bob"), BOB)
        assert b"secret" in b"".join(one.snapshot(ALL))
        await ok(two, Redact("2", said.cursor))
        await ok(one, Say("3", "hm"), BOB)
        view = one.feed.view(bytes, ALL).since(0)
        assert view is not None
        assert b"secret" not in view[0]
        assert b"secret" not in b"".join(one.snapshot(ALL))
    records = await world.log.read(0, 100)
    assert not any(b"secret" in record.body for record in records)
