"""What a SqliteLog promises about its file."""

# ruff: noqa: ASYNC240 - what blocks here is the test alone

import random
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from cloudchat_core.errors import LocalProtocolError
from cloudchat_engine.logs import SqliteLog, sqlite_reader
from cloudchat_engine.logs.sqlite_file import APPLICATION_ID, MIGRATIONS, migrate
from cloudchat_engine.ports import (
    LogDamagedError,
    LogError,
    LogUnavailableError,
    LogUncertainError,
    Opened,
    Retention,
    Saved,
)
from cloudchat_engine.testing import example, examples, redaction
from cloudchat_engine.testing.records import KINDS, erased, retain_all, shown, weight
from tests.engine.test_log_faults import run

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def raw(path: Path) -> bytes:
    """Return every byte that stands in the file and beside it."""
    return b"".join(p.read_bytes() for p in sorted(path.parent.glob(f"{path.name}*")))


async def make(path: Path, count: int) -> None:
    log = SqliteLog(path)
    await log.open()
    await log.append(examples(0, count), 0)
    await log.aclose()


async def refusal(path: Path) -> str:
    """Find that the log cannot be opened because of what is in its file."""
    with pytest.raises(LogDamagedError) as caught:
        await SqliteLog(path).open()
    return str(caught.value)


class TestErasure:
    async def test_an_erased_text_stands_nowhere_in_the_files(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        texts = ["secret-one", "secret-two" * 2_000, "secret-new", "other"]
        records = [example(n, text=text) for n, text in enumerate(texts, 1)]
        await log.append(records[:2], 0)
        await log.save(Saved(2, b"a state that knows secret-one"))
        assert b"secret-one" in raw(path)
        assert b"secret-two" in raw(path)
        await log.append(records[2:], 2, [redaction(r) for r in records[:3]])
        assert b"secret" not in raw(path)
        assert b"other" in raw(path)
        await log.aclose()
        assert b"secret" not in raw(path)

    @pytest.mark.parametrize("seed", range(4))
    async def test_nor_does_it_after_any_retention(self, path: Path, seed: int) -> None:
        """SQLite moves rows, and leaves copies behind, when rows beside them are deleted."""
        source = random.Random(seed)
        log = SqliteLog(path)
        await log.open()
        erased: set[int] = set()
        head = 0
        for _ in range(25):
            batch = [
                example(n, text=f"<{n}>" + "." * source.choice([0, 300, 600, 1_000, 6_000]))
                for n in range(head + 1, head + source.randint(100, 400))
            ]
            await log.append(batch, head)
            head += len(batch)
            await log.save(Saved(head, b"state"))
            first = await log.retain(Retention(count=source.randint(50, 300)), 0)
            chosen = {first, *source.sample(range(first, head + 1), 5)} - erased
            await log.append([], head, [redaction(example(n)) for n in chosen])
            erased |= chosen
            found = [int(n) for n in re.findall(rb"<(\d+)>", raw(path))]
            assert sorted(found) == sorted(set(range(first, head + 1)) - erased)
        await log.aclose()

    async def test_a_text_in_a_snapshot_that_had_to_stay_goes_with_the_next(
        self, path: Path
    ) -> None:
        log = SqliteLog(path)
        await log.open()
        records = examples(0, 9, text="secret")
        await log.append(records, 0)
        await log.save(Saved(9, b"a state that knows secret" * 1_000))
        await log.retain(Retention(count=1), 0)
        await log.append([], 9, [redaction(records[8])])
        assert b"secret" in raw(path)
        await log.save(Saved(9, b"a state"))
        assert b"secret" not in raw(path)
        await log.aclose()

    async def test_another_program_that_reads_delays_it_and_stops_nothing(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 3, text="secret"), 0)
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM log").fetchone() == (3,)
            await log.append([], 3, [redaction(example(n)) for n in (1, 2, 3)])
            await log.append(examples(3, 1), 3)
            assert b"secret" in raw(path)
        await log.append(examples(4, 1), 4)
        assert b"secret" not in raw(path)
        assert len(await log.read(0, 10)) == 5
        await log.aclose()

    async def test_our_own_readers_do_not_delay_it(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        done = anyio.Event()

        async def read() -> None:
            while not done.is_set():
                await log.read(0, 1_000)

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(read)
            for head in range(0, 40, 2):
                records = examples(head, 2, text="secret")
                await log.append(records, head)
                await log.append([], head + 2, [redaction(r) for r in records])
                assert b"secret" not in raw(path)
            done.set()
        await log.aclose()


class TestFile:
    async def test_it_belongs_to_its_owner_alone_with_all_that_is_beside_it(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "some" / "where" / "log.db"
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 3), 0)
        modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}
        assert modes == dict.fromkeys(["log.db", "log.db-wal", "log.db-shm", "log.db.lock"], 0o600)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        await log.aclose()

    @pytest.mark.parametrize("name", ["log%20?mode=rw#x.db", "журнал 😀.db", "a b'c\".db"])
    async def test_its_name_may_be_any(self, tmp_path: Path, name: str) -> None:
        await make(tmp_path / name, 3)
        assert (tmp_path / name).stat().st_size

    async def test_opening_reads_a_few_pages_however_long_the_log_is(self, tmp_path: Path) -> None:
        trace = str(tmp_path / "trace")
        reads = []
        for count in (100, 20_000):
            path = tmp_path / str(count)
            await make(path, count)
            under = ("strace", "-f", "-o", trace, "-P", str(path), "-e", "trace=pread64")
            run("open_only", path, under=under)
            reads.append(Path(trace).read_text().count("pread64("))
        assert 0 < reads[0] <= reads[1] < reads[0] + 20

    async def test_space_that_retention_frees_is_used_again(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        sizes = []
        for round_ in range(20):
            head = round_ * 2_000
            await log.append(examples(head, 2_000), head)
            await log.save(Saved(head + 2_000, b"state" * 20_000))
            first = 0
            while (further := await log.retain(Retention(count=1_000), 0)) > first:
                first = further
            assert first == head + 1_001
            sizes.append(path.stat().st_size)
        assert max(sizes[3:]) <= sizes[2] * 1.1
        await log.aclose()


class TestUse:
    async def test_a_closed_log_does_nothing_any_more_and_closes_again(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.aclose()
        log = SqliteLog(path)
        await log.open()
        await log.aclose()
        await log.aclose()
        with pytest.raises(LocalProtocolError, match="closed"):
            await log.append(examples(0, 1), 0)
        with pytest.raises(LocalProtocolError, match="closed"):
            await log.read(0, 1)

    async def test_who_stops_waiting_for_a_reader_leaves_the_log_as_it_is(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 5), 0)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await log.read(0, 5)
        assert scope.cancelled_caught
        assert await log.read(0, 5) == examples(0, 5)
        await log.aclose()

    @pytest.mark.parametrize(
        "taken", ["moved away", "replaced by a copy", "moved with all beside it"]
    )
    async def test_what_is_written_to_a_file_that_is_not_in_its_place_is_not_acknowledged(
        self, tmp_path: Path, taken: str
    ) -> None:
        there, away = tmp_path / "here", tmp_path / "away"
        path = there / "log.db"
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 5), 0)
        assert await log.read(0, 10) == examples(0, 5)
        if taken == "moved with all beside it":
            there.rename(away)
        else:
            away.mkdir()
            path.rename(away / path.name)
        if taken == "replaced by a copy":
            shutil.copy(away / path.name, path)
        before = raw(path)
        with pytest.raises(LogUncertainError, match="was moved, replaced or removed"):
            await log.append(examples(5, 1), 5)
        for _ in range(2):
            with pytest.raises(LogUnavailableError, match="it goes on by itself"):
                await log.reopen()
            assert await log.read(0, 10) == examples(0, 6), "readers go on"
        if taken == "replaced by a copy":
            assert path.read_bytes() in before, "what is there now is not written to"
        else:
            assert not path.exists()
        if there.exists():
            (away / path.name).replace(path)
        else:
            away.rename(there)
        assert await log.reopen() == Opened(1, 6, None)
        await log.append(examples(6, 1), 6)
        assert await log.read(0, 10) == examples(0, 7)
        await log.aclose()
        assert (await SqliteLog(path).open()).head == 7

    async def test_what_stands_in_a_write_ahead_log_that_was_removed_is_rescued(
        self, path: Path
    ) -> None:
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 5), 0)
        assert await log.read(0, 10) == examples(0, 5)
        Path(f"{path}-wal").unlink()
        with pytest.raises(LogUncertainError, match=r"log\.db-wal was moved, replaced or removed"):
            await log.append(examples(5, 1), 5)
        assert await log.reopen() == Opened(1, 6, None)
        alone = path.with_name("alone.db")
        shutil.copy(path, alone)
        assert (await SqliteLog(alone).open()).head == 6
        await log.append(examples(6, 1), 6)
        assert Path(f"{path}-wal").stat().st_size
        assert await log.read(0, 10) == examples(0, 7)
        await log.aclose()

    async def test_reading_and_turning_pages_need_no_scan(self, path: Path) -> None:
        """A page of few messages among very many instance events is found by an index."""
        await make(path, 1)
        with closing(sqlite3.connect(path)) as connection:
            for statement in (sqlite_reader.READ, *sqlite_reader.PAGES.values()):
                values = (1,) * statement.count("?")
                plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
                steps = [row[3] for row in plan if not row[3].startswith("SCAN retained")]
                assert not [step for step in steps if step.startswith(("SCAN", "USE TEMP"))], steps

    async def test_what_another_program_wrote_into_the_log_is_damage(self, path: Path) -> None:
        log = SqliteLog(path)
        await log.open()
        await log.append(examples(0, 2), 0)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("INSERT INTO log VALUES (3, 0, 'message', 'chat', 0, '', '', '')")
        with pytest.raises(LogDamagedError):
            await log.append(examples(2, 2), 2)
        assert (await log.reopen()).head == 3
        await log.aclose()


class TestDamage:
    async def test_a_file_that_is_no_database_is_refused_and_not_touched(self, path: Path) -> None:
        path.write_text("Dear diary,\n" * 1_000)
        before = path.read_bytes()
        assert "no cloudchat log" in await refusal(path)
        assert path.read_bytes() == before

    async def test_another_programs_database_is_refused_and_not_touched(self, path: Path) -> None:
        with closing(sqlite3.connect(path)) as other:
            other.execute("CREATE TABLE log (x)")
        before = path.read_bytes()
        assert "belongs to another program" in await refusal(path)
        assert path.read_bytes() == before

    async def test_a_newer_layout_is_refused_and_not_touched(self, path: Path) -> None:
        await make(path, 3)
        with closing(sqlite3.connect(path)) as other:
            other.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        before = path.read_bytes()
        assert "written by a newer cloudchat" in await refusal(path)
        assert path.read_bytes() == before

    @pytest.mark.parametrize(
        "statement",
        [
            "CREATE TRIGGER swallow AFTER INSERT ON log BEGIN DELETE FROM log; END",
            "ALTER TABLE log RENAME TO kept; CREATE VIEW log AS SELECT * FROM kept",
            "UPDATE retained SET first = 'x'",
            "DELETE FROM retained",
            "UPDATE log SET size = 'x'",
            "UPDATE log SET size = 9223372036854775807",
        ],
    )
    async def test_what_could_not_be_worked_with_is_refused_when_opening(
        self, path: Path, statement: str
    ) -> None:
        await make(path, 3)
        with closing(sqlite3.connect(path)) as other, other:
            other.executescript(statement)
        assert "keep a copy of it" in await refusal(path)

    async def test_a_path_whose_links_go_round_is_refused(self, path: Path) -> None:
        path.symlink_to(path)
        with pytest.raises(LogUnavailableError):
            await SqliteLog(path).open()

    async def test_a_refused_log_is_not_kept_locked(self, path: Path) -> None:
        path.write_text("Dear diary,\n" * 1_000)
        await refusal(path)
        path.unlink()
        await make(path, 1)

    @pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
    async def test_a_file_that_was_cut_short_is_noticed(self, path: Path, cut: float) -> None:
        await make(path, 500)
        with path.open("r+b") as file:
            file.truncate(int(path.stat().st_size * cut))
        with pytest.raises(LogDamagedError, match="cloudchat log check"):
            await read_all(path)

    @pytest.mark.parametrize("column", ["body", "private"])
    async def test_a_byte_that_the_disk_changed_is_noticed_and_its_record_named(
        self, path: Path, column: str
    ) -> None:
        await make(path, 50)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute(
                f"""UPDATE log SET {column} = CAST(replace({column}, 'n', 'm') AS BLOB)
                    WHERE "offset" = 17"""
            )
        for what in (read_all(path), page_all(path)):
            with pytest.raises(LogDamagedError, match=rf"{path} is damaged at record 17\b"):
                await what

    async def test_a_page_of_the_file_without_sense_is_named_by_its_first_record(
        self, path: Path
    ) -> None:
        await make(path, 500)
        page = path.read_bytes().index(b'"k3f9-300"') // 4096
        with path.open("r+b") as file:
            file.seek(page * 4096)
            file.write(bytes(4096))
        with pytest.raises(
            LogDamagedError, match=r"is damaged at record (2[89]\d|300), .*malformed"
        ):
            await read_all(path)

    async def test_a_missing_record_is_named(self, path: Path) -> None:
        await make(path, 50)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute('DELETE FROM log WHERE "offset" = 17')
        with pytest.raises(LogDamagedError, match="lacks record 17"):
            await read_all(path)

    async def test_a_missing_beginning_is_noticed_when_opening(self, path: Path) -> None:
        await make(path, 50)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute('DELETE FROM log WHERE "offset" < 10')
        assert "begins with record 1, which is missing" in await refusal(path)

    async def test_a_page_of_rubbish_raises_nothing_but_our_own_errors(self, path: Path) -> None:
        await make(path, 300)
        source = random.Random(1)
        good = path.read_bytes()
        noticed = 0
        for page in range(len(good) // 4096):
            rubbish = source.randbytes(4096)
            path.write_bytes(good[: page * 4096] + rubbish + good[(page + 1) * 4096 :])
            try:
                await read_all(path)
            except LogError:
                noticed += 1
        assert noticed > len(good) // 4096 / 2


async def read_all(path: Path) -> None:
    log = SqliteLog(path)
    head = (await log.open()).head
    try:
        await log.read(0, head)
        await log.page("messages", None, head)
        await log.append(examples(head, 1), head)
    finally:
        await log.aclose()


async def page_all(path: Path) -> None:
    log = SqliteLog(path)
    await log.open()
    try:
        await log.page("messages", None, 100)
    finally:
        await log.aclose()


class TestFirstLayout:
    """A file from before records had checksums."""

    async def test_it_is_brought_forward_with_all_that_it_holds_and_nothing_erased_comes_back(
        self, path: Path
    ) -> None:
        records = [example(n, text=f"<{n}>") for n in range(1, 301)]
        gone = redaction(records[250])
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("PRAGMA journal_mode = WAL")
            migrate(other, MIGRATIONS[:1])
            for r in records:
                row = (r.offset, r.at, r.kind, r.topic, r.offset, r.body, r.private)
                other.execute("INSERT INTO log VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            other.execute('UPDATE log SET body = zeroblob(length(body)) WHERE "offset" = 251')
            other.execute("INSERT INTO erased VALUES (?, ?)", (gone.offset, gone.body))
            other.execute("INSERT INTO snapshot VALUES (?, ?)", (200, b"state"))
            other.execute("UPDATE retained SET first = 100")
        log = SqliteLog(path)
        assert await log.open() == Opened(100, 300, Saved(200, b"state"))
        records[250] = erased(records[250])
        assert await log.read(0, 300) == records[99:]
        await log.append(examples(300, 1), 300, [redaction(records[150])])
        assert await log.page("messages", None, 2) == [example(301), records[299]]
        assert b"<151>" not in raw(path)
        assert b"<152>" in raw(path)
        await log.aclose()


class TestMigration:
    """The mechanism, with layouts made up for the purpose."""

    steps = (
        ("CREATE TABLE t (x)", "INSERT INTO t VALUES (1)"),
        ("ALTER TABLE t ADD COLUMN y DEFAULT 2",),
        ("UPDATE t SET x = x + 10", "CREATE INDEX i ON t (y)"),
    )

    @pytest.fixture
    def connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            yield connection

    @pytest.mark.parametrize("begin", [0, 1, 2, 3])
    def test_a_file_of_any_older_layout_is_brought_forward_once(
        self, connection: sqlite3.Connection, begin: int
    ) -> None:
        migrate(connection, self.steps[:begin])
        migrate(connection, self.steps)
        migrate(connection, self.steps)
        assert connection.execute("SELECT * FROM t").fetchall() == [(11, 2)]
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)

    def test_a_step_that_fails_leaves_the_layout_before_it(
        self, connection: sqlite3.Connection
    ) -> None:
        bad = (*self.steps[:2], ("UPDATE t SET x = 99", "CREATE TABLE t (z)"))
        with pytest.raises(sqlite3.OperationalError):
            migrate(connection, bad)
        assert connection.execute("SELECT * FROM t").fetchall() == [(1, 2)]
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        migrate(connection, self.steps)
        assert connection.execute("SELECT x FROM t").fetchall() == [(11,)]


class TestVacuum:
    async def test_what_was_dropped_gives_its_room_back_and_the_log_is_as_it_was(
        self, path: Path
    ) -> None:
        log = SqliteLog(path)
        await log.open()
        records = [example(n, KINDS[n % len(KINDS)], "long" * 500) for n in range(1, 1_001)]
        await log.append(records, 0)
        await log.save(Saved(1_000, b"state"))
        assert await retain_all(log, Retention(count=50)) == 951
        size = path.stat().st_size
        await log.vacuum()
        assert path.stat().st_size < size / 5
        assert await log.reopen() == Opened(951, 1_000, Saved(1_000, b"state"))
        assert await log.read(0, 100) == records[950:]
        assert await log.page("messages", None, 100) == shown(records[950:], "messages")
        await log.append(examples(1_000, 3), 1_000)
        # What counts towards the size is still known.
        await log.save(Saved(1_003, b"state"))
        rest = [*records[990:], *examples(1_000, 3)]
        assert await retain_all(log, Retention(size=sum(map(weight, rest)))) == 991
        await log.aclose()

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_text_that_is_erased_after_it_stands_nowhere(
        self, path: Path, seed: int
    ) -> None:
        source = random.Random(seed)
        log = SqliteLog(path)
        await log.open()
        head = 0
        for _ in range(5):
            batch = [
                example(n, text=f"<{n}>" + "." * source.choice([0, 300, 600, 1_000, 6_000]))
                for n in range(head + 1, head + source.randint(100, 400))
            ]
            await log.append(batch, head)
            head += len(batch)
            await log.save(Saved(head, b"state"))
            first = await retain_all(log, Retention(count=source.randint(50, 300)))
            await log.vacuum()
            chosen = set(source.sample(range(first, head + 1), 20))
            await log.append([], head, [redaction(example(n)) for n in chosen])
            found = [int(n) for n in re.findall(rb"<(\d+)>", raw(path))]
            assert not chosen & set(found)
            await log.save(Saved(head, b"state"))
            await retain_all(log, Retention(count=1))
        await log.aclose()
