"""A client: one session that lasts, over connections that do not.

Theory of operation. The session (`cloudchat_core.client_session`) knows what is to be said and where the feed goes on,
a transport opens connections, and the `Client` keeps one open. For each connection there is one task that receives and
one that sends; the second wakes whenever the session may have something new to say. Who executes a command waits for
its answer and nothing else, so being cancelled never cuts a frame in two, and the command goes on.

What a feed says is handed out by iteration. While nobody takes it and no answer is awaited, the client stops reading
(the server keeps a cursor for it); while an answer is awaited it reads on, so that who executes a command between two
steps of the iteration gets it.
"""

from __future__ import annotations

import math
import random
import secrets
import uuid
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Self

import anyio
import msgspec

from cloudchat_core.client_session import (
    Answered,
    ClientSession,
    Frame,
    Outcome,
    Uncertain,
    decode_frame,
    may_return,
)
from cloudchat_core.commands import (
    ClientCommand,
    Create,
    Join,
    Ping,
    Redact,
    Remove,
    Say,
    Start,
    Stop,
)
from cloudchat_core.errors import CloudchatError, RemoteProtocolError
from cloudchat_core.frames import Ack, Heartbeat, Refusal, Reply, Welcome
from cloudchat_transports.client_transport import LOST, RejectedError, Transport, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from cloudchat_transports.client_transport import Connection

FIRST_WAIT: Final = 0.25
"""Seconds before the first attempt to come back, at most; each further one doubles it."""
LONGEST_WAIT: Final = 4.0
"""Seconds: less than the usual grace of 5, so that who waited for a server to restart is back before it is over."""
RETRY: Final = 1.0
"""Seconds before a command that the server could not do for the moment (`unavailable`) is sent again."""
SILENCE: Final = 30.0
"""Seconds without a frame after which a connection is lost; two heartbeats, once the server has said what one is."""
PARTING: Final = 2.0
"""Seconds that the end may take."""
BACKLOG: Final = 1_000
"""Frames that may wait to be taken before the client stops reading."""
NORMAL: Final = 1000

_ENDS: Final = {LOST: "the connection was lost", 1012: "the server restarts"}


class CommandRefusedError(CloudchatError):
    """The server declined a command: `refusal` says why. It left no trace, except where `code` is `internal`: then
    whether it happened is not known, and the same command (with the same id) may be executed again.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal, self.code = refusal, refusal.code


class CommandUncertainError(CloudchatError):
    """Whether the command happened cannot be known: the server has forgotten the token that it was sent with."""


class ConnectionEndedError(CloudchatError):
    """The server has ended this client's session for good; `close_code` is 4500 to 4999 (4501: kicked)."""

    def __init__(self, close_code: int) -> None:
        super().__init__(f"the server has ended the session for good (close code {close_code})")
        self.close_code = close_code


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is gone, for the reason `why`; it is tried again in `retry_in` seconds. `Welcome` ends this."""

    why: str
    retry_in: float


class NicknameLost(msgspec.Struct, frozen=True):
    """After a reconnect the nickname could not be had again; `Client.join` with another goes on from here."""

    refusal: Refusal


Item = Frame | Disconnected | NicknameLost | Uncertain
"""What an iteration over a client yields; of the frames all but `ack`, `error` and `heartbeat`."""


class _Waiting:
    """Who waits for an answer."""

    def __init__(self) -> None:
        self.done = anyio.Event()
        self.result: Reply | CloudchatError | None = None

    def settle(self, result: Reply | CloudchatError) -> None:
        self.result = result
        self.done.set()


class Client:
    """Takes part in a workspace: `async with Client(url, nickname="Ann") as client: ...`.

    Entering connects (`UnreachableError`, `RejectedError`) and joins (`CommandRefusedError`); leaving gives the
    nickname back. In between it comes back from every loss by itself. Iterate over it to get what happens: a client
    that is not listened to stops reading, and in the end is not present any more. Without a nickname (or a `join`) it
    only follows the feed and operates instances.
    """

    def __init__(
        self,
        server: str | Transport,
        *,
        nickname: str = "",
        token: str = "",
        after: str = "",
        topics: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`server` is an URL or a transport.

        `token` is the participation's secret (22 to 128 of `A-Za-z0-9_-`; made up where a nickname is given without),
        `after` the cursor to begin at (empty: with a snapshot), `topics` what is followed (empty: all). `headers` go
        with each connection. A `patient` client is entered at once, and keeps trying when the first connection fails.
        `new_id` makes unique command ids, `jitter` numbers from 0 to 1.
        """
        if isinstance(server, str):
            from cloudchat_transports.ws.client import WebSocketTransport  # noqa: PLC0415

            server = WebSocketTransport(server, headers)
        token = token or (secrets.token_urlsafe(32) if nickname else "")
        self._transport, self._topics, self._nickname = server, tuple(topics), nickname
        self._patient, self._new_id, self._jitter = patient, new_id, jitter
        self._session = ClientSession(new_id, token=token, cursor=after)
        self._tasks: TaskGroup | None = None
        self._connection: Connection | None = None
        self._welcomed = anyio.Event()
        self._end: CloudchatError | None = None
        self._parting = NORMAL
        self._waiting: dict[str, _Waiting] = {}
        self._joining: list[_Waiting] = []
        self._items: deque[Item] = deque()
        self._news, self._room, self._wake = anyio.Event(), anyio.Event(), anyio.Event()

    # -- what a client is and does

    @property
    def nickname(self) -> str:
        """The nickname held, as the server writes it; empty while there is none."""
        return self._session.nickname

    @property
    def cursor(self) -> str:
        """Where the feed goes on; handed to another `Client` as `after`, nothing is missed or doubled."""
        return self._session.cursor

    @property
    def connected(self) -> bool:
        """Whether a feed is open just now."""
        return self._connection is not None and self._welcomed.is_set()

    async def join(self, nickname: str) -> Ack:
        """Take part as `nickname`, or change to it; raises `CommandRefusedError` (with suggestions)."""
        waiting = _Waiting()
        self._session.join(nickname)
        self._joining.append(waiting)
        return await self._answer(waiting)

    async def execute(self, command: ClientCommand) -> Ack:
        """Have `command` done exactly once, however often the connection breaks, and return the answer.

        Raises `CommandRefusedError`, `CommandUncertainError`, or what ended the session. Being cancelled does not undo
        the command.
        """
        while self._session.full and self._end is None:
            self._room = anyio.Event()
            await self._room.wait()
        waiting = _Waiting()
        self._session.submit(command)
        self._waiting[command.id] = waiting
        return await self._answer(waiting)

    async def say(self, text: str, *, nickname: str | None = None) -> Ack:
        """Publish `text`; `nickname` is for clients that have not joined."""
        return await self.execute(Say(self._new_id(), text, nickname))

    async def redact(self, message: str) -> Ack:
        """Take back the text of one's own message, named by its cursor."""
        return await self.execute(Redact(self._new_id(), message))

    async def create(self, name: str | None = None, spec: dict[str, Any] | None = None) -> Ack:
        """Create an instance; the answer names it and the operation, whose end comes over the feed."""
        return await self.execute(Create(self._new_id(), name, spec))

    async def start(self, instance: str) -> Ack:
        """Start a stopped instance."""
        return await self.execute(Start(self._new_id(), instance))

    async def stop(self, instance: str) -> Ack:
        """Stop a running instance."""
        return await self.execute(Stop(self._new_id(), instance))

    async def remove(self, instance: str) -> Ack:
        """Remove an instance."""
        return await self.execute(Remove(self._new_id(), instance))

    async def ping(self) -> Ack:
        """Ask for the log's head."""
        return await self.execute(Ping(self._new_id()))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        while not self._items:
            if self._end is not None:
                raise self._end
            self._news = anyio.Event()
            await self._news.wait()
        item = self._items.popleft()
        self._room.set()
        return item

    # -- beginning and end

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            self._tasks.start_soon(self._run)
            while not (self._patient or self._welcomed.is_set() or self._end is not None):
                self._news = anyio.Event()
                await self._news.wait()
            if self._end is not None:
                raise self._end
            if self._nickname:
                await self.join(self._nickname)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self, code: int = NORMAL) -> None:
        """End the session; with `code` 1000 the nickname is free at once."""
        tasks, self._tasks, self._parting = self._tasks, None, code
        if tasks is None:
            return
        self._finish(CloudchatError("the client is closed"))
        tasks.cancel_scope.cancel()
        # What the body of an `async with` raised goes on as it is: told to the group, it would come out in one.
        await tasks.__aexit__(None, None, None)

    def _finish(self, error: CloudchatError) -> None:
        """Nothing more will come: tell everybody who waits."""
        self._end = self._end or error
        waiting = [*self._waiting.values(), *self._joining]
        self._waiting.clear()
        self._joining.clear()
        for each in waiting:
            each.settle(self._end)
        self._news.set()
        self._room.set()

    # -- connections

    async def _run(self) -> None:
        attempt = 0
        while self._end is None:
            began = anyio.current_time()
            try:
                async with self._transport.connect(
                    self._session.cursor, self._topics
                ) as connection:
                    why = await self._serve(connection)
            except (UnreachableError, RejectedError) as error:
                first = not (self._patient or self._welcomed.is_set())
                if first or (isinstance(error, RejectedError) and error.final):
                    self._finish(error)
                    return
                why, asked = str(error), getattr(error, "retry_after", None)
            else:
                asked = self._session.retry_after
                if not may_return(connection.close_code):
                    self._finish(ConnectionEndedError(connection.close_code))
                    return
            # A connection that held for a while starts the count afresh.
            attempt = 0 if anyio.current_time() - began > RETRY else attempt
            ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 10))
            attempt += 1
            wait = asked if asked is not None else ceiling * (1 + self._jitter()) / 2
            self._tell(Disconnected(why, wait))
            await anyio.sleep(wait)

    async def _serve(self, connection: Connection) -> str:
        """Serve one connection to its end, and say why it ended."""
        self._session.opened()
        self._connection = connection
        why = ""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._send, connection)
                why = await self._receive(connection)
                tasks.cancel_scope.cancel()
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(PARTING):
                await connection.close(self._parting)
            raise
        finally:
            self._connection = None
            self._session.closed()
        return why

    async def _send(self, connection: Connection) -> None:
        due = math.inf
        while True:
            self._wake = anyio.Event()
            for frame in self._session.transmit():
                await connection.send(frame)
            due = min(due, anyio.current_time() + RETRY) if self._session.postponed else math.inf
            with anyio.CancelScope(deadline=due):
                await self._wake.wait()
            if anyio.current_time() >= due:
                self._session.retry()
                due = math.inf

    async def _receive(self, connection: Connection) -> str:
        while True:
            await self._until_there_is_room()
            data = None
            with anyio.move_on_after(2 * self._session.heartbeat or SILENCE) as silence:
                data = await connection.receive()
            if silence.cancelled_caught:
                return "the server is silent"
            if data is None:
                code = connection.close_code
                return _ENDS.get(code, f"the connection ended (close code {code})")
            try:
                frame = decode_frame(data)
            except RemoteProtocolError as error:
                return str(error)
            if frame is not None:
                self._take(frame)

    async def _until_there_is_room(self) -> None:
        while len(self._items) >= BACKLOG and not (self._waiting or self._joining):
            self._room = anyio.Event()
            await self._room.wait()

    def _take(self, frame: Frame) -> None:
        outcomes = self._session.receive(frame)
        if isinstance(frame, Welcome):
            self._welcomed.set()
        if not isinstance(frame, (Ack, Refusal, Heartbeat)):
            self._tell(frame)
        for outcome in outcomes:
            self._settle(outcome)
        self._wake.set()

    def _settle(self, outcome: Outcome) -> None:
        if isinstance(outcome, Answered) and isinstance(outcome.command, Join):
            if not self._joining and isinstance(outcome.reply, Refusal):
                self._tell(NicknameLost(outcome.reply))
            for waiting in self._joining:
                waiting.settle(outcome.reply)
            self._joining.clear()
            return
        known = self._waiting.pop(outcome.command.id, None)
        if isinstance(outcome, Answered):
            if known is not None:
                known.settle(outcome.reply)
        else:
            self._tell(outcome)
            if known is not None:
                known.settle(CommandUncertainError("the server has forgotten this client's token"))
        self._room.set()

    def _tell(self, item: Item) -> None:
        self._items.append(item)
        self._news.set()

    async def _answer(self, waiting: _Waiting) -> Ack:
        if self._end is not None:
            waiting.settle(self._end)
        self._wake.set()
        self._room.set()
        await waiting.done.wait()
        if isinstance(waiting.result, Refusal):
            raise CommandRefusedError(waiting.result)
        if isinstance(waiting.result, CloudchatError):
            raise waiting.result
        assert waiting.result is not None, "who waits is woken with an answer"  # noqa: S101
        return waiting.result
