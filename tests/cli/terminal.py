"""A terminal, as people have it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from typing import Self

from tests.cli.program import COMMAND, PATIENCE, clean


class Terminal:
    """A command at a terminal; it has no colours but those that are asked for."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**clean(), "NO_COLOR": "1", "TERM": "xterm", **environment},
        )
        os.close(theirs)
        self._shown = ""

    def until(self, pattern: str) -> None:
        """Read on until `pattern` is on the screen; what was read before it does not count again."""
        deadline = time.monotonic() + PATIENCE
        while (found := re.search(pattern, self._shown)) is None:
            left = deadline - time.monotonic()
            assert left > 0, self._shown
            assert select.select([self._own], [], [], left)[0], self._shown
            try:
                self._shown += os.read(self._own, 65_536).decode()
            except OSError:  # the program has ended
                raise AssertionError(self._shown) from None
        self._shown = self._shown[found.end() :]

    def type(self, line: str) -> None:
        os.write(self._own, f"{line}\n".encode())

    def press(self, key: bytes) -> None:
        os.write(self._own, key)

    def ended(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and all that is on the screen since `until`."""
        code = self.process.wait(PATIENCE)
        while select.select([self._own], [], [], 0)[0]:
            try:
                self._shown += os.read(self._own, 65_536).decode()
            except OSError:  # all is read
                break
        return code, self._shown

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._own)
