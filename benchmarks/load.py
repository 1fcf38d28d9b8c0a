"""Runs the load generator against a server and returns what it measured."""

import json
import subprocess
from collections.abc import Callable, Mapping
from typing import Any, Final

from benchmarks.servers import Running, Speech
from benchmarks.tools import compiled, pinned

LIMIT: Final = 300
"""Seconds after which the load generator ends itself."""


class LoadError(Exception):
    """The load generator could not do its work; what it said is on stderr."""


Figures = dict[str, Any]
"""What one phase measured: the line of JSON that `load.c` prints."""


def label(phase: str) -> str:
    """Name a phase by what it does, without how long: `closed:64`, `open:100`, `pipelined:1`, `idle`, …"""
    kind, *values = phase.split(":")
    return f"{kind}:{values[0]}" if kind in {"closed", "open", "pipelined"} else kind


def load(
    server: Running,
    speech: Speech,
    *phases: str,
    transport: str = "ws",
    clients: int,
    publishers: int = 1,
    all_join: bool = False,
    core: int = 1,
    limit: int = LIMIT,
    watch: Callable[[Figures], bool] = lambda _: True,
) -> list[Figures]:
    """Have the phases run one after the other and return their figures, those of setting up first.

    `watch` is shown each as it comes, and ends it all by returning False.
    """
    options: Mapping[str, object] = {
        "port": server.port,
        "pid": server.pid,
        "transport": transport,
        "clients": clients,
        "publishers": publishers,
        "limit": limit,
        **speech,
    }
    given = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    command = [
        *pinned(core, urgent=core > 1),
        str(compiled("load")),
        *given,
        *(["--all-join"] if all_join else []),
        *phases,
    ]
    figures: list[Figures] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as generator:
        assert generator.stdout is not None
        try:
            for line in generator.stdout:
                figures.append(json.loads(line))
                figures[-1]["phase"] = label(figures[-1]["phase"])
                if not watch(figures[-1]):
                    generator.kill()
                    return figures
        except BaseException:
            generator.kill()
            raise
    if generator.returncode:
        raise LoadError(f"the load generator ended with {generator.returncode}: {command}")
    return figures
