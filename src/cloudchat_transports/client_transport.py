"""What a client needs of a transport, and how a connection that cannot be had is told.

A `Transport` opens connections; a `Connection` carries frames both ways and decides nothing. What gets lost on the way
is the session's matter: it resumes from its cursor and sends again what is unanswered.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Protocol

from cloudchat_core.errors import CloudchatError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

LOST = 1006
"""The close code of a connection that ended without one (RFC 6455 §7.1.5)."""


class UnreachableError(CloudchatError):
    """Nobody answers where the server should be; the text names the address. It may be tried again."""


class RejectedError(CloudchatError):
    """The server answered the request for a feed with an HTTP error; `status` is its code.

    `retry_after` (seconds) is when to try again, None where that is not said.
    """

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status, self.retry_after = status, retry_after

    @property
    def final(self) -> bool:
        """Whether the same request will be refused again: all of 4xx but 408 (timeout), 425 (early), 429 (rate)."""
        return 400 <= self.status < 500 and self.status not in {408, 425, 429}


def reason(error: BaseException) -> str:
    """Return the operating system's word for what is at the bottom of `error`, or the text of `error` itself."""
    found, beneath = str(error) or type(error).__name__, [error]
    while beneath:
        cause = beneath.pop()
        if isinstance(cause, (socket.gaierror, ssl.SSLError)):
            found = cause.strerror or found
        elif isinstance(cause, OSError) and cause.errno:
            found = os.strerror(cause.errno)
        beneath += [each for each in (cause.__cause__, cause.__context__) if each is not None][:1]
        if isinstance(cause, BaseExceptionGroup):
            beneath += cause.exceptions[:1]
    return found


class Connection(Protocol):
    """One feed that is open, and the way up beside it. One task receives, one task sends."""

    @property
    def close_code(self) -> int:
        """Why it ended, as a WebSocket close code; meaningful once `receive` has returned None."""
        ...

    async def receive(self) -> str | None:
        """Return the next frame (JSON); None when the connection has ended."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send one command (JSON). Nothing is raised where the connection is gone: `receive` tells."""
        ...

    async def close(self, code: int) -> None:
        """End it in order, and say why; a context that is left without this just drops the connection."""
        ...


class Transport(Protocol):
    """Opens connections to one server."""

    def connect(self, after: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Connection]:
        """Open a feed after the cursor `after` (empty: with a snapshot) of `topics` (empty: all).

        Entering raises `UnreachableError` or `RejectedError`.
        """
        ...
