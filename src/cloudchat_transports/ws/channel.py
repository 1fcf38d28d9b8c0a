"""One open WebSocket, as the server has it: what it reads, what it answers, and how it ends.

Theory of operation. Everything that leaves a connection leaves through its `Outlet`: answers by `write`, events by the
sweep (`fanout.py`). So the reader never waits for a slow peer, and pings are answered however much is queued.

Frames are parsed by wsproto's engine, not by trio-websocket, whose server half was tried first and whose public API is
not enough here: on a violation (1002) or bad UTF-8 (1007) it closes without any close frame; its size limit counts
characters instead of bytes, and leaves the connection open; after its own close frame it dies of a ping; its queue,
when full, keeps pings from being answered; and it holds a second task, a queue and an HTTP parser a connection.

One segment of TCP may hold thousands of frames, each of which costs about as much as a command. So the others are let
in after every `FAIR` frames; and frames that carry no command (pings, pongs, crumbs of a message), which no rate of
commands counts, have the same rate of their own.

How a connection ended is told by `ending`: closed with 1000 (`left`), with 1001 (`away`), or any other way (`lost`).
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

from cloudchat_core.codec import encode
from cloudchat_core.errors import RemoteProtocolError
from cloudchat_core.frames import Closing, Refusal
from cloudchat_core.session import POLICY_VIOLATION
from cloudchat_transports.feeds import comeback
from cloudchat_transports.ws.frames import PING, close_frame, text_frame

if TYPE_CHECKING:
    from wsproto.connection import Connection
    from wsproto.events import Event

    from cloudchat_core.frames import Reply
    from cloudchat_core.presence import Ending
    from cloudchat_core.rates import Rates
    from cloudchat_core.session import Session, Submission
    from cloudchat_engine.node import Node
    from cloudchat_transports.outlet import Outlet

UNSUPPORTED_DATA, MESSAGE_TOO_BIG, INTERNAL_ERROR, RESTART, TRY_AGAIN = 1003, 1009, 1011, 1012, 1013

SILENCE: Final = 0.6
"""Part of a heartbeat's time after which a silent peer is pinged; when two go unanswered, it is lost within two."""

FAIR: Final = 32
"""Frames taken from a connection until the others have their turn: about 1 ms."""

CRUMB: Final = 128
"""Bytes below which a piece of a message is taken for one that is meant to keep us busy."""

_ENDINGS: Final[dict[int, Ending]] = {1000: "left", 1001: "away"}

_log = logging.getLogger(__name__)


class Channel:
    """One open WebSocket: its protocol state, and how it ended."""

    __slots__ = (
        "_engine",
        "_heard",
        "_node",
        "_outlet",
        "_parts",
        "_pings",
        "_rates",
        "_session",
        "ending",
    )

    def __init__(
        self, node: Node, outlet: Outlet, session: Session, engine: Connection, rates: Rates
    ) -> None:
        self._node, self._outlet, self._session, self._engine = node, outlet, session, engine
        self._rates = rates
        self._parts = bytearray()
        self._pings = 0
        self._heard = trio.current_time()
        self.ending: Ending = "lost"
        outlet.last_words = close_frame(TRY_AGAIN, "too much was left unread")

    # ------------------------------------------------------------------ what others ask of it

    def close(self, code: int) -> None:
        """End it from our side; the task that reads does the rest."""
        self._outlet.finish(close_frame(code))

    def restart(self) -> None:
        """Say that the server goes away and when to come back; then close."""
        self._outlet.write(text_frame(encode(Closing(comeback()))))
        self._outlet.finish(close_frame(RESTART, "the server restarts"))

    def look(self, now: float, heartbeat: float) -> None:
        """Ping where nothing was heard for long; a peer that answered neither of two pings is lost."""
        # What a stalled reader takes is a sign of life, too: it reads our ping only after all that lies before it.
        alive = max(self._heard, self._outlet.took_at)
        if now - alive < heartbeat * SILENCE * (self._pings + 1):
            return
        if self._pings == 2:
            self._outlet.abort()
        else:
            self._pings += 1
            self._outlet.write(PING)

    # ------------------------------------------------------------------ reading

    async def read(self) -> None:
        """Take what the peer sends until it closes, breaks the protocol, or is lost."""
        try:
            while data := await self._outlet.receive_some():
                self._heard, self._pings = trio.current_time(), 0
                self._engine.receive_data(data)
                for count, event in enumerate(self._engine.events(), 1):
                    if not self._take(event):
                        return
                    if count % FAIR == 0:
                        await trio.lowlevel.checkpoint()
        except RemoteProtocolError as error:
            self._outlet.finish(close_frame(error.close_code, str(error)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:  # noqa: BLE001 - a bug costs one connection, not the server
            _log.exception("the WebSocket of %s ended", self._outlet.peer)
            self._outlet.finish(close_frame(INTERNAL_ERROR))

    def _take(self, event: Event) -> bool:
        """Act on one event; False: the peer has closed."""
        match event:
            case TextMessage():
                self._take_text(event)
            case Pong():
                self._count()
            case Ping():
                self._count()
                self._outlet.write(self._engine.send(event.response()))
            case BytesMessage():
                raise RemoteProtocolError("messages are text", UNSUPPORTED_DATA)
            case CloseConnection() if self._engine.state is ConnectionState.REMOTE_CLOSING:
                self.ending = _ENDINGS.get(event.code, "lost")
                self._outlet.finish(bytes(self._engine.send(event.response())))
                return False
            case CloseConnection():  # what wsproto makes of a violation, with the code that it deserves
                raise RemoteProtocolError(event.reason or "", event.code)
        return True

    def _take_text(self, event: TextMessage) -> None:
        part = event.data.encode()
        if len(self._parts) + len(part) > self._node.limits.frame:
            raise RemoteProtocolError(
                f"a message is at most {self._node.limits.frame} bytes", MESSAGE_TOO_BIG
            )
        if not event.message_finished:
            if event.frame_finished and len(part) < CRUMB:
                self._count()
            self._parts += part
            return
        message = bytes(self._parts) + part if self._parts else part
        self._parts.clear()
        taken = self._session.receive(message, self._node.now())
        if isinstance(taken, Refusal):
            self._outlet.write(text_frame(encode(taken)))
        else:
            self._node.submit(taken.command, taken.caller, partial(self._answer, taken))

    def _answer(self, submission: Submission, reply: Reply) -> None:
        self._session.answered(submission, reply)
        self._outlet.write(text_frame(encode(reply)))

    def _count(self) -> None:
        """Count a frame that carries no command; a flood of them ends the connection."""
        if self._rates.take(f"frames of {self._session.feed}", self._node.now()):
            raise RemoteProtocolError("too many frames without a command", POLICY_VIOLATION)
