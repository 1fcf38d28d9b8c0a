"""A `cloudchat serve` of its own process, clients that never lose count, and the log read afterwards."""

import json
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import anyio
import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from cloudchat_core.codec import load, token_hash
from cloudchat_core.events import Record
from cloudchat_core.workspace import Workspace, evolve
from cloudchat_engine.logs import SqliteLog
from cloudchat_engine.replay import replay
from tests.faults.accounts import Account, Tally, cursors_of, tally
from tests.specs.generated import CONTRACT

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
"""Seconds after which something that does not happen counts as hung."""
IN_FLIGHT = 20
"""Commands that a publisher has unanswered at once."""


def needs(*command: str) -> None:
    """Skip a test whose tool does not work on this machine: `command` tries it. Where all is to be shown, fail."""
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE)
    except (OSError, subprocess.CalledProcessError) as error:
        if os.environ.get("CI"):
            pytest.fail(f"{command[0]} does not work: {error}")
        pytest.skip(f"{command[0]} does not work: {error}")


def serve_command(path: Path, *options: str, synced: bool = True) -> list[str]:
    """Return the command line of a server over the log at `path`; later `options` win."""
    synced_main = ("-c", "from cloudchat_cli import main; main()")
    return [
        sys.executable,
        *(synced_main if synced else ("-m", "tests.faults.unsynced")),
        *("serve", "--port", "0", "--log", f"sqlite:{path}", "--limit", "commands_per_second=0"),
        *("--limit", "requests_per_second=0", *options),
    ]


class Server:
    """A server process. `url` is where it serves."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        errors: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it and wait until it serves; what it says on standard error goes to `errors`."""
        with (errors or Path(os.devnull)).open("ab") as file:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        self.url = next((word for word in words if word.startswith("http://")), "")
        if not self.url:
            self.end(signal.SIGKILL)
            raise AssertionError("the server did not start")

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def memory(self) -> int:
        """Return how many bytes of memory it holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    def end(self, how: signal.Signals) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(how)
        assert self.process.stdout is not None
        with self.process.stdout:
            return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.end(signal.SIGKILL)

    def get(self, path: str) -> Any:
        """Return a resource's JSON."""
        status, body = self.ask(path)
        assert status == 200, body
        return json.loads(body)

    def present(self) -> set[str]:
        """Return who takes part."""
        return {one["nickname"] for one in self.get("/v1/participants")}

    def ask(self, path: str) -> tuple[int, bytes]:
        """Return status and body of a GET."""
        try:
            with urlopen(Request(self.url + path), timeout=PATIENCE) as answer:
                return _described(path, answer)
        except HTTPError as error:
            with error:
                return _described(path, error)

    def connect(self, topics: str = "instances") -> ClientConnection:
        """Open a WebSocket."""
        url = self.url.replace("http", "ws", 1)
        return connect(
            f"{url}/v1/ws?topics={topics}", open_timeout=PATIENCE, compression=None, proxy=None
        )


def _described(path: str, answer: Any) -> tuple[int, bytes]:
    """Read an answer, which has to be as the specification says."""
    body: bytes = answer.read()
    headers = {name.lower(): value for name, value in answer.headers.items()}
    CONTRACT.answer("GET", path, answer.status, headers, body)
    return answer.status, body


def hear(socket: ClientConnection) -> dict[str, Any]:
    """Return the next frame, which has to be as the specification says."""
    frame: dict[str, Any] = json.loads(socket.recv(PATIENCE))
    CONTRACT.frame("ws", frame)
    return frame


def settled(server: Server) -> None:
    """Wait until every operation has ended."""
    deadline = time.monotonic() + PATIENCE
    while not all(operation["done"] for operation in server.get("/v1/operations")):
        assert time.monotonic() < deadline, "an operation does not end"
        time.sleep(0.05)  # the server works meanwhile


def answer(socket: ClientConnection, command: Mapping[str, object]) -> dict[str, Any]:
    """Send one command and return the answer to it."""
    socket.send(json.dumps(command))
    while True:
        frame = hear(socket)
        if frame.get("id") == command["id"] and frame["type"] in {"ack", "error"}:
            return frame


class Publisher:
    """A client that joins, says things and makes instances as fast as it is answered, and comes back when cut off.

    It keeps the protocol's word: what is unanswered is sent again, in order, with the same ids, before anything new.
    `acked` holds the answers it was given.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.token = secrets.token_urlsafe(16)
        self.acked: dict[str, dict[str, Any]] = {}
        self._unanswered: dict[str, dict[str, object]] = {}
        self._count = 0
        self._stopping = False
        self._url = threading.Condition()
        self._server: Server | None = None
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def scope(self) -> str:
        """The name of its commands' scope in the log."""
        scope = token_hash(self.token)
        assert scope is not None
        return scope

    def start(self) -> None:
        self._thread.start()

    def attach(self, server: Server | None) -> None:
        """Say where the server is now; None: it is gone."""
        with self._url:
            self._server = server
            self._url.notify_all()

    def stop(self) -> None:
        """Let everything be answered, then end."""
        self._stopping = True
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), f"{self.name} was not answered"
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self._stopping or self._unanswered:
                with self._url:
                    self._url.wait_for(lambda: self._server is not None, PATIENCE)
                    server = self._server
                assert server is not None
                try:
                    with server.connect() as socket:
                        self._publish(socket)
                except (OSError, EOFError, WebSocketException):
                    continue
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.failure = error

    def _publish(self, socket: ClientConnection) -> None:
        joined = answer(socket, self._new("join", nickname=self.name, token=self.token))
        self._hear(joined)
        for command in list(self._unanswered.values()):
            socket.send(json.dumps(command))
        while not self._stopping or self._unanswered:
            while len(self._unanswered) < IN_FLIGHT and not self._stopping:
                socket.send(json.dumps(self._next()))
            self._hear(hear(socket))

    def _new(self, kind: str, **fields: object) -> dict[str, object]:
        self._count += 1
        return {"type": kind, "id": f"{self.name}-{self._count}", **fields}

    def _next(self) -> dict[str, object]:
        if self._count % 40 == 7:
            command = self._new("create", name=self.name)
        else:
            command = self._new("say", text=f"{self.name} says <{self._count + 1}>")
        self._unanswered[str(command["id"])] = command
        return command

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "error":
            assert frame["code"] in {"unavailable", "internal"}, frame
        elif frame["type"] == "ack":
            self.acked[frame["id"]] = frame
            self._unanswered.pop(frame["id"], None)


def records_of(path: Path) -> list[Record]:
    """Return what the log at `path` holds, and see that its snapshot and tail amount to the same."""

    async def read() -> list[Record]:
        log = SqliteLog(path)
        opened = await log.open()
        try:
            records = [load(stored) for stored in await log.read(0, opened.head)]
            assert await replay(log, opened) == reduce(evolve, records, Workspace())
            return records
        finally:
            await log.aclose()

    return anyio.run(read)


def tally_of(records: Sequence[Record], publishers: Sequence[Publisher]) -> Tally:
    """Hold what `publishers` were told against the log."""
    return tally(records, [Account(p.name, p.scope, cursors_of(p.acked)) for p in publishers])


def check(records: Sequence[Record], publishers: Sequence[Publisher]) -> int:
    """See that the log is dense and has every acknowledged command once, where its answer says; return how many."""
    found = tally_of(records, publishers)
    assert found.lost == found.doubled == 0, found
    return found.acknowledged
