"""`cloudchat log`: a log's file is checked, exported and compacted, beside its server or without one."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cloudchat_cli.log_file import Range, export_log
from cloudchat_cli.output import Failure
from tests.cli.program import COMMAND, PATIENCE, Server, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


QUICK = ("--provider", "simulated:?duration=0")


@contextmanager
def serving(path: Path) -> Iterator[Server]:
    with Server("--log", f"sqlite:{path}", *QUICK) as server:
        yield server
        server.signal(signal.SIGTERM)
        assert server.ended() == 0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log of a server that has ended."""
    path = tmp_path_factory.mktemp("written") / "log.db"
    with serving(path) as server:
        with server.chat("Ann") as chat:
            for n in range(30):
                chat.type(f"text {n}")
            chat.until("You: text 29")
            chat.type("/quit")
            assert chat.ended() == 0
        assert server.run("instances", "create", "--name", "web").returncode == 0
    return path


@pytest.fixture
def path(written: Path, tmp_path: Path) -> Path:
    path = tmp_path / "log.db"
    path.write_bytes(written.read_bytes())
    return path


def log(what: str, path: Path, *options: str) -> Any:
    return run("log", what, "--log", f"sqlite:{path}", *options)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_sound_log_is_said_to_be_and_what_it_holds(path: Path) -> None:
    told = log("check", path)
    assert (told.returncode, told.stderr) == (0, "")
    titles, row = told.stdout.splitlines()
    assert titles.split()[:4] == ["SOUND", "FIRST", "HEAD", "EPOCH"]
    assert row.split()[:2] == ["yes", "1"]
    report = json.loads(log("check", path, "-o", "json").stdout)
    assert (report["sound"], report["damage"], report["log"]) == (True, [], str(path))
    assert report["head"] == report["snapshot"] > 30
    assert report["size"] == path.stat().st_size


def test_the_place_of_damage_is_named_and_the_exit_code_is_its_own(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE log SET body = CAST(replace(body, 'text 7', 'text 8') AS BLOB)")
    told = log("check", path)
    assert told.returncode == 10
    assert told.stdout.splitlines()[1].startswith("no ")
    place, end = told.stderr.splitlines()
    assert place.startswith("record ")
    assert "checksum" in place
    assert end.startswith(f"cloudchat: {path} is damaged")
    (damage,) = json.loads(log("check", path, "-o", "json").stdout)["damage"]
    assert place == f"{damage['place']}: {damage['detail']}"


def test_what_is_no_log_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "diary").write_text("Dear diary,\n" * 500)
    assert log("check", tmp_path / "diary").returncode == 10
    for what in ("check", "export", "compact"):
        told = log(what, tmp_path / "none\x1b[31m")
        assert (told.returncode, told.stdout) == (1, "")
        assert f"there is no log at {tmp_path}/none\N{REPLACEMENT CHARACTER}[31m" in told.stderr
    assert run("log", "check", "--log", "memory:").returncode == 2
    assert [p.name for p in tmp_path.iterdir()] == ["diary"]


def test_the_export_has_all_that_is_public_and_nothing_that_is_private(path: Path) -> None:
    told = log("export", path)
    assert (told.returncode, told.stderr) == (0, "")
    exported = lines(told.stdout)
    kinds = [event["type"] for event in exported]
    assert kinds == ["joined", *["message"] * 30, "left", "received", "created"]
    with closing(sqlite3.connect(path)) as other:
        rows = other.execute('SELECT topic, body, private FROM log ORDER BY "offset"').fetchall()
    assert [json.loads(body) for topic, body, _ in rows if topic] == exported
    secrets = {
        str(value)
        for _, _, private in rows
        for key, value in json.loads(private).items()
        if key in {"holder", "key"}
    }
    secrets |= {
        json.loads(private)["memory"][key]
        for _, _, private in rows
        if "memory" in json.loads(private)
        for key in ("scope", "content")
        if key in json.loads(private)["memory"]
    }
    assert any(len(secret) == 64 for secret in secrets)
    # The nickname `Ann` is public, its comparison key `ann` is not.
    assert not [secret for secret in secrets if f'"{secret}"' in told.stdout]


def test_a_part_of_the_log_can_be_exported_to_a_file(path: Path, tmp_path: Path) -> None:
    everything = lines(log("export", path).stdout)
    after, before = everything[4]["cursor"], everything[9]["cursor"]
    told = log("export", path, "--after", after, "--before", before)
    assert lines(told.stdout) == everything[5:9]
    to = tmp_path / "events.jsonl"
    told = log("export", path, "--topic", "instances", "--to", str(to))
    assert (told.returncode, told.stdout) == (0, "")
    assert lines(to.read_text()) == everything[-2:]
    assert to.stat().st_mode & 0o777 == 0o600
    told = log("export", path, "--after", everything[-1]["cursor"])
    assert (told.returncode, told.stdout) == (0, "")
    for cursor in ("k3f9-4", after.replace("-", "-9"), "nonsense"):
        told = log("export", path, "--after", cursor)
        assert (told.returncode, told.stdout) == (5, "")
        assert cursor in told.stderr
    nowhere = tmp_path / "none" / "file"
    told = log("export", path, "--to", str(nowhere))
    assert told.returncode == 1
    assert str(nowhere) in told.stderr


def test_a_damaged_record_ends_the_export_and_leaves_no_half_a_file_or_is_left_out(
    path: Path, tmp_path: Path
) -> None:
    everything = lines(log("export", path).stdout)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE log SET private = x'' WHERE \"offset\" = 20")
    told = log("export", path, "--to", str(tmp_path / "file"))
    assert told.returncode == 10
    assert "at record 20" in told.stderr
    assert not list(tmp_path.glob("file*"))
    with closing(sqlite3.connect(path)) as other, other:
        other.execute('DELETE FROM log WHERE "offset" BETWEEN 5 AND 7')
    told = log("export", path, "--skip-damaged", "--to", str(tmp_path / "file"))
    assert told.returncode == 10
    assert "4 records" in told.stderr
    lost = [it for it in everything if int(it["cursor"].partition("-")[2]) in {5, 6, 7, 20}]
    assert len(lost) == 4
    assert lines((tmp_path / "file").read_text()) == [it for it in everything if it not in lost]


def test_an_offset_that_the_disk_changed_does_not_keep_the_export_from_its_end(
    path: Path, tmp_path: Path
) -> None:
    everything = lines(log("export", path).stdout)
    with closing(sqlite3.connect(path)) as other, other:
        other.execute('UPDATE log SET "offset" = "offset" + (1 << 50) + 1 WHERE "offset" = 20')
    file = tmp_path / "file"
    with pytest.raises(Failure, match="damaged and left out"):
        export_log(path, Range(None, None, ()), file, skip_damaged=True)
    assert lines(file.read_text()) == [it for it in everything if not it["cursor"].endswith("-20")]


def test_a_log_is_checked_and_exported_while_a_server_has_it_and_not_compacted(path: Path) -> None:
    with serving(path) as server:
        assert server.run("say", "--as", "Ben", "still here").returncode == 0
        report = json.loads(log("check", path, "-o", "json").stdout)
        assert report["sound"]
        assert report["wal"]
        assert lines(log("export", path).stdout)[-1]["text"] == "still here"
        before = path.read_bytes()
        told = log("compact", path, "--retain", "1")
        assert (told.returncode, told.stdout) == (6, "")
        assert f"process {server.process.pid}" in told.stderr
        assert "Traceback" not in told.stderr
        assert path.read_bytes() == before
        assert server.run("say", "--as", "Ben", "and now").returncode == 0


def test_compacting_drops_what_is_not_kept_and_gives_its_space_back(path: Path) -> None:
    with serving(path) as server, server.chat("Ann") as chat:
        for n in range(100):
            chat.type(f"{n} {'long ' * 700}")
        chat.until("You: 99 long")
        state = server.run("instances", "list", "-o", "json").stdout
    before = path.stat().st_size
    told = log("compact", path, "--retain", "20", "-o", "json")
    assert told.returncode == 0, told.stderr
    done = json.loads(told.stdout)
    assert done["before"] == before
    assert done["after"] == path.stat().st_size < before * 0.6
    assert done["first"] == done["head"] - 19
    assert done["dropped"] == done["first"] - 1
    report = json.loads(log("check", path, "-o", "json").stdout)
    assert (report["sound"], report["first"], report["free"]) == (True, done["first"], 0)
    with serving(path) as server:
        assert server.run("instances", "list", "-o", "json").stdout == state
        left = [
            int(n) for n in re.findall(r"-(\d+)\n", server.run("messages", "-o", "name").stdout)
        ]
        assert left == sorted(left)
        assert done["first"] <= left[0] < done["first"] + 5


def test_damaged_records_that_a_snapshot_stands_for_can_be_dropped(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE log SET private = x'' WHERE \"offset\" = 5")
    assert log("check", path).returncode == 10
    assert log("compact", path, "--retain", "10").returncode == 0
    assert log("check", path).returncode == 0


def test_a_snapshot_that_nothing_can_stand_in_for_keeps_the_server_from_starting(
    path: Path,
) -> None:
    assert log("compact", path, "--retain", "10").returncode == 0
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("UPDATE snapshot SET state = x'00'")
    told = run("serve", "--port", "0", "--log", f"sqlite:{path}")
    assert (told.returncode, told.stdout) == (1, "")
    assert "Traceback" not in told.stderr
    last = told.stderr.splitlines()[-1]
    assert last.startswith(f"cloudchat: {path}: the snapshot cannot be read")
    assert last.endswith("restore a backup")


def test_who_stops_reading_an_export_ends_it_quietly(path: Path) -> None:
    export = subprocess.Popen(
        [COMMAND, "log", "export", "--log", f"sqlite:{path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert export.stdout is not None
    export.stdout.close()
    assert export.communicate(timeout=PATIENCE)[1] == b""
    assert export.returncode == 141
