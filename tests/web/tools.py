"""npm on the web client: what package-lock.json names is installed once, and its commands are run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tests.cli.program import COMMAND
from tests.faults.harness import needs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).parents[2]
WEB = ROOT / "examples/web"
ELSEWHERE = "https://chat.example.org"
"""The server that a bundle is built for; nothing ever calls it."""
FIRST_LOAD = 60_000
"""Bytes, compressed, that a first visit may cost."""
PATIENCE = 300
"""Seconds after which npm hangs."""


@cache
def install() -> None:
    """Have the packages in place. Without Node, skip the test; where all is to be shown, fail."""
    needs("node", "--experimental-websocket", "--version")  # it knows WebSocket since 20.10
    needs("npm", "--version")
    with (WEB / "package-lock.json").open() as lock:
        # Two runs side by side share the folder, which npm empties first.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_installed(json.load(lock)["packages"]):
            said(_run("npm", "ci"))


def _is_installed(wanted: dict[str, Any]) -> bool:
    """Tell whether what npm wrote down last time is what is wanted; what is for another machine may be absent."""
    try:
        present = json.loads((WEB / "node_modules/.package-lock.json").read_text())["packages"]
    except FileNotFoundError:
        return False
    wanted = {name: entry for name, entry in wanted.items() if name}
    return present.keys() <= wanted.keys() and all(
        present[name]["version"] == entry["version"] if name in present else "optional" in entry
        for name, entry in wanted.items()
    )


def npm(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run npm to its end; `CLOUDCHAT` names the command for tests that need a server."""
    install()
    return _run("npm", *arguments, CLOUDCHAT=COMMAND, **environment)


@contextmanager
def running(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Let Node run a text as a module that lies in the client's folder."""
    install()
    flags = ("--experimental-websocket", "--no-warnings", "--input-type=module")
    with subprocess.Popen(
        ["node", *flags, "--eval", script, "--", *arguments],
        cwd=WEB,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def finished(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    """Wait for the end of a program."""
    output, errors = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


@cache
def bundle() -> Mapping[str, bytes]:
    """Return the files of the page as webpack builds it for `ELSEWHERE`, by name."""
    with TemporaryDirectory() as folder:
        said(npm("run", "build", "--", "--output-path", folder, CLOUDCHAT_SERVER=ELSEWHERE))
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def publish(folder: Path, server: str) -> None:
    """Put the bundle into `folder`, moved to another server as README has it: by editing addresses in its page."""
    for name, content in bundle().items():
        (folder / name).write_bytes(content)
    page = folder / "index.html"
    moved = page.read_text().replace(ELSEWHERE, server)
    page.write_text(moved.replace("wss" + ELSEWHERE[5:], "ws" + server[4:]))


def said(ran: subprocess.CompletedProcess[str]) -> str:
    """Return what a program said; where it failed, fail with that."""
    assert ran.returncode == 0, f"{ran.args}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=WEB,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        timeout=PATIENCE,
    )
