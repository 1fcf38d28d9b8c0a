"""What a SqliteLog promises when the process is killed, the power fails, the disk is full or broken."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs import SqliteLog
from cloudchat_engine.ports import LogUnavailableError
from tests.engine.log_programs import message, messages
from tests.engine.log_syscalls import TRACED, acks, early_acks

ROOT = Path(__file__).parents[2]
MODULE = "tests.engine.log_programs"


def run(*arguments: str | Path, under: tuple[str, ...] = ()) -> str:
    """Run a program of `log_programs` to its end and return what it told."""
    command = [*under, sys.executable, "-m", MODULE, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def with_disk(directory: Path, program: str, *, before: str = "true") -> str:
    """Run a program whose `directory` is a disk of 2 MB, which nobody else sees and which goes with it."""
    script = 'mount -t tmpfs -o size=2m tmpfs "$1"; eval "$2"; shift 2; exec "$@"'
    # An ordinary user may mount within a user namespace of its own.
    namespace = ("unshare", "--mount") + (("--map-root-user",) if os.geteuid() else ())
    under = (*namespace, "sh", "-ec", script, "sh", str(directory), before)
    return run(program, directory / "log.db", under=under)


def contents(path: Path) -> list[StoredRecord]:
    """Open the log at `path`, see that it is dense, and return its records."""

    async def read() -> list[StoredRecord]:
        log = SqliteLog(path)
        opened = await log.open()
        records = await log.read(0, opened.head + 1)
        assert [r.offset for r in records] == list(range(1, opened.head + 1))
        await log.aclose()
        return records

    return anyio.run(read)


class TestKilled:
    def test_all_that_was_acknowledged_is_there_after_each_of_twenty_kills(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "log.db"
        for round_ in range(20):
            process = subprocess.Popen(
                [sys.executable, "-m", MODULE, "append_for_ever", str(path)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            assert process.stdout
            told = [process.stdout.readline() for _ in range(1 + round_ * 13)]
            process.send_signal(signal.SIGKILL)
            told += process.stdout.readlines()
            process.wait()
            process.stdout.close()
            # The last line may have been cut.
            acknowledged = max(int(line) for line in told if line.endswith(b"\n"))
            assert len(contents(path)) >= acknowledged
        assert contents(path) == messages(0, len(contents(path)))


class TestPowerLoss:
    def trace(self, tmp_path: Path, synchronous: str) -> str:
        file = tmp_path / "trace"
        under = ("strace", "-f", "-s", "65536", "-o", str(file), "-e", TRACED)
        run("append", tmp_path / "log.db", "40", synchronous, under=under)
        return file.read_text()

    def test_nothing_is_acknowledged_before_the_write_that_holds_it_is_synced(
        self, tmp_path: Path
    ) -> None:
        trace = self.trace(tmp_path, "FULL")
        assert acks(trace) == list(range(1, 41))
        assert early_acks(trace) == []

    def test_the_check_finds_a_log_that_does_not_sync(self, tmp_path: Path) -> None:
        trace = self.trace(tmp_path, "OFF")
        assert early_acks(trace) == acks(trace) == list(range(1, 41))

    def test_the_check_counts_a_sync_only_when_it_has_returned_well(self) -> None:
        write = '7 pwrite64(5, "<1>", 3, 0) = 3\n'
        ack = '8 write(1, "acked 1\\n", 8) = 8\n'
        sync = "7 fdatasync(5) = 0\n"
        begun, ended = "7 fdatasync(5 <unfinished ...>\n", "7 <... fdatasync resumed>) = 0\n"
        assert early_acks(write + sync + ack) == []
        assert early_acks(write + begun + ended + ack) == []
        assert early_acks(write + begun + ack + ended) == [1]
        assert early_acks(sync + write + ack) == [1]
        assert early_acks(write + "7 fdatasync(6) = 0\n" + ack) == [1]
        assert early_acks(write + "7 fdatasync(5) = -1 EIO (Input/output error)\n" + ack) == [1]
        assert early_acks(begun + write.replace("7", "9", 1) + ended + ack) == [1]


class TestBadDisk:
    def test_a_full_disk_takes_nothing_back_and_nothing_in_until_there_is_room(
        self, tmp_path: Path
    ) -> None:
        *refusals, _, saving, last = with_disk(tmp_path, "fill").splitlines()
        assert len(refusals) == 3
        assert all("is full; nothing was written" in refusal for refusal in [*refusals, saving])
        assert last.startswith("head ")

    def test_a_log_on_a_disk_that_cannot_be_written_says_so(self, tmp_path: Path) -> None:
        read_only = 'mount -o remount,ro "$1"'
        told = with_disk(tmp_path, "open_unwritable", before=read_only)
        assert told.startswith("unavailable: ")
        assert "log.db cannot be used" in told

    def test_after_a_failed_write_the_log_tells_what_is_there_and_goes_on(
        self, tmp_path: Path
    ) -> None:
        told = run("fail_to_write", tmp_path / "log.db").splitlines()
        assert [line.split()[0] for line in told] == ["uncertain:", "acked", "head"]
        assert f"head {len(contents(tmp_path / 'log.db'))}" == told[-1]

    @pytest.mark.parametrize("failing", ["13", "14", "18", "13+"])
    def test_after_a_failed_sync_the_log_tells_what_is_there_and_goes_on(
        self, tmp_path: Path, failing: str
    ) -> None:
        inject = f"inject=fdatasync,fsync:error=EIO:when={failing}"
        under = ("strace", "-f", "-o", str(tmp_path / "trace"), "-e", "trace=fdatasync,fsync")
        told = run("fail_to_sync", tmp_path / "log.db", under=(*under, "-e", inject)).splitlines()
        assert told[0].startswith("uncertain: ")
        acked = int(told[1].removeprefix("acked "))
        head = len(contents(tmp_path / "log.db"))
        if failing.endswith("+"):
            assert told[2].startswith("not reopened: ")
            assert head in {acked, acked + 3}
        else:
            assert told[2] == f"head {head}"

    @pytest.mark.anyio
    async def test_a_directory_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        log = SqliteLog(tmp_path / "file" / "log.db")
        with pytest.raises(LogUnavailableError, match="see that its directory exists"):
            await log.open()


class TestSecondServer:
    @pytest.mark.anyio
    async def test_a_second_server_is_refused_and_told_who_has_the_log(
        self, tmp_path: Path
    ) -> None:
        log = SqliteLog(tmp_path / "log.db")
        await log.open()
        told = run("second", tmp_path / "log.db")
        assert f"process {os.getpid()}" in told
        assert "stop it, or use another log" in told
        await log.append([message(1)], 0)
        await log.aclose()
        assert run("second", tmp_path / "log.db") == ""

    def test_a_server_that_was_killed_keeps_nobody_out(self, tmp_path: Path) -> None:
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, "hold", str(tmp_path / "log.db")],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert process.stdout
        with process.stdout as told:
            assert told.readline() == b"open\n"
            assert f"process {process.pid}" in run("second", tmp_path / "log.db")
            process.kill()
            process.wait()
        assert len(contents(tmp_path / "log.db")) == 0
