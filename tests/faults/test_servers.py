"""What a server promises when its disk is full, when it is traced, started twice and asked to stop."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engine.log_syscalls import acks, early_acks
from tests.faults.harness import PATIENCE, ROOT, Server, answer, hear, needs, serve_command

TRACED = "trace=write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync"

_SENT = re.compile(r"(\d+) +(?:write|writev|sendto|sendmsg)\(.*")
_ACKED = re.compile(r'\\"type\\":\\"ack\\",\\"id\\":\\"c(\d+)\\"')


def test_a_server_whose_disk_is_full_refuses_keeps_all_and_resumes(tmp_path: Path) -> None:
    script = 'mount -t tmpfs -o size=3m tmpfs "$1"; exec "$2" -m tests.faults.full_disk "$1"'
    # An ordinary user may mount within a user namespace of its own.
    namespace = ("unshare", "--mount", *(("--map-root-user",) if os.geteuid() else ()))
    needs(*namespace, "true")
    done = subprocess.run(
        [*namespace, "sh", "-ec", script, "sh", str(tmp_path), sys.executable],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,  # it has a patience of its own within
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.removeprefix("acknowledged ")) > 20


def traced(path: Path, command: list[str]) -> str:
    """Return what a server over the log at `path` did while 40 texts `<n>` were said to it.

    What it acknowledged is written as `acked n`.
    """
    trace = path.with_name("trace")
    strace = ["strace", "-f", "-s", "65536", "-o", str(trace), "-e", TRACED]
    server = Server([*strace, *command])
    with server.connect() as socket:
        join = {"type": "join", "id": "j", "nickname": "Ann", "token": "t" * 22}
        assert answer(socket, join)["type"] == "ack"
        for n in range(1, 31):
            assert answer(socket, {"type": "say", "id": f"c{n}", "text": f"<{n}>"})["type"] == "ack"
        for n in range(31, 41):
            socket.send(json.dumps({"type": "say", "id": f"c{n}", "text": f"<{n}>"}))
        while hear(socket).get("id") != "c40":
            pass
    # strace passes no signal on; who has the log is the server itself.
    os.kill(int(Path(f"{path}.lock").read_text()), signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0
    assert server.process.stdout is not None
    server.process.stdout.close()
    lines = []
    for line in trace.read_text().splitlines():
        sent = _SENT.match(line)
        found = _ACKED.findall(line) if sent else []
        if sent and found:
            lines += [f'{sent[1]} write(1, "acked {n}\\n", 8) = 8' for n in found]
        else:
            lines.append(line)
    return "\n".join(lines)


def test_no_byte_of_an_ack_leaves_before_the_write_that_holds_it_is_synced(tmp_path: Path) -> None:
    needs("strace", "-o", os.devnull, "true")
    path = tmp_path / "log.db"
    trace = traced(path, serve_command(path))
    assert acks(trace) == list(range(1, 41))
    assert early_acks(trace) == []


def test_that_is_noticed_where_the_log_is_not_synced(tmp_path: Path) -> None:
    needs("strace", "-o", os.devnull, "true")
    path = tmp_path / "log.db"
    trace = traced(path, serve_command(path, synced=False))
    assert acks(trace) == early_acks(trace) == list(range(1, 41))


def test_a_second_server_is_told_who_has_the_log_and_the_first_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    server = Server(serve_command(path))
    done = subprocess.run(
        serve_command(path), cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode not in {0, -signal.SIGKILL}
    assert f"another server (process {server.process.pid}) has" in done.stderr
    assert "Traceback" not in done.stderr
    with server.connect() as socket:
        assert answer(socket, {"type": "create", "id": "c"})["type"] == "ack"
    assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_asked_to_stop_does_so_though_clients_are_connected_and_work_is_under_way(
    how: signal.Signals, tmp_path: Path
) -> None:
    path, errors = tmp_path / "log.db", tmp_path / "errors"
    server = Server(serve_command(path), errors=errors)
    with server.connect() as socket:
        ack = answer(socket, {"type": "create", "id": "c"})
        assert server.end(how) == 0
        assert ack["type"] == "ack"
    assert "Traceback" not in errors.read_text()
