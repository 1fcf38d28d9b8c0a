"""What is needed to run anything: compiled programs, cores, free ports, the machine's own description."""

import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parent / "build/benchmarks"
"""Where everything goes that is made here: git ignores it."""

PEERS: Final = BUILD / "peers"
"""Where `install_peers.sh` puts the other servers."""


class MissingError(Exception):
    """Something that is not ours is needed and not there; the text says what."""


def compiled(name: str) -> Path:
    """Compile `name`.c, where that was not done since it was last changed, and return the program."""
    source, program = HERE / f"{name}.c", BUILD / name
    if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    compiler = shutil.which("gcc")
    if compiler is None:
        raise MissingError("gcc is needed to compile the load generator")
    BUILD.mkdir(parents=True, exist_ok=True)
    fresh = program.with_suffix(f".{os.getpid()}")
    subprocess.run(
        [compiler, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-o", fresh, source],
        check=True,
    )
    return fresh.replace(program)


def cores() -> list[int]:
    """Return the cores that this process may use."""
    return sorted(os.sched_getaffinity(0))


def pinned(place: int, *, urgent: bool = False) -> list[str]:
    """Return what runs a command on one core: 0 the server's, 1 the load's, 2 another where there is one.

    `urgent`: before others that want the same core, where that is allowed.
    """
    available = cores()
    if len(available) == 1 or shutil.which("taskset") is None:
        return []
    core = available[min(place, len(available) - 1)]
    hurry = ["nice", "-n", "-15"] if urgent and os.geteuid() == 0 else []
    return ["taskset", "--cpu-list", str(core), *hurry]


def free_port() -> int:
    """Return a port that nobody has just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def first_line(*command: str | Path) -> str:
    """Return the first line that a command prints, wherever it does; empty where it does not work."""
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout or ran.stderr).partition("\n")[0].strip()


def _busy() -> tuple[float, float]:
    """Return how long all cores were busy, and how long they were there, in ticks."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def disturbance(seconds: float = 1.0) -> float:
    """Return which part of the machine others use, while we do nothing: 0 to 1."""
    busy, total = _busy()
    time.sleep(seconds)
    busy_then, total_then = _busy()
    return (busy_then - busy) / max(1.0, total_then - total)


def memory_of(pid: int) -> float:
    """Return the bytes that a process holds (PSS: pages that it shares count in part)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0.0


def machine() -> str:
    """Describe the machine and what runs on it in one line."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = [line.partition(":")[2] for line in text.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{(found or [platform.machine()])[0].strip()}, {len(cores())} cores, {memory:.0f} GiB, "
        f"Linux {platform.release()}, Python {platform.python_version()}, "
        f"SQLite {sqlite3.sqlite_version}, trio {version('trio')}, cloudchat {version('cloudchat')}"
    )
