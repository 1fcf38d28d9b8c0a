"""A real `cloudchat serve`, and stock clients for it: `websockets`, `httpx`, `curl`, or bytes on a socket.

Nothing of cloudchat is imported: what these tests know they have from docs/protocol.md. All that comes from a server is
held to the specifications that it serves itself.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.cli.program import Server as OneServer
from tests.specs.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

COMMAND = str(Path(sys.executable).with_name("cloudchat"))
PATIENCE = 60.0
"""Seconds after which a fact is not coming any more."""

STREAM = "text/event-stream"

Frame = dict[str, Any]

EVENTS = frozenset(
    [
        "joined",
        "left",
        "message",
        "redacted",
        "received",
        "created",
        "started",
        "stopped",
        "removed",
        "failed",
    ]
)
UPGRADE = (
    b"GET /v1/ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
"""A request for a WebSocket, for those who then send what no stock client would."""

_ids = itertools.count(1)


def new_token() -> str:
    """A participation token, as a client makes one up."""
    return secrets.token_urlsafe(24)


def new_name(stem: str = "guest") -> str:
    """A nickname that nobody else of this test run takes."""
    return f"{stem}{next(_ids)}"


@cache
def contract() -> Contract:
    """What a server says of itself: asked once, of one that no test uses (its requests are counted by none)."""
    with OneServer("--log", "memory:") as server:
        openapi, asyncapi = (
            httpx.get(f"{server.url}/v1/{name}.json", timeout=PATIENCE).raise_for_status().json()
            for name in ("openapi", "asyncapi")
        )
    return Contract(openapi, asyncapi)


class Server:
    """A running `cloudchat serve` on a free port of the loopback interface, with a log in a file."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._arguments = (
            *("serve", "--port", "0", "--log", f"sqlite:{log}"),
            *("--provider", "simulated:?duration=0.2"),
            *arguments,
        )
        self.log = log
        self.errors: list[str] = []
        self.start()

    def start(self) -> None:
        """Start it, again on the same log; the port is another one."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PORT", "CLOUDCHAT_"))}
        self.process = subprocess.Popen(
            [COMMAND, *self._arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**kept, "PYTHONUNBUFFERED": "1"},
        )
        assert self.process.stdout is not None
        stream = self.process.stderr
        assert stream is not None
        self._reader = threading.Thread(target=lambda: self.errors.extend(stream))
        self._reader.start()
        for line in self.process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            self._reap()
            raise AssertionError("the server did not start: " + "".join(self.errors))
        self.url = f"http://127.0.0.1:{self.port}"
        self.contract = contract()
        self.http = httpx.Client(
            base_url=self.url, timeout=PATIENCE, event_hooks={"response": [self._check]}
        )

    def _check(self, response: httpx.Response) -> None:
        """Hold an answer to what a server itself says that it answers. (A stream has no end to wait for.)"""
        body = b"" if response.headers.get("content-type") == STREAM else response.read()
        method, path = response.request.method, response.request.url.path
        self.contract.answer(method, path, response.status_code, response.headers, body)

    def _reap(self) -> int:
        code = self.process.wait(PATIENCE)
        self._reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code

    def kill(self) -> None:
        """`kill -9`."""
        self.http.close()
        self.process.kill()
        self._reap()

    def terminate(self) -> int:
        """Ask it to end (SIGTERM), and return its exit code."""
        self.http.close()
        self.process.send_signal(signal.SIGTERM)
        return self._reap()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def memory(self) -> int:
        """Bytes of memory that the server holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024

    # -- clients

    def ws_url(self, query: str = "") -> str:
        return f"ws://127.0.0.1:{self.port}/v1/ws{query}"

    def feed(self, query: str = "", **options: Any) -> Feed:
        """Open a WebSocket and read how the feed begins: `welcome`, and a snapshot where one comes."""
        # A feed decides itself how it ends, so the connection's own end of a `with` is left out.
        opened = connect(self.ws_url(query), compression=None, **options)
        return Feed(opened.__enter__(), self.contract)

    def post(self, body: object, **headers: str) -> httpx.Response:
        """`POST /v1/commands`."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/v1/commands", json=body, headers=names)

    def curl(self, path: str, *arguments: str) -> tuple[int, dict[str, str], str]:
        """Ask with curl; return status, headers (names in lower case) and body."""
        done = subprocess.run(
            ["curl", "-sS", "-i", "--max-time", str(PATIENCE), *arguments, self.url + path],
            check=True,
            capture_output=True,
            text=True,
        )
        head, _, body = done.stdout.partition("\n\n")
        lines = head.splitlines()
        fields = (line.partition(":") for line in lines[1:])
        status, headers = int(lines[0].split()[1]), {n.lower(): v.strip() for n, _, v in fields}
        usual = "POST" if "-d" in arguments else "GET"
        method = arguments[arguments.index("-X") + 1] if "-X" in arguments else usual
        self.contract.answer(method, path, status, headers, body.encode())
        return status, headers, body

    def raw(self, data: bytes, *, until: Callable[[bytes], bool] = lambda _: False) -> bytes:
        """Send bytes; return what comes until it satisfies `until`, or the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as sock:
            sock.sendall(data)
            got = b""
            while not until(got):
                try:
                    part = sock.recv(65_536)
                except ConnectionResetError:
                    break
                if not part:
                    break
                got += part
            return got


class Feed:
    """One WebSocket, with what it has said so far. Answers and events are kept apart: they have no promised order."""

    def __init__(self, ws: ClientConnection, contract: Contract) -> None:
        self.ws, self._contract = ws, contract
        self.events: list[Frame] = []
        self.answers: dict[str | None, Frame] = {}
        self.others: list[Frame] = []
        self.snapshot: Frame | None = None
        self.gap: Frame | None = None
        self.parts = 0
        self.largest = 0
        self.nickname = ""
        self.welcome = self._next()
        assert self.welcome["type"] == "welcome", self.welcome
        self.cursor: str = self.welcome["cursor"]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.lose()

    def _next(self) -> Frame:
        data = self.ws.recv(PATIENCE)
        assert isinstance(data, str), "frames are text"
        self.largest = max(self.largest, len(data.encode()))
        frame: Frame = json.loads(data)
        self._contract.frame("ws", frame)
        return frame

    def take(self) -> Frame:
        """Read one frame and fold it as the protocol says."""
        frame = self._next()
        kind = frame["type"]
        if kind in EVENTS:
            self.events.append(frame)
            self.cursor = frame["cursor"]
        elif kind == "heartbeat":
            self.others.append(frame)
            self.cursor = frame["cursor"]
        elif kind == "snapshot":
            self.parts += 1
            known = self.snapshot if self.snapshot and self.snapshot.get("more") else {}
            lists = {k: v for k, v in frame.items() if isinstance(v, list)}
            joined = {k: [*known.get(k, []), *v] for k, v in lists.items()}
            self.snapshot = {**known, **frame, **joined}
            if not frame.get("more"):
                self.snapshot.pop("more", None)
                self.cursor = frame["cursor"]
        elif kind == "gap":
            self.gap = frame
        elif kind in {"ack", "error"}:
            assert frame["id"] is None or frame["id"] not in self.answers, "one answer a command"
            self.answers[frame["id"]] = frame
        else:
            self.others.append(frame)
        return frame

    def until(self, fact: Callable[[Frame], bool]) -> Frame:
        """Read on until a frame satisfies `fact`, and return it."""
        while True:
            frame = self.take()
            if fact(frame):
                return frame

    def find(self, fact: Callable[[Frame], bool]) -> Frame:
        """Return the first event that satisfies `fact`, which may have come before."""
        return next(filter(fact, self.events), None) or self.until(fact)

    def ready(self) -> Frame:
        """Read the snapshot to its last part."""
        while self.snapshot is None or self.snapshot.get("more"):
            self.take()
        return self.snapshot

    def send(self, kind: str, **fields: object) -> str:
        """Send a command; return its id."""
        command_id = str(fields.pop("id", None) or f"c{next(_ids)}")
        self.ws.send(json.dumps({"type": kind, "id": command_id, **fields}, ensure_ascii=False))
        return command_id

    def answer(self, command_id: str | None) -> Frame:
        """Return the answer to a command, when it has come."""
        while command_id not in self.answers:
            self.take()
        return self.answers.pop(command_id)

    def ask(self, kind: str, **fields: object) -> Frame:
        """Send a command and return its answer."""
        return self.answer(self.send(kind, **fields))

    def refused(self, kind: str, **fields: object) -> str:
        """Send a command that is refused; return the code."""
        error = self.ask(kind, **fields)
        assert error["type"] == "error", error
        assert isinstance(error["detail"], str)
        code: str = error["code"]
        return code

    def done(self, kind: str, **fields: object) -> Frame:
        """Send a command that is accepted; return its ack."""
        ack = self.ask(kind, **fields)
        assert ack["type"] == "ack", ack
        return ack

    def say_raw(self, data: str | bytes) -> Frame:
        """Send a frame as it is; return the answer to one whose id cannot be read."""
        self.ws.send(data)
        return self.answer(None)

    def event(self, cursor: str) -> Frame:
        """Return the event at `cursor`, when it has come."""
        while not (found := [event for event in self.events if event["cursor"] == cursor]):
            self.take()
        return found[0]

    def caught_up(self) -> list[Frame]:
        """Return all events up to the log's head of now."""
        head = self.done("ping")["cursor"]
        while offset(self.cursor) < offset(head):
            self.take()
        return self.events

    def join(self, nickname: str, token: str) -> Frame:
        self.nickname = nickname
        return self.done("join", nickname=nickname, token=token)

    def leave_with(self, code: int) -> None:
        """Close with a close code."""
        self.ws.close(code)

    def lose(self) -> None:
        """Lose the connection, without a word."""
        self.ws.close_socket()

    def closed(self) -> tuple[int, str]:
        """Read to the end; return the server's close code and reason."""
        with pytest.raises(ConnectionClosed) as ended:  # noqa: PT012 - whichever frame is the last
            while True:
                self.take()
                self.answers.clear()
        last = ended.value.rcvd
        assert last is not None, "the server said why it closes"
        return last.code, last.reason


def offset(cursor: str) -> int:
    """The offset of a cursor."""
    return int(cursor.rpartition("-")[2])


def epoch(cursor: str) -> str:
    """The epoch of a cursor."""
    return cursor.rpartition("-")[0]


def is_event(kind: str, **fields: object) -> Callable[[Frame], bool]:
    """Tell frames of this type with these fields."""
    return lambda frame: (
        frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items())
    )


def joined(server: Server, name: str, token: str) -> Feed:
    """Open the feed of somebody who has joined."""
    feed = server.feed()
    feed.join(name, token)
    return feed


def left(watcher: Feed, name: str) -> Frame:
    """Wait for somebody's departure."""
    return watcher.until(is_event("left", nickname=name))


def masked(first: int, payload: bytes = b"") -> bytes:
    """A client's WebSocket frame (RFC 6455 §5.2); `first` is its first byte."""
    size = len(payload)
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65_536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((first,)) + length + bytes(4) + payload  # a mask of zeros changes nothing
