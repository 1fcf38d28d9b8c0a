"""One open WebSocket, as the server has it: what it reads, what it answers, and how it ends.

Theory of operation. Everything that leaves a connection leaves through its `Outlet`: answers by `write`, events by the
sweep (`fanout.py`). So the reader never waits for a slow peer, and pings are answered however much is queued.

Frames are parsed by `reader.py`, not by trio-websocket, whose server half was tried first and whose public API is
not enough here: on a violation (1002) or bad UTF-8 (1007) it closes without any close frame; its size limit counts
characters instead of bytes, and leaves the connection open; after its own close frame it dies of a ping; its queue,
when full, keeps pings from being answered; and it holds a second task, a queue and an HTTP parser a connection.

Answers of one batch are joined: `_answer` only collects them, and `_flush`, which the node calls when all were given,
writes them at once.

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

from cloudchat_core.codec import encode
from cloudchat_core.errors import RemoteProtocolError
from cloudchat_core.frames import Closing, Refusal
from cloudchat_core.session import POLICY_VIOLATION
from cloudchat_transports.feeds import comeback
from cloudchat_transports.ws.frames import PING as EMPTY_PING
from cloudchat_transports.ws.frames import close_frame, echo_frame, pong_frame, text_frame
from cloudchat_transports.ws.reader import CLOSE, PING, PONG, TEXT, FrameReader, close_code

if TYPE_CHECKING:
    from cloudchat_core.frames import Reply
    from cloudchat_core.presence import Ending
    from cloudchat_core.rates import Rates
    from cloudchat_core.session import Session, Submission
    from cloudchat_engine.node import Node
    from cloudchat_transports.outlet import Outlet

INTERNAL_ERROR, RESTART, TRY_AGAIN = 1011, 1012, 1013

SILENCE: Final = 0.6
"""Part of a heartbeat's time after which a silent peer is pinged; when two go unanswered, it is lost within two."""

FAIR: Final = 128
"""Frames taken from a connection until the others have their turn: about 1 ms."""

CRUMB: Final = 128
"""Bytes below which a piece of a message is taken for one that is meant to keep us busy."""

_ENDINGS: Final[dict[int, Ending]] = {1000: "left", 1001: "away"}

_TOO_SLOW: Final = close_frame(TRY_AGAIN, "too much was left unread")

_log = logging.getLogger(__name__)


class Channel:
    """One open WebSocket: its protocol state, and how it ended."""

    __slots__ = (
        "_answers",
        "_heard",
        "_leaving",
        "_node",
        "_outlet",
        "_pings",
        "_rates",
        "_reader",
        "_session",
        "ending",
    )

    def __init__(self, node: Node, outlet: Outlet, session: Session, rates: Rates) -> None:
        self._node, self._outlet, self._session, self._rates = node, outlet, session, rates
        self._reader = FrameReader(node.limits.frame)
        self._answers: list[bytes] | None = None
        self._leaving = False
        self._pings = 0
        self._heard = trio.current_time()
        self.ending: Ending = "lost"
        outlet.last_words = _TOO_SLOW

    # ------------------------------------------------------------------ what others ask of it

    @property
    def feed(self) -> str:
        """The name of its feed."""
        return self._session.feed

    def close(self, code: int) -> None:
        """End it from our side; the task that reads does the rest."""
        self._outlet.finish(close_frame(code))

    def restart(self) -> None:
        """Say that the server goes away and when to come back; take no more, and close behind the answers."""
        self._outlet.write(text_frame(encode(Closing(comeback()))))
        self._leaving = True
        self._part()

    def _part(self) -> None:
        if self._leaving and not self._session.unanswered:
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
            self._outlet.write(EMPTY_PING)

    # ------------------------------------------------------------------ reading

    async def read(self) -> None:
        """Take what the peer sends until it closes, breaks the protocol, or is lost."""
        try:
            while data := await self._outlet.receive_some():
                self._heard, self._pings = trio.current_time(), 0
                for count, (kind, payload) in enumerate(self._reader.read(data), 1):
                    if kind == TEXT:
                        self._take_message(payload)
                    elif not self._take_other(kind, payload):
                        return
                    if count % FAIR == 0:
                        await trio.lowlevel.checkpoint()
                data = payload = b""  # not to be held while nothing comes
        except RemoteProtocolError as error:
            self._outlet.finish(close_frame(error.close_code, str(error)))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception:  # noqa: BLE001 - a bug costs one connection, not the server
            _log.exception("the WebSocket of %s ended", self._outlet.peer)
            self._outlet.finish(close_frame(INTERNAL_ERROR))

    def _take_message(self, message: bytes) -> None:
        if self._leaving:
            return  # it is unanswered, and sent again after the restart
        taken = self._session.receive(message, self._node.now())
        if isinstance(taken, Refusal):
            self._outlet.write(text_frame(encode(taken)))
        else:
            self._node.submit(
                taken.command, taken.caller, partial(self._answer, taken), self._flush
            )

    def _take_other(self, kind: int, payload: bytes) -> bool:
        """Act on what is no whole message; False: the peer has closed."""
        if kind == CLOSE:
            self.ending = _ENDINGS.get(close_code(payload), "lost")
            self._outlet.finish(echo_frame(payload))
            return False
        if kind == PING:
            self._count()
            self._outlet.write(pong_frame(payload))
        elif kind == PONG or len(payload) < CRUMB:
            self._count()
        return True

    def _answer(self, submission: Submission, reply: Reply) -> None:
        self._session.answered(submission, reply)
        frame = text_frame(encode(reply))
        if self._answers is None:
            self._answers = [frame]
        else:
            self._answers.append(frame)

    def _flush(self) -> None:
        answers, self._answers = self._answers, None
        if answers is not None:
            self._outlet.write(b"".join(answers))
            self._part()

    def _count(self) -> None:
        """Count a frame that carries no command; a flood of them ends the connection."""
        if self._rates.take(f"frames of {self._session.feed}", self._node.now()):
            raise RemoteProtocolError("too many frames without a command", POLICY_VIOLATION)
