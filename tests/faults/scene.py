"""A server and the clients that something happens to: what every kind of fault has in common."""

from __future__ import annotations

import random
import signal
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.faults.accounts import Account, Result, Tally, ended_once, result, tally
from tests.faults.crowd import EACH, PACE, Crowd
from tests.faults.harness import Server, records_of, serve_command, settled
from tests.faults.proxy import Proxy
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from types import TracebackType

    from cloudchat_core.events import Record


class Scene:
    """A server on a port that it keeps over restarts, with a log in a file, and clients of their own processes.

    `chance` is what is left to chance, the same for the same seed.
    """

    def __init__(
        self,
        seed: int,
        *options: str,
        wrapped: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a server with further `options`, by a command that it is `wrapped` in."""
        self.chance = random.Random(seed)
        self._closing = ExitStack()
        self.directory = Path(self._closing.enter_context(tempfile.TemporaryDirectory()))
        self.path, self.errors = self.directory / "log.db", self.directory / "errors"
        self._environment = dict(environment or {})
        usual = ("--provider", "simulated:?duration=0.5", "--limit", "snapshot_every=500")
        port = ("--port", str(free_port()))
        self._command = [*wrapped, *serve_command(self.path, *usual, *port, *options)]
        self._crowds: list[Crowd] = []
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.server.process.poll() is None:
            self.server.process.send_signal(signal.SIGCONT)
            self.server.end(signal.SIGKILL)
        self._closing.close()

    def start(self, **environment: str) -> None:
        """Start the server, again on the same port and log."""
        self.server = Server(
            self._command, errors=self.errors, environment={**self._environment, **environment}
        )

    def crowd(self, url: str = "", transports: Collection[str] = EACH, pace: float = PACE) -> Crowd:
        """Let clients in, by `url` where that is not the server's own, and wait until each had an answer."""
        names = [f"{transport}.{len(self._crowds)}" for transport in transports]
        crowd = self._closing.enter_context(Crowd(url or self.server.url, names, pace))
        self._crowds.append(crowd)
        crowd.wait("ack")
        return crowd

    def proxy(self) -> Proxy:
        """Put a proxy before the server."""
        return self._closing.enter_context(Proxy(self.server.port))

    def said(self) -> str:
        """Return what the server has said on standard error."""
        return self.errors.read_text()

    def end(self) -> tuple[list[Record], list[Account]]:
        """Let everybody finish, end the server in order, and return its log and what was told."""
        accounts = [account for crowd in self._crowds for account in crowd.accounts()]
        settled(self.server)
        assert self.server.end(signal.SIGTERM) == 0
        assert "Traceback" not in self.said(), self.said()
        records = records_of(self.path)
        ended_once(records)
        return records, accounts

    def result(self, rounds: int, note: str = "", *more: Account) -> Result:
        """End it all and return what it came to."""
        records, accounts = self.end()
        return result(tally(records, [*accounts, *more]), rounds, note)


def clean(found: Tally) -> bool:
    """Tell whether nothing was lost or doubled, and something could have been."""
    return bool(found.acknowledged and not found.lost and not found.doubled)
