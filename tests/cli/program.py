"""Runs the real command, reads what it says, and waits for facts."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    import signal
    from types import TracebackType

COMMAND = str(Path(sys.executable).with_name("cloudchat"))
PATIENCE = 90
"""Seconds after which a fact is not coming any more, however busy the machine is."""

ABSENCE = ("--grace", "60")
"""For a server that is killed: nobody is taken for gone, however long it takes to come back."""


class Program:
    """A running `cloudchat ARGUMENTS`."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**clean(), "TZ": "UTC", **environment},
        )
        self._said: queue.Queue[str | None] = queue.Queue()
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors)),
        ]
        for reader in self._readers:
            reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def _read(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._said.put(line.rstrip("\n"))
        self._said.put(None)

    def until(self, pattern: str) -> re.Match[str]:
        """Wait for a line, on either output, in which `pattern` is found; earlier ones do not count."""
        ended, deadline = 0, time.monotonic() + PATIENCE
        while ended < len(self._readers):
            try:
                line = self._said.get(timeout=max(0, deadline - time.monotonic()))
            except queue.Empty:
                break
            if line is None:
                ended += 1
            elif found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} is not in:\n" + "\n".join(self.lines + self.errors))

    def type(self, line: str) -> None:
        """Type a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end_of_input(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> int:
        """Wait for the end, and return the exit code."""
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join()
        return code


class Server(Program):
    """A running `cloudchat serve`."""

    def __init__(self, *arguments: str, port: int = 0, **environment: str) -> None:
        super().__init__("serve", "--port", str(port), *arguments, **environment)
        try:
            self.url = self.until(r"serves at (\S+) ")[1]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.port = int(self.url.rpartition(":")[2])

    def run(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command against this server to its end; what it prints as JSON is held to the specifications."""
        done = run(*arguments, text=text, CLOUDCHAT_SERVER=self.url)
        if done.returncode == 0 and "-o" in arguments:
            hold(arguments[0], arguments[arguments.index("-o") + 1], done.stdout)
        return done

    def chat(self, nickname: str, *options: str) -> Program:
        """Start a chat, and wait until it is in."""
        program = Program("chat", nickname, *options, CLOUDCHAT_SERVER=self.url)
        try:
            program.until("^.* here: ")
        except BaseException:
            program.__exit__(None, None, None)
            raise
        return program


def hold(command: str, output: str, text: str) -> None:
    """Hold what a `command` printed as `json` or `jsonl` to what the server says of such things."""
    from tests.specs.generated import CONTRACT  # noqa: PLC0415 - tests/protocol imports nothing of ours

    if output not in {"json", "jsonl"}:
        return
    told = [json.loads(each) for each in (text.splitlines() if output == "jsonl" else [text])]
    for thing in told[0] if told and isinstance(told[0], list) else told:
        match command:
            case "instances":
                CONTRACT.resource("InstanceView", thing)
            case "operations":
                CONTRACT.resource("OperationView", thing)
            case "events" | "messages" | "worklog":
                CONTRACT.frame("ws", thing)


def run(
    *arguments: str, text: str = "", cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [COMMAND, *arguments],
        input=text,
        capture_output=True,
        check=False,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=PATIENCE,
        env={**clean(), **environment},
        cwd=cwd,
    )


def clean() -> dict[str, str]:
    """Return an environment that says nothing about settings."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("PORT", "CLOUDCHAT_"))}
