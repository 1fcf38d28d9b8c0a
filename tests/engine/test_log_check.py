"""`check` finds a sound log sound, and names every place of one that is not."""

# ruff: noqa: ASYNC240 - what blocks here is the test alone

import random
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from cloudchat_core.commands import Create, Join, Redact, Say
from cloudchat_engine import LogUnavailableError, Retention
from cloudchat_engine.logs import SqliteLog
from cloudchat_engine.logs.sqlite_check import Report, check
from cloudchat_engine.logs.sqlite_file import MIGRATIONS, checksum, migrate
from tests.engine.world import ANN, World, ok, submit

COUNT = 400


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a log with a bit of everything: two epochs, work done, a text taken back, a snapshot."""
    path = tmp_path_factory.mktemp("log") / "log.db"

    async def write() -> None:
        async with World(SqliteLog(path)).running() as node:
            await ok(node, Join("j", "Ann"), ANN)
            await ok(node, Create("c"), ANN)
            said = await ok(node, Say("gone", "secret"), ANN)
            for n in range(COUNT):
                submit(node, Say(f"s{n}", f"text {n}"), ANN)
            await ok(node, Redact("r", said.cursor), ANN)
        async with World(SqliteLog(path)).running() as node:
            await ok(node, Say("late", "text"), ANN)

    anyio.run(write)
    return path.read_bytes()


@pytest.fixture
def path(written: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    path.write_bytes(written)
    return path


def alter(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        assert other.execute(statement, values).rowcount == 1


def places(report: Report) -> list[str]:
    assert report.sound == (not report.damage)
    return [damage.place for damage in report.damage]


@pytest.mark.anyio
async def test_a_log_that_a_server_wrote_is_sound_and_said_to_hold_what_it_does(path: Path) -> None:
    before = path.read_bytes()
    told: list[tuple[int, int]] = []
    report = check(path, lambda *far: told.append(far))
    assert report.sound
    assert not report.damage
    opened = await (log := SqliteLog(path)).open()
    await log.aclose()
    assert (report.first, report.head) == (1, opened.head)
    assert report.head > COUNT
    assert opened.snapshot is not None
    assert report.snapshot == opened.snapshot.offset
    assert report.epochs == 2
    assert report.size == len(before)
    assert 0 < report.content < report.size
    assert told[-1] == (opened.head, opened.head)
    assert path.read_bytes() == before


@pytest.mark.anyio
async def test_a_server_may_have_it_open_and_write_on(path: Path) -> None:
    async with World(SqliteLog(path)).running() as node:
        await ok(node, Say("x", "before"), ANN)
        report = check(path)
        assert (report.sound, report.head) == (True, node.state.offset)
        assert report.wal
        await ok(node, Say("y", "after"), ANN)
        assert check(path).head == node.state.offset


@pytest.mark.anyio
async def test_a_log_whose_beginning_was_dropped_is_sound(path: Path) -> None:
    log = SqliteLog(path)
    await log.open()
    await log.retain(Retention(count=50), 0)
    await log.aclose()
    report = check(path)
    assert report.sound
    assert report.first > COUNT - 100
    assert report.epochs == 2
    alter(path, "DELETE FROM snapshot")
    assert places(check(path)) == ["the snapshot"]


BROKEN: dict[str, tuple[str, tuple[object, ...], list[str], str]] = {
    "a byte of a text": (
        "UPDATE log SET body = CAST(replace(body, 'text', 'test') AS BLOB) WHERE \"offset\" = 100",
        (),
        ["record 100"],
        "checksum",
    ),
    "a record": ('DELETE FROM log WHERE "offset" = 100', (), ["record 100"], "missing"),
    "the newest but one": ('DELETE FROM log WHERE "offset" = 400', (), ["record 400"], "missing"),
    "bytes turned to text": (
        'UPDATE log SET body = CAST(body AS TEXT) WHERE "offset" = 100',
        (),
        ["record 100"],
        "checksum",
    ),
    "its kind": (
        "UPDATE log SET kind = 'joined' WHERE \"offset\" = 100",
        (),
        ["record 100"],
        "another kind",
    ),
    "its time": (
        'UPDATE log SET at = at - 1000000 WHERE "offset" = 100',
        (),
        ["record 100"],
        "another time",
    ),
    "its time, which is none": (
        "UPDATE log SET at = 'x' WHERE \"offset\" = 100",
        (),
        ["record 100"],
        "is damaged",
    ),
    "its time, which no date can say": (
        'UPDATE log SET at = at + (1 << 60) WHERE "offset" = 402',
        (),
        ["record 402"],
        "is damaged",
    ),
    "a record that was made up, of an earlier time": (
        """UPDATE log SET (at, body, sum) = (SELECT at - 1000000, said, checksum(100, said, private)
           FROM (SELECT CAST(replace(body, substr(body, instr(body, '"at":"') + 6, 24),
           strftime('%Y-%m-%dT%H:%M:%S', (at - 1000000) / 1000, 'unixepoch') || printf('.%03dZ', (at - 1000000) % 1000))
           AS BLOB) AS said FROM log WHERE "offset" = 100)) WHERE "offset" = 100""",
        (),
        ["record 100"],
        "older than",
    ),
    "a whole record of rubbish": (
        'UPDATE log SET body = ?1, sum = ?2, private = ?1 WHERE "offset" = 100',
        (b"{}", checksum(100, b"{}", b"{}")),
        ["record 100"],
        "is damaged",
    ),
    "another record in its place": (
        """UPDATE log SET (body, private, sum) =
           (SELECT body, private, checksum(100, body, private) FROM log WHERE "offset" = 101)
           WHERE "offset" = 100""",
        (),
        ["record 100"],
        "stands at",
    ),
    "the snapshot": (
        "UPDATE snapshot SET state = CAST(replace(state, 'text 3', 'text 4') AS BLOB)",
        (),
        ["the snapshot of record"],
        "amount to",
    ),
    "the snapshot's form": (
        "UPDATE snapshot SET state = x'00'",
        (),
        ["the snapshot of record"],
        "cannot be read",
    ),
    "the snapshot's place": (
        'UPDATE snapshot SET "offset" = 100000',
        (),
        ["the snapshot of record 100000"],
        "ends at record",
    ),
    "where it begins": ("UPDATE retained SET first = 0", (), ["the file"], "at record 0"),
    "where it begins, behind its end": (
        "UPDATE retained SET first = 10000",
        (),
        ["the file"],
        "at record 10000",
    ),
    "a record of nobody's": (
        """INSERT INTO log SELECT 1000000000000000, at, kind, topic, size, body, private,
           checksum(1000000000000000, body, private) FROM log WHERE "offset" = 100""",
        (),
        ["records ", "record 1000000000000000"],
        "",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_was_changed_is_named_with_its_place(path: Path, what: str) -> None:
    statement, values, expected, detail = BROKEN[what]
    with closing(sqlite3.connect(path)) as other, other:
        other.create_function("checksum", 3, checksum)
        assert other.execute(statement, values).rowcount == 1
    report = check(path)
    assert len(report.damage) == len(expected), report.damage
    for damage, place in zip(report.damage, expected, strict=True):
        assert damage.place.startswith(place)
        assert detail in damage.detail
    assert report.head > COUNT


def test_neighbours_are_named_together_and_what_is_behind_them_is_looked_at(
    path: Path,
) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute('DELETE FROM log WHERE "offset" BETWEEN 10 AND 19')
        other.execute("UPDATE log SET private = x'' WHERE \"offset\" IN (20, 22)")
        other.execute("UPDATE snapshot SET state = x'00'")
    assert places(check(path))[1:] == ["records 10 to 19", "record 20", "record 22"]


def test_an_index_that_lacks_a_record_is_found(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("UPDATE sqlite_master SET sql = replace(sql, 'message', 'joined') "
                      "WHERE name = 'messages'")  # fmt: skip
    report = check(path)
    assert set(places(report)) == {"the file"}


def test_each_page_that_is_zeroed_is_found(path: Path) -> None:
    good = path.read_bytes()
    pages = len(good) // 4096
    free = check(path).free // 4096
    found, named = 0, 0
    for page in range(pages):
        path.write_bytes(good[: page * 4096] + bytes(4096) + good[(page + 1) * 4096 :])
        report = check(path)
        found += not report.sound
        named += any(place.startswith("record") for place in places(report))
    assert found >= pages - free
    assert named >= pages / 2


def test_a_changed_byte_of_what_is_kept_is_found_wherever_it_is(path: Path) -> None:
    good = path.read_bytes()
    source = random.Random(7)
    texts = [found.start() for found in re.finditer(rb'"text":"text \d', good)]
    for place in source.sample(texts, 30):
        bad = bytearray(good)
        bad[place + 9] ^= 1 << source.randrange(8)
        path.write_bytes(bad)
        report = check(path)
        assert len(report.damage) in {1, 2}  # the snapshot shows the newest texts, too
        assert any("record" in damage.place for damage in report.damage)


@pytest.mark.parametrize("cut", [0, 100, 5_000, 60_000])
def test_a_file_that_was_cut_short_is_found(path: Path, cut: int) -> None:
    with path.open("r+b") as file:
        file.truncate(cut)
    report = check(path)
    assert not report.sound
    assert "the file" in places(report)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE t (x)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        migrate(other, MIGRATIONS[:1])
        other.execute("PRAGMA user_version = 99")


def endless(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        migrate(other, MIGRATIONS[:1])
        count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i FROM n"
        other.executescript(f"ALTER TABLE log RENAME TO kept; CREATE VIEW log AS {count}")


def beginless(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.create_function("checksum", 3, checksum)
        migrate(other, MIGRATIONS)
        other.execute("UPDATE retained SET first = 'x'")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("Dear diary,\n" * 500), "no cloudchat log"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (foreign, "belongs to another program"),
        (newer, "a newer cloudchat"),
        (endless, "has a view in it"),
        (beginless, "does not say where it begins"),
    ],
)
def test_a_file_that_is_no_log_is_said_to_be_none(
    tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    path = tmp_path / "log.db"
    make(path)
    report = check(path)
    assert places(report) == ["the file"]
    assert said in report.damage[0].detail


def test_a_file_that_is_not_there_or_of_an_older_layout_cannot_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    with pytest.raises(LogUnavailableError, match="there is no log at"):
        check(path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(LogUnavailableError, match="File name too long"):
        check(tmp_path / ("x" * 300))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        migrate(other, MIGRATIONS[:1])
    with pytest.raises(LogUnavailableError, match="compact` brings it up to date"):
        check(path)
