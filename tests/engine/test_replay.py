"""A damaged log is said to be damaged, and by which record; it is never half believed."""

import msgspec
import pytest

from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import Create, Join, Say
from cloudchat_engine import LogDamagedError, Retention, Saved
from cloudchat_engine.logs import MemoryLog
from cloudchat_engine.replay import PAGE, replay
from tests.engine.world import World, contents, ok, replayed, submit

pytestmark = pytest.mark.anyio


class Damaged(MemoryLog):
    """A log in which one record was lost or replaced."""

    def __init__(self, whole: list[StoredRecord], bad: int, instead: StoredRecord | None) -> None:
        super().__init__()
        self._whole = [instead if record.offset == bad else record for record in whole]

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        kept = [record for record in self._whole if record is not None and record.offset > after]
        return kept[:limit]


async def a_log() -> MemoryLog:
    log = MemoryLog()
    async with World(log).running() as node:
        await ok(node, Join("j", "Ann"))
        await ok(node, Create("c"))
        for n in range(PAGE + 10):
            submit(node, Say(f"s{n}", "text"))
        await ok(node, Say("end", "end"))
    return log


async def test_a_log_without_a_snapshot_is_replayed_from_its_first_record() -> None:
    log = await a_log()
    opened = await log.open()
    state = await replay(log, msgspec.structs.replace(opened, snapshot=None))
    assert state == replayed(await contents(log))
    assert state == await replay(log, opened)


@pytest.mark.parametrize("bad", [1, 2, PAGE, PAGE + 1, PAGE + 2])
async def test_a_record_that_is_missing_is_named(bad: int) -> None:
    log = await a_log()
    opened = msgspec.structs.replace(await log.open(), snapshot=None)
    whole = await log.read(0, 2 * PAGE)
    with pytest.raises(LogDamagedError, match=rf"record {bad}\b.*backup"):
        await replay(Damaged(whole, bad, None), opened)


async def test_a_log_that_ends_before_its_head_is_damaged() -> None:
    log = await a_log()
    opened = await log.open()
    opened = msgspec.structs.replace(opened, snapshot=None, head=opened.head + 1)
    with pytest.raises(LogDamagedError, match=rf"record {opened.head}\b"):
        await replay(log, opened)


async def test_a_record_that_cannot_be_read_is_named() -> None:
    log = await a_log()
    opened = msgspec.structs.replace(await log.open(), snapshot=None)
    whole = await log.read(0, 2 * PAGE)
    instead = msgspec.structs.replace(whole[6], body=whole[6].body[:-1])
    with pytest.raises(LogDamagedError, match=r"record 7 .*backup"):
        await replay(Damaged(whole, 7, instead), opened)


async def test_a_snapshot_of_another_log_is_not_believed(caplog: pytest.LogCaptureFixture) -> None:
    log = await a_log()
    opened = await log.open()
    assert opened.snapshot is not None
    wrong = Saved(opened.snapshot.offset - 1, opened.snapshot.state)
    state = await replay(log, msgspec.structs.replace(opened, snapshot=wrong))
    assert state == replayed(await contents(log))
    assert "does not belong" in caplog.text
    early = msgspec.structs.replace(opened, head=opened.head - 5)
    assert (await replay(log, early)).offset <= opened.head


async def test_a_beginning_that_is_gone_needs_its_snapshot() -> None:
    log = await a_log()
    await log.retain(Retention(count=5), 0)
    opened = await log.open()
    assert opened.first > 1
    assert (await replay(log, opened)).offset == opened.head
    with pytest.raises(LogDamagedError, match="no snapshot"):
        await replay(log, msgspec.structs.replace(opened, snapshot=None))
    bad = Saved(opened.head, b"nonsense")
    with pytest.raises(LogDamagedError, match="is gone"):
        await replay(log, msgspec.structs.replace(opened, snapshot=bad))
