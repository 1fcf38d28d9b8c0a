"""A real `cloudchat serve` that a browser uses, and that can be killed under its pages."""

from __future__ import annotations

import secrets
import signal
from typing import TYPE_CHECKING, Any

import httpx

from tests.cli.program import PATIENCE, Server
from tests.ports import free_port
from tests.specs.generated import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Site:
    """A server on a port that stays the same over restarts, with a log in a file."""

    def __init__(self, directory: Path, *options: str, **environment: str) -> None:
        self._directory, self._logs = directory, 0
        self._options, self._environment = options, environment
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._beginning = ""
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        self._server = Server(
            *("--log", f"sqlite:{self._directory}/{self._logs}.sqlite"),
            *("--limit", "commands_per_second=0", "--limit", "requests_per_second=0"),
            *self._options,
            port=self.port,
            **self._environment,
        )
        self._beginning = self._beginning or self.get("/v1/poll?wait=0")["cursor"]

    def forget(self) -> None:
        """Let the next start find an empty log."""
        self._logs += 1
        self._beginning = ""

    def kill(self) -> None:
        """`kill -9`."""
        self.stop(signal.SIGKILL)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, kindly."""
        self._server.signal(how)
        self._server.ended()
        self._server.__exit__(None, None, None)
        errors = self._server.errors
        assert not any("Traceback" in line for line in errors), "\n".join(errors)

    # -- what others do, and see, by plain HTTP

    def get(self, path: str) -> Any:
        """Return a resource."""
        answer = httpx.get(self.url + path, timeout=PATIENCE).raise_for_status()
        CONTRACT.answer("GET", path, answer.status_code, answer.headers, answer.content)
        return answer.json()

    def command(self, *commands: dict[str, str]) -> list[dict[str, Any]]:
        """Give commands as somebody who has not joined; return the answers."""
        answers: list[dict[str, Any]] = (
            httpx.post(
                f"{self.url}/v1/commands",
                json=[{"id": secrets.token_hex(8), **command} for command in commands],
                headers={"Cloudchat-Token": secrets.token_urlsafe(24)},
                timeout=PATIENCE,
            )
            .raise_for_status()
            .json()
        )
        assert all(answer["type"] == "ack" for answer in answers), answers
        return answers

    def say(self, *texts: str, nickname: str = "Bot") -> None:
        """Speak as a script that is not among the participants."""
        self.command(*({"type": "say", "text": text, "nickname": nickname} for text in texts))

    def create(self, name: str) -> str:
        """Create an instance and wait until it is there; return its id."""
        (ack,) = self.command({"type": "create", "name": name})
        instance: str = ack["instance"]["id"]
        self._until(
            lambda frame: frame["type"] == "created" and frame["instance"]["id"] == instance,
            ack["cursor"],
        )
        return instance

    def until_left(self, nickname: str) -> None:
        """Wait until somebody has left."""
        self._until(
            lambda frame: frame["type"] == "left" and frame["nickname"] == nickname, self._beginning
        )

    def _until(self, fact: Callable[[dict[str, Any]], bool], after: str) -> None:
        while not any(map(fact, (page := self.get(f"/v1/poll?after={after}&wait=20"))["frames"])):
            after = page["cursor"]

    def events(self) -> list[dict[str, Any]]:
        """Return every event of the log."""
        cursor, events = self._beginning, list[dict[str, Any]]()
        while frames := (page := self.get(f"/v1/poll?after={cursor}&wait=0"))["frames"]:
            assert all(frame["type"] != "gap" for frame in frames), "the log was kept"
            events += [frame for frame in frames if "at" in frame and frame["type"] != "heartbeat"]
            cursor = page["cursor"]
        return events

    def comings_and_goings(self) -> list[tuple[str, str]]:
        """Return who joined and left so far, in order."""
        return [
            (event["type"], event["nickname"])
            for event in self.events()
            if event["type"] in {"joined", "left"}
        ]
