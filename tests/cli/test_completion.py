"""What a shell completes."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from cloudchat_cli import completing
from tests.cli.here import run_here
from tests.cli.program import COMMAND, PATIENCE, Server, clean, run

if TYPE_CHECKING:
    from pathlib import Path


def completed(*words: str, shell: str = "bash", **environment: str) -> list[str]:
    """Press Tab at the end of `words`."""
    told = {
        "COMP_WORDS": " ".join(("cloudchat", *words)),
        "COMP_CWORD": str(len(words)) if shell == "bash" else words[-1],
        "_CLOUDCHAT_COMPLETE": f"{shell}_complete",
    }
    ended = run_here(**told, **environment)
    assert ended.exit_code == 0
    return [line for line in ended.output.splitlines() if line]


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever presses Tab here waits for longer than a second: the machine may be busy."""
    monkeypatch.setattr(completing, "PATIENCE", PATIENCE)


def test_commands_and_options_are_completed() -> None:
    assert completed("inst") == ["plain,instances"]
    assert completed("instances", "create", "--na") == ["plain,--name"]
    assert completed("events", "--topic", "") == ["plain,chat", "plain,instances"]


@pytest.mark.usefixtures("_patient")
@pytest.mark.parametrize("command", ["get", "watch", "start", "stop", "remove"])
def test_the_ids_of_instances_are_completed_from_the_server(server: Server, command: str) -> None:
    name = server.run("instances", "create", "--name", "tab").stdout.strip()
    there = {"CLOUDCHAT_SERVER": server.url}
    assert f"plain,{name}" in completed("instances", command, "", **there)
    assert completed("instances", command, name[:20], **there) == [f"plain,{name}"]
    assert completed("instances", command, "--server", server.url, name[:20]) == [f"plain,{name}"]
    assert "tab stopped" in "\n".join(
        completed("instances", command, name[:20], shell="fish", **there)
    )


def test_the_server_may_be_configured(server: Server, tmp_path: Path) -> None:
    name = server.run("instances", "create").stdout.strip()
    (tmp_path / "cloudchat").mkdir()
    (tmp_path / "cloudchat" / "config.toml").write_text(f'[client]\nserver = "{server.url}"\n')
    # Configuration is read once in a process, so this is one of its own.
    script = f"from cloudchat_cli import completing, main; completing.PATIENCE = {PATIENCE}; main()"
    told = {
        "COMP_WORDS": f"cloudchat instances get {name[:20]}",
        "COMP_CWORD": "3",
        "_CLOUDCHAT_COMPLETE": "bash_complete",
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    ended = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env={**clean(), **told},
    )
    assert ended.stdout == f"plain,{name}\n"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n\r\nno JSON", b"nonsense\r\n\r\n"])
def test_a_server_that_answers_nonsense_completes_nothing(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        assert completed("instances", "get", "", CLOUDCHAT_SERVER=url) == []
        thread.join()


def test_a_server_that_does_not_answer_or_is_not_there_completes_nothing() -> None:
    assert completed("instances", "get", "", CLOUDCHAT_SERVER="http://127.0.0.1:1") == []
    assert completed("instances", "get", "", CLOUDCHAT_SERVER="nonsense") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert completed("instances", "get", "", CLOUDCHAT_SERVER=url) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell_asks_the_command(shell: str) -> None:
    made = run("completion", shell)
    assert made.returncode == 0
    assert f"_CLOUDCHAT_COMPLETE={shell}_complete" in made.stdout
    program = shutil.which(shell)
    if program is not None:
        read = subprocess.run([program, "-n"], input=made.stdout, text=True, check=False)
        assert read.returncode == 0


def test_bash_completes_with_the_script() -> None:
    """A real bash calls the function that the script registers."""
    script = (
        f'eval "$({COMMAND} completion bash)"\n'
        "COMP_WORDS=(cloudchat operations g) COMP_CWORD=2\n"
        f"_cloudchat_completion {COMMAND}\n"
        'echo "${COMPREPLY[@]}"\n'
    )
    told = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
        env=clean(),
    )
    assert told.stdout == "get\n"
