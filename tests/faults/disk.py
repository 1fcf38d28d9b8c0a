"""Disks that fill up, fail, turn read-only, lose a tail, are put back from a backup, or have files moved on them.

Each function is a kind of fault: `rounds` times it happens to a real server, what clients were told is held against
what is there afterwards, and `Result` says what it came to. What breaks a promise otherwise raises AssertionError.
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.sync.client import ClientConnection

from tests.faults.accounts import Result
from tests.faults.harness import (
    PATIENCE,
    ROOT,
    Publisher,
    Server,
    answer,
    check,
    needs,
    records_of,
    serve_command,
)

DISK = Path("/mnt")
"""Where `on_a_disk` has its disk; what is there otherwise stays as it is."""


def full(rounds: int, seed: int) -> Result:
    """The disk is full, and has room again."""
    done = on_a_disk("3m", f"{sys.executable} -m tests.faults.full_disk {DISK} {rounds}")
    assert done.returncode == 0, done.stderr
    return Result(int(done.stdout.removeprefix("acknowledged ")), rounds=rounds)


def on_a_disk(size: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script where `DISK` is a disk of its own, which nobody else sees and which goes with it."""
    # An ordinary user may mount within a user namespace of its own.
    namespace = ("unshare", "--mount", *(("--map-root-user",) if os.geteuid() else ()))
    mount = ("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(DISK))
    needs(*namespace, *mount)
    return subprocess.run(
        [*namespace, "sh", "-ec", f"{' '.join(mount)}; {script}"],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def read_only(rounds: int, seed: int) -> Result:
    """Every write fails as on a disk that the system has made read-only, then the disk is well again."""
    return _failing(rounds, seed, _calls("pwrite64,ftruncate:error=EROFS"))


def failing_writes(rounds: int, seed: int) -> Result:
    """Every write fails with an I/O error, then the disk is well again."""
    return _failing(rounds, seed, _calls("pwrite64:error=EIO"))


def failing_syncs(rounds: int, seed: int) -> Result:
    """Every sync fails with an I/O error, then the disk is well again."""
    return _failing(rounds, seed, _calls("fdatasync,fsync:error=EIO"))


def misplaced(rounds: int, seed: int) -> Result:
    """The log's file is moved away under the server, or a copy put in its place, and then it is put back."""
    copied = cycle((False, True))
    return _failing(rounds, seed, lambda server, path: _elsewhere(path, copied=next(copied)))


def _calls(inject: str) -> Callable[[Server, Path], AbstractContextManager[None]]:
    return lambda server, path: injected(server.process.pid, inject)


@contextmanager
def _elsewhere(path: Path, *, copied: bool) -> Iterator[None]:
    """Take the file away for the time of a block; where it is to be `copied`, the copy stands there."""
    away = path.with_name("away.db")
    path.rename(away)
    if copied:
        shutil.copy(away, path)
    try:
        yield
    finally:
        away.replace(path)


def _failing(
    rounds: int, seed: int, failing: Callable[[Server, Path], AbstractContextManager[None]]
) -> Result:
    """A command that was not acknowledged is sent again with its id until it is: it happens once."""
    source = random.Random(seed)
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log.db"
        server = Server(traceable_command(path))
        one = Publisher("one")
        with server.connect(topics="chat") as socket:
            joined = answer(
                socket, {"type": "join", "id": "j", "nickname": "One", "token": one.token}
            )
            assert joined["type"] == "ack"
            for round_ in range(rounds):
                for n in range(source.randrange(20, 200)):
                    assert _say(socket, one, f"well-{round_}-{n}")["type"] == "ack"
                with failing(server, path):
                    refused = _say(socket, one, f"ill-{round_}")
                    assert refused["code"] in {"unavailable", "internal"}
                    assert server.ask("/healthz")[0] == 200
                    assert server.ask("/readyz")[0] == 503
                    said = [it["ref"] for it in server.get("/v1/messages?limit=200")["items"]]
                    assert said == list(reversed(one.acked))[:200], "readers go on"
                deadline = time.monotonic() + PATIENCE
                while _say(socket, one, f"ill-{round_}")["type"] != "ack":
                    assert time.monotonic() < deadline, "service does not resume"
            # What is remembered is answered without a write; that it can write again, it finds out by itself.
            while server.ask("/readyz")[0] != 200:
                assert time.monotonic() < deadline, "service does not resume"
        assert server.end(signal.SIGTERM) == 0
        return Result(check(records_of(path), [one]), rounds=rounds)


def traceable_command(path: Path) -> list[str]:
    """Return the command line of a server that `injected` may be used on."""
    python, _, _, *rest = serve_command(path)
    return [python, "-m", "tests.faults.traceable", *rest]


@contextmanager
def injected(process: int, inject: str) -> Iterator[None]:
    """Have system calls of a process fail for the time of a block, as `strace -e inject=` has it."""
    needs("strace", "-o", os.devnull, "true")
    calls = inject.partition(":")[0]
    tracing = ("-o", os.devnull, "-e", f"trace={calls}", "-e", f"inject={inject}")
    tracer = subprocess.Popen(
        ["strace", "-f", "-p", str(process), *tracing], stderr=subprocess.PIPE, text=True
    )
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        assert "attached" in said, said
        yield
    finally:
        tracer.terminate()  # it lets go of the process
        tracer.communicate(timeout=PATIENCE)


def _say(socket: ClientConnection, who: Publisher, key: str) -> dict[str, Any]:
    reply = answer(socket, {"type": "say", "id": key, "text": f"{key} {'long ' * 50}"})
    if reply["type"] == "ack":
        who.acked[key] = reply
    return reply


def restored(rounds: int, seed: int) -> Result:
    """The server ends, and an older copy of its log is put in its place: what is gone is said by a `gap`."""
    return _set_back(rounds, seed, _from_a_backup)


def lost_tail(rounds: int, seed: int) -> Result:
    """The server is killed, and the disk loses the end of what it had written: that is said by a `gap`, too."""
    return _set_back(rounds, seed, _without_its_tail)


def _set_back(rounds: int, seed: int, set_back: Callable[[Path, Server], None]) -> Result:
    source = random.Random(seed)
    acknowledged = gone = 0
    with TemporaryDirectory() as directory:
        path = Path(directory) / "log.db"
        command = serve_command(path)
        server = Server(command)
        for round_ in range(rounds):
            kept = _talk(server, f"kept-{round_}", source.randrange(5, 100))
            # What `sqlite3 PATH ".backup backup.db"` does.
            with (
                closing(sqlite3.connect(path)) as log,
                closing(sqlite3.connect(_backup(path))) as to,
            ):
                log.backup(to)
            lost = _talk(server, f"lost-{round_}", source.randrange(5, 100))
            acknowledged += len(kept) + len(lost)
            gone += len(lost)
            set_back(path, server)
            server = Server(command)
            # Who has seen no more than is left misses nothing; who has seen more is told so.
            for cursor in (kept[-1], lost[-1]):
                frames = _poll(server, cursor)
                gaps = [(it["after"], it["reason"]) for it in frames if it["type"] == "gap"]
                assert gaps == ([] if cursor == kept[-1] else [(cursor, "epoch")]), gaps
            (snapshot,) = (it for it in frames if it["type"] == "snapshot")
            shown = [it["cursor"] for it in snapshot["messages"]]
            assert shown[-len(kept[-50:]) :] == kept[-50:]
        assert server.end(signal.SIGTERM) == 0
        records_of(path)
    return Result(
        acknowledged, rounds=rounds, note=f"{gone} events gone with the disk, each said by a gap"
    )


def _backup(path: Path) -> Path:
    return path.with_name("backup.db")


def _from_a_backup(path: Path, server: Server) -> None:
    assert server.end(signal.SIGTERM) == 0
    _backup(path).replace(path)
    for rest in ("-wal", "-shm"):
        Path(f"{path}{rest}").unlink(missing_ok=True)


def _without_its_tail(path: Path, server: Server) -> None:
    """Change a byte of the write-ahead log behind what the backup has: SQLite takes that for its end."""
    server.end(signal.SIGKILL)
    wal = Path(f"{path}-wal")
    written = bytearray(wal.read_bytes())
    place = written.index(b"lost-")
    written[place] ^= 1
    wal.write_bytes(written)


def _talk(server: Server, name: str, count: int) -> list[str]:
    """Join, say `count` things, and return the cursors of the answers."""
    with server.connect(topics="chat") as socket:
        joined = {"type": "join", "id": name, "nickname": "Ann", "token": "t" * 22}
        assert answer(socket, joined)["type"] == "ack"
        said = [{"type": "say", "id": f"{name}-{n}", "text": f"{name}-{n}"} for n in range(count)]
        return [answer(socket, command)["cursor"] for command in said]


def _poll(server: Server, after: str) -> list[dict[str, Any]]:
    """Return what a chat feed tells at once to who comes back with a cursor."""
    frames: list[dict[str, Any]] = server.get(f"/v1/poll?topics=chat&wait=0&after={after}")[
        "frames"
    ]
    return frames
