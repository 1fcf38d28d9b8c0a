"""`cloudchat serve`: what it says at the start, how it ends, and what it says where it cannot start."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.cli.here import run_here
from tests.cli.program import PATIENCE, Program, Server, run
from tests.ports import free_port

MEMORY = ("--log", "memory:")


def test_it_says_where_it_is_and_where_its_log_is(tmp_path: Path) -> None:
    with Server(HOME=str(tmp_path), XDG_DATA_HOME=str(tmp_path / "data")) as server:
        place = Path(server.until(r"^log: sqlite:(.*)$")[1])
        assert place.is_relative_to(tmp_path)
        assert place.is_file()
        with urllib.request.urlopen(f"{server.url}/healthz", timeout=PATIENCE) as answer:
            assert answer.status == 200


def test_what_was_done_is_there_after_a_restart(tmp_path: Path) -> None:
    log = ("--log", f"sqlite:{tmp_path / 'new' / 'log'}", "--provider", "simulated:?duration=0")
    with Server(*log) as server:
        name = server.run("instances", "create").stdout.strip()
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
    with Server(*log) as server:
        (listed,) = json.loads(server.run("instances", "list", "-o", "json").stdout)
        assert (listed["id"], listed["state"]) == (name, "stopped")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(number: signal.Signals) -> None:
    with Server(*MEMORY) as server:
        server.signal(number)
        assert server.ended() == 0
        assert "Traceback" not in "\n".join(server.errors)


def test_a_second_interrupt_ends_it_at_once() -> None:
    with Server(*MEMORY) as server, socket.create_connection(("127.0.0.1", server.port)) as held:
        # This client never answers the close, and the server would wait for it a little.
        held.sendall(
            b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert held.recv(12) == b"HTTP/1.1 101"
        server.signal(signal.SIGINT)
        server.until("stopping")
        server.signal(signal.SIGINT)
        assert server.ended() == 130


def test_a_port_that_is_taken_is_said_and_leaves_no_trace(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Server(*MEMORY) as server:
        refused = run("serve", "--port", str(server.port), "--log", f"sqlite:{log}")
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert f"port {server.port}" in line
    assert not log.exists()


def test_a_log_that_another_server_has_is_said(tmp_path: Path) -> None:
    log = ("--log", f"sqlite:{tmp_path / 'log'}")
    with Server(*log) as server:
        refused = run("serve", "--port", "0", *log)
        assert (refused.returncode, refused.stdout) == (1, "")
        (line,) = refused.stderr.splitlines()
        assert f"process {server.process.pid}" in line


def test_a_log_that_is_none_is_said(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"this is no database, and never was one\n" * 400)
    refused = run("serve", "--port", "0", "--log", f"sqlite:{log}")
    assert (refused.returncode, refused.stdout) == (1, "")
    (line,) = refused.stderr.splitlines()
    assert str(log) in line


def test_a_log_with_a_damaged_record_is_said_with_its_place(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Server("--log", f"sqlite:{log}") as server:
        assert server.run("say", "--as", "Ann", "hello").returncode == 0
        server.signal(signal.SIGKILL)
        server.ended()
    with sqlite3.connect(log) as connection:
        connection.execute("UPDATE log SET body = x'00' WHERE kind = 'message'")
    connection.close()
    refused = run("serve", "--port", "0", "--log", f"sqlite:{log}")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "damaged" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


def test_a_place_that_cannot_be_written_is_said() -> None:
    refused = run("serve", "--port", "0", "--log", "sqlite:/proc/nowhere/log")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "/proc/nowhere" in refused.stderr.splitlines()[-1]
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--log", "postgres://x"), "sqlite:PATH"),
        (("--log", "sqlite:"), "sqlite:PATH"),
        (("--log", "memory:x"), "memory:"),
        (("--provider", "aws:"), "simulated:"),
        (("--provider", "simulated:?speed=1"), "simulated:?duration=SECONDS"),
        (("--provider", "simulated:?fail=launch"), "create, start, stop, remove"),
        (("--provider", "simulated:?duration=-1"), "0 or more seconds"),
        (("--provider", "simulated:?duration=nan"), "0 or more seconds"),
        (("--retain", "many"), "30d"),
        (("--retain", "0"), "30d"),
        (("--retain", "3y"), "30d"),
        (("--retain", "9" * 400), "30d"),
        (("--retain", "9" * 400 + "w"), "30d"),
        (("--limit", "text"), "NAME=VALUE"),
        (("--limit", "text=long"), "NAME=VALUE"),
        (("--limit", "text=0"), "more than 0"),
        (("--limit", "texts=5"), "there is no limit"),
        (("--allow-host", "http://x"), "no host"),
        (("--allow-origin", "x"), "no origin"),
        (("--transport", "pigeon"), "ws"),
        (("--port", "65536"), "65535"),
        (("--grace", "-1"), "x>=0"),
        (("--heartbeat", "0"), "x>0"),
    ],
)
def test_wrong_usage_says_what_would_be_right(arguments: tuple[str, ...], said: str) -> None:
    refused = run_here("serve", *arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert said in re.sub(r"\s+", " ", refused.stderr)


def test_the_port_may_come_from_the_environment() -> None:
    port = free_port()
    with Program("serve", *MEMORY, PORT=str(port)) as server:
        assert server.until(r"serves at (\S+) ")[1] == f"http://127.0.0.1:{port}"


def status(server: Server, path: str = "/v1/instances", **headers: str) -> int:
    request = urllib.request.Request(f"{server.url}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_only_names_and_origins_that_it_was_told_may_use_it() -> None:
    options = (*MEMORY, "--allow-host", "chat.example.org", "--allow-origin", "https://ops.example")
    with Server(*options, RENDER_EXTERNAL_HOSTNAME="app.onrender.com") as server:
        assert status(server) == 200
        assert status(server, Host="chat.example.org") == 200
        assert status(server, Host="app.onrender.com") == 200
        assert status(server, Host="evil.example") == 403
        assert status(server, Origin="https://ops.example") == 200
        assert status(server, Origin="https://evil.example") == 403


@pytest.mark.parametrize("switched_on", [("ws",), ("sse",), ("poll",), ("ws", "poll")])
def test_only_the_transports_that_are_switched_on_are_served(switched_on: tuple[str, ...]) -> None:
    options = [word for name in switched_on for word in ("--transport", name)]
    with Server(*MEMORY, *options) as server:
        assert status(server, "/v1/poll?wait=0") == (200 if "poll" in switched_on else 404)
        assert status(server, "/v1/sse") == (200 if "sse" in switched_on else 404)
        for transport in ("ws", "sse", "poll", "auto"):
            chat = server.run("chat", "Ann", "--transport", transport)
            on = transport in {"auto", *switched_on}
            assert chat.returncode == (0 if on else 3), chat.stderr
        assert server.run("events").returncode == (0 if "poll" in switched_on else 3)
        assert status(server) == 200


def test_limits_and_retention_are_taken() -> None:
    options = (*MEMORY, "--limit", "text=5", "--limit", "commands_per_second=0")
    with Server(*options, "--retain", "100", "--retain", "30d", "--retain", "1.5GB") as server:
        assert server.run("say", "--as", "Ann", "short").returncode == 0
        assert server.run("say", "--as", "Ann", "too long").returncode == 3


def test_it_takes_as_many_connections_as_the_system_lets_it() -> None:
    with Server(*MEMORY) as server:
        limits = Path(f"/proc/{server.process.pid}/limits").read_text()
        (found,) = re.findall(r"^Max open files +(\d+) +(\d+)", limits, re.MULTILINE)
        assert found[0] == found[1]


def test_who_listens_beyond_this_machine_is_told_how_it_is_reached() -> None:
    with Server(*MEMORY, "--host", "0.0.0.0") as server:
        assert server.url == f"http://127.0.0.1:{server.port}"
        server.until("every address of this machine")
        assert status(server) == 200
    with Server(*MEMORY, "--host", "localhost") as server:
        assert server.url == f"http://localhost:{server.port}"
        assert status(server) == 200


def test_the_version_is_the_packages() -> None:
    told = run("--version")
    assert (told.returncode, told.stdout) == (0, f"cloudchat {version('cloudchat')}\n")


def test_help_needs_nothing_but_click() -> None:
    """What `--help` imports is what makes it slow: none of the servers, clients and tables."""
    script = (
        "import sys, cloudchat_cli\n"
        "sys.argv = ['cloudchat', 'serve', '--help']\n"
        "try: cloudchat_cli.main()\n"
        "except SystemExit: pass\n"
        "ours = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'trio', 'anyio', 'httpx', 'rich', 'msgspec', 'hypercorn', 'platformdirs',"
        " 'cloudchat_core', 'cloudchat_engine', 'cloudchat_transports'}\n"
        "print(sorted(ours & heavy), file=sys.stderr)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert told.stderr.strip() == "[]"
    assert "Usage: cloudchat serve" in told.stdout
