"""A provider of one's own: an instance is a file in a folder, and what stands in it is `stopped` or `running`.

`tests/engine/test_kit_examples.py` holds it to the kit for providers, and it can be tried out in a site of one's own:
`CloudchatApp(log, FolderProvider("instances"))`.
"""

# ruff: noqa: INP001 - a lone file, not a package

import os
from pathlib import Path
from typing import Literal

from cloudchat_engine import ProviderError, Work

State = Literal["absent", "stopped", "running"]
_STATES: dict[str, State] = {"stopped": "stopped", "running": "running"}


class FolderProvider:
    """Keeps a file for each instance in `folder`; a `Provider`."""

    name = "folder"

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """The folder is made where it is missing."""
        self._folder = Path(folder)
        self._folder.mkdir(exist_ok=True)

    def expected(self, command: str) -> float:
        """Return that anything takes no time worth mentioning."""
        return 0

    async def observe(self, work: Work) -> State:
        try:
            return _STATES[(self._folder / work.instance).read_text()]
        except FileNotFoundError:
            return "absent"

    async def ensure_stopped(self, work: Work) -> None:
        if work.spec:
            raise ProviderError("spec_unknown", "a file has no parameters")
        self._write(work, "stopped")

    async def ensure_running(self, work: Work) -> None:
        self._write(work, "running")

    def _write(self, work: Work, state: State) -> None:
        """Have the instance in `state`: a crash leaves the old file or the new one, and no other is made."""
        new = self._folder / f".{work.instance}"
        new.write_text(state)
        new.replace(self._folder / work.instance)

    async def ensure_absent(self, work: Work) -> None:
        (self._folder / work.instance).unlink(missing_ok=True)

    async def list_owned(self) -> list[str]:
        return [file.name for file in self._folder.iterdir() if not file.name.startswith(".")]

    async def aclose(self) -> None:
        """Let go of nothing: files stay."""
