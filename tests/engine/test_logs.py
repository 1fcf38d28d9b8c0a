"""Our own logs keep the promises that every log has to keep."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from cloudchat_core.errors import LocalProtocolError
from cloudchat_engine.logs import MemoryLog, SqliteLog
from cloudchat_engine.testing import (
    CheckedLogContract,
    DurableLogMachine,
    LogContract,
    LogFactory,
    LogMachine,
    example,
)


class TestMemoryLog(LogContract):
    @pytest.fixture
    def make_log(self) -> LogFactory:
        return MemoryLog


class TestSqliteLog(CheckedLogContract):
    @pytest.fixture
    def make_log(self, tmp_path: Path) -> LogFactory:
        return lambda: SqliteLog(tmp_path / "log.db")

    @pytest.fixture
    def spoil(self, tmp_path: Path) -> Callable[[int], None]:
        return spoiler(tmp_path / "log.db")


def spoiler(path: Path) -> Callable[[int], None]:
    """Return what changes a byte of the text at an offset, as a disk might."""

    def spoil(offset: int) -> None:
        with closing(sqlite3.connect(path)) as other, other:
            changed = "UPDATE log SET body = CAST(replace(body, 'hello', 'hullo') AS BLOB)"
            assert other.execute(f'{changed} WHERE "offset" = ?', (offset,)).rowcount == 1

    return spoil


class MemoryLogMachine(LogMachine):
    @contextmanager
    def storage(self) -> Iterator[LogFactory]:
        yield MemoryLog


class SqliteLogMachine(DurableLogMachine):
    @contextmanager
    def storage(self) -> Iterator[LogFactory]:
        with TemporaryDirectory() as directory:
            yield lambda: SqliteLog(Path(directory, "log.db"))


class SqliteLogOnTrioMachine(SqliteLogMachine):
    backend = "trio"


TestMemoryLogMachine = MemoryLogMachine.TestCase
TestSqliteLogMachine = SqliteLogMachine.TestCase
TestSqliteLogOnTrioMachine = SqliteLogOnTrioMachine.TestCase

TestMemoryLogMachine.settings = settings(max_examples=60)
TestSqliteLogMachine.settings = settings(max_examples=60, stateful_step_count=40)
TestSqliteLogOnTrioMachine.settings = settings(max_examples=15)


@pytest.mark.anyio
@pytest.mark.parametrize("make", [MemoryLog, SqliteLog])
async def test_a_record_with_an_offset_that_does_not_follow_is_our_own_mistake(
    make: type, tmp_path: Path
) -> None:
    log = make(tmp_path / "log.db") if make is SqliteLog else make()
    await log.open()
    with pytest.raises(LocalProtocolError):
        await log.append([example(1), example(3)], 0)
    assert await log.read(0, 10) == []
    await log.aclose()
