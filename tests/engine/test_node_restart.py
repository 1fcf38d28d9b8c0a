"""What stands in the log is what there is: snapshots, redactions, retention, time."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import Create, Join, Leave, Redact, Say, Start, Stop
from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits
from cloudchat_core.snapshot import restore
from cloudchat_engine import Erasure, Log, LogLockedError, LogUnavailableError, Retention, Saved
from cloudchat_engine.logs import MemoryLog, SqliteLog
from tests.engine.world import (
    ALL,
    ANN,
    BOB,
    CID,
    RiggedLog,
    World,
    contents,
    drop_old_records,
    ok,
    refused,
    replayed,
    snapshot,
    submit,
    texts,
    until,
)

pytestmark = pytest.mark.anyio

SECRET = "the quick brown secret"


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> RiggedLog:
    inner: Log = MemoryLog() if request.param == "memory" else SqliteLog(tmp_path / "log.db")
    return RiggedLog(inner)


def reopened(log: RiggedLog) -> RiggedLog:
    """The same log as another process would open it."""
    if isinstance(log.inner, SqliteLog):
        return RiggedLog(SqliteLog(log.inner.path))
    return RiggedLog(log.inner)


async def test_live_state_replayed_state_and_snapshot_plus_tail_are_one(log: RiggedLog) -> None:
    world = World()
    async with world.running(log=log, limits=Limits(snapshot_every=10)) as node:
        for caller, name in ((ANN, "Ann"), (BOB, "Bob"), (CID, "Cid")):
            await ok(node, Join("j", name), caller)
        for n in range(25):
            await ok(node, Say(f"s{n}", f"text {n}"), BOB)
        made = await ok(node, Create("c", name="web"), CID)
        await ok(node, Leave("l"), ANN)
        assert made.operation
        await log.wait_for(lambda: len(log.saved) > 1)
        live = node.state
        assert replayed(await contents(log)) == live
    assert log.saved[-1].offset == live.offset
    assert restore(log.saved[-1].state) == live
    log.saved.clear()
    second = reopened(log)
    async with world.running(log=second) as node:
        assert replayed(await contents(second)) == node.state
        assert node.state.operations == live.operations
        # A crash: the newest snapshot is older than the head.
        await ok(node, Say("tail", "tail"), BOB)
        second.saving_fails = True
    third = reopened(second)
    async with world.running(log=third) as node:
        assert replayed(await contents(third)) == node.state
        await ok(node, Say("tail", "tail"), BOB)
        assert texts(await contents(third)).count("tail") == 1


async def test_a_snapshot_that_cannot_be_used_costs_time_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    inner = MemoryLog()
    world = World(inner)
    async with world.running() as node:
        await ok(node, Join("j", "Ann"))
    log = RiggedLog(inner)
    saved = (await inner.open()).snapshot
    assert saved is not None
    await inner.save(type(saved)(saved.offset, b"[99]"))
    async with world.running(log=log) as node:
        assert node.state.present(ANN.scope)
    assert "replaying the whole log" in caplog.text


async def test_a_snapshot_is_saved_every_so_many_events_and_a_failure_of_it_hurts_nobody() -> None:
    log = RiggedLog()
    world = World()
    async with world.running(log=log, limits=Limits(snapshot_every=10)) as node:
        await ok(node, Join("j", "Ann"))
        for n in range(40):
            await ok(node, Say(f"a{n}", "text"))
            due = node.state.offset // 10 * 10
            await log.wait_for(lambda due=due: due in {0, *offsets(log)})  # type: ignore[misc]
        assert offsets(log) == [10, 20, 30, 40]
        log.saving_fails = True
        for n in range(40):
            await ok(node, Say(f"b{n}", "text"))
        log.saving_fails = False
        for n in range(20):
            await ok(node, Say(f"c{n}", "text"))
        await log.wait_for(lambda: offsets(log)[-1] >= 90)


def offsets(log: RiggedLog) -> list[int]:
    return [saved.offset for saved in log.saved]


@pytest.mark.parametrize("newer", [3, 60], ids=["recent", "old"])
async def test_what_was_taken_back_is_nowhere_any_more(newer: int, tmp_path: Path) -> None:
    """Not in the log's file, its snapshot, the window, a page; also not of a message older than the newest 50."""
    path = tmp_path / "log.db"
    world = World()
    log = RiggedLog(SqliteLog(path))
    async with world.running(log=log, limits=Limits(snapshot_every=20)) as node:
        await ok(node, Join("j", "Ann"))
        said = await ok(node, Say("s", SECRET))
        offset = node.state.offset
        for n in range(newer):
            await ok(node, Say(f"n{n}", "newer"))
        assert found_in(tmp_path, SECRET)
        before = node.feed.view(bytes, ALL).since(0)
        assert before is not None
        assert SECRET.encode() in before[0]
        await ok(node, Redact("r", said.cursor))
        redaction = node.state.offset
        await log.wait_for(lambda: bool(log.saved) and log.saved[-1].offset >= redaction)
        assert not found_in(tmp_path, SECRET)
        assert SECRET.encode() not in b"".join(node.snapshot(ALL))
        after = node.feed.view(bytes, ALL).since(0)
        assert after is not None
        assert SECRET.encode() not in after[0]
        [record] = await node.read(offset - 1, 1)
        assert b'"text":""' in record.body
        assert b'"redacted":true' in record.body
        page = await node.page("messages", offset + 1, 1)
        assert page == [record]
        await ok(node, Redact("r2", said.cursor))
    async with world.running(log=SqliteLog(path)) as node:
        assert not found_in(tmp_path, SECRET)
        assert node.state.offset == redaction + 2
        first = snapshot(node)["messages"][0]
        assert newer > 50 or first["redacted"] is True


def found_in(directory: Path, text: str) -> bool:
    return any(text.encode() in file.read_bytes() for file in directory.iterdir())


class Watchful(RiggedLog):
    """Refuses to keep a snapshot with a text that was erased, or is being erased, when it comes."""

    def __init__(self, inner: Log) -> None:
        super().__init__(inner)
        self.said: dict[int, bytes] = {}
        self.gone: list[bytes] = []

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        self.said |= {record.offset: record.body for record in records}
        self.gone += [self.said[erasure.offset] for erasure in erased]
        await super().append(records, expected, erased)

    async def save(self, snapshot: Saved) -> None:
        assert not any(body in snapshot.state for body in self.gone)
        await super().save(snapshot)


async def test_a_snapshot_in_the_making_does_not_bring_back_what_was_taken_back(
    tmp_path: Path,
) -> None:
    """Whatever the moment: texts come and go while a snapshot is due at every event."""
    log = Watchful(SqliteLog(tmp_path / "log.db"))
    world = World()
    async with world.running(log=log, limits=Limits(snapshot_every=1)) as node:
        await ok(node, Join("j", "Ann"))
        for n in range(60):
            said = await ok(node, Say(f"s{n}", f"{SECRET} {n}."))
            await ok(node, Redact(f"r{n}", said.cursor))
        head = node.state.offset
        await log.wait_for(lambda: log.saved[-1].offset >= head)
        assert not found_in(tmp_path, SECRET)
        assert len(log.gone) == 60


async def test_a_crash_between_a_redaction_and_its_snapshot_leaves_no_text_for_long() -> None:
    """Where the log's beginning is dropped, the older snapshot has to stay until the next; a start makes that one."""
    log = RiggedLog()
    world = World()
    limits, keep = Limits(snapshot_every=20), Retention(count=5)
    async with world.running(log=log, limits=limits, keep=keep) as node:
        await ok(node, Join("j", "Ann"))
        node.open_feed("f", lambda _: None, [ANN.scope])
        for n in range(30):
            await ok(node, Say(f"n{n}", "filler"))
        said = await ok(node, Say("s", SECRET))
        await drop_old_records(world, node, log)
        assert SECRET.encode() in log.saved[-1].state
        log.saving_fails = True
        await ok(node, Redact("r", said.cursor))
    opened = await log.inner.open()
    assert opened.snapshot is not None
    assert SECRET.encode() in opened.snapshot.state
    second = RiggedLog(log.inner)
    async with world.running(log=second) as node:
        await second.wait_for(lambda: bool(second.saved))
        opened = await log.inner.open()
        assert opened.snapshot is not None
        assert SECRET.encode() not in opened.snapshot.state


async def test_what_is_not_retained_is_a_gap_that_says_so(log: RiggedLog) -> None:
    world = World()
    async with world.running(log=log, keep=Retention(count=10)) as node:
        node.open_feed("f", lambda _: None, [ANN.scope])
        await ok(node, Join("j", "Ann"))
        early = node.state.cursor
        for n in range(40):
            await ok(node, Say(f"s{n}", f"text {n}"))
        assert node.begin(early, ALL, "f").gap is None
        await drop_old_records(world, node, log)
        assert node.first == node.state.offset - 9
        beginning = node.begin(early, ALL, "f")
        assert beginning.gap is not None
        assert b'"retention"' in beginning.gap
        assert beginning.snapshot
        assert node.begin(node.state.cursor_at(node.first - 1), ALL, "f").gap is None
        assert len(await node.read(0, 100)) == 10
        state = node.state
    async with world.running(log=reopened(log)) as node:
        assert node.first == state.offset - 9
        assert node.state.messages == state.messages
        assert node.begin(early, ALL, "f").gap is not None
        assert node.begin(state.cursor, ALL, "f").gap is None


async def test_a_restart_is_no_gap_and_the_window_is_there_again(log: RiggedLog) -> None:
    world = World()
    async with world.running(log=log) as node:
        await ok(node, Join("j", "Ann"))
        cursor = node.state.cursor
        await ok(node, Say("s", "while you were away"))
    async with world.running(log=reopened(log)) as node:
        beginning = node.begin(cursor, ALL, "f")
        assert beginning.gap is None
        assert not beginning.snapshot
        missed = node.feed.view(bytes, ALL).since(beginning.offset)
        assert missed is not None
        assert b"while you were away" in missed[0]
        assert missed[1] == node.state.offset
        assert node.state.epoch == "e2"
        gap = node.begin("e2-9999", ALL, "f").gap
        assert gap is not None
        assert b'"future"' in gap
        restored = node.begin("e1-9999", ALL, "f").gap
        assert restored is not None
        assert b'"epoch"' in restored


async def test_a_window_that_starts_after_a_long_log_still_ends_at_its_head(log: RiggedLog) -> None:
    world = World()
    async with world.running(log=log) as node:
        await ok(node, Join("j", "Ann"))
        for n in range(1200):
            submit(node, Say(f"s{n}", "text"))
        await ok(node, Say("last", "last"))
    async with world.running(log=reopened(log)) as node:
        assert node.feed.head == node.state.offset
        view = node.feed.view(bytes, ALL)
        assert view.since(0) is None
        tail = view.since(node.feed.first - 1)
        assert tail is not None
        assert tail[0].endswith(b'"ref":"last"}')


async def test_time_does_not_go_back_where_the_clock_did(log: RiggedLog) -> None:
    """Events go on from the log's time, and what is due comes due in its time, not when the clock has caught up."""
    world = World()
    async with world.running(log=log) as node:
        await ok(node, Join("j", "Ann"))
        made = await ok(node, Create("c"))
        world.clock.advance(20)
        await until(node, lambda: bool(node.state.listed()))
        at = node.state.at
    behind = World(start=at - 3_600_000)
    second = reopened(log)
    async with behind.running(log=second) as node:
        assert node.now() >= at
        assert node.state.at >= at
        assert node.begin("", ALL, "f").welcome.count(rfc3339(node.now()).encode()) == 1
        assert made.instance
        await refused(node, Stop("x", made.instance.id))
        await ok(node, Start("s", made.instance.id))
        behind.clock.advance(20)
        await until(node, lambda: not node.state.operations)
        assert node.state.listed()[0].state == "running"
        behind.clock.advance(5)  # grace, counted from the start
        await until(node, lambda: not node.state.present(ANN.scope))
        moments = [record.at for record in await contents(second)]
        assert moments == sorted(moments)


async def test_a_second_server_is_turned_away_and_the_first_goes_on(tmp_path: Path) -> None:
    world = World()
    path = tmp_path / "log.db"
    async with world.running(log=SqliteLog(path)) as node:
        with pytest.raises(LogLockedError, match="another server"):
            await world.node(log=SqliteLog(path)).run()
        await ok(node, Join("j", "Ann"))


async def test_a_file_that_cannot_be_used_is_told_at_the_start() -> None:
    with pytest.raises(LogUnavailableError, match="directory"):
        await World().node(log=SqliteLog(Path("/proc/nowhere/log.db"))).run()


async def test_the_memory_of_commands_outlives_a_restart(log: RiggedLog) -> None:
    world = World()
    async with world.running(log=log) as node:
        joined = await ok(node, Join("j", "Ann"))
        said = await ok(node, Say("s", "once"))
    async with world.running(log=reopened(log)) as node:
        assert await ok(node, Join("j", "Ann")) == joined
        assert await ok(node, Say("s", "once")) == said
        assert await refused(node, Say("s", "twice")) == Code.ID_REUSED
        assert (await ok(node, Join("k", "Ann"))).resumed is True
