"""A client: one session that lasts, over connections that do not.

Theory of operation. The session (`cloudchat_core.client_session`) knows what is to be said and where the feed goes on;
`Links` keeps a connection open for it, on whatever transport works (`links.py`). Who executes a command waits for its
answer and nothing else, so being cancelled never cuts a frame in two, and the command goes on.

What a feed says is handed out by iteration. While nobody takes it and no answer is awaited, the client stops reading
(the server keeps a cursor for it); while an answer is awaited it reads on, so that who executes a command between two
steps of the iteration gets it.
"""

from __future__ import annotations

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
from cloudchat_core.errors import CloudchatError
from cloudchat_core.frames import Ack, Heartbeat, Refusal, Reply, Welcome
from cloudchat_transports.choice import AUTO, choose
from cloudchat_transports.links import (
    FIRST_CLIMB,
    NORMAL,
    ConnectionEndedError,
    Disconnected,
    Links,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from anyio.abc import TaskGroup

    from cloudchat_transports.client_transport import Transport

__all__ = [
    "AUTO",
    "Client",
    "CommandRefusedError",
    "CommandUncertainError",
    "ConnectionEndedError",
    "Disconnected",
    "Item",
    "NicknameLost",
]

BACKLOG: Final = 1_000
"""Frames that may wait to be taken before the client stops reading."""


class CommandRefusedError(CloudchatError):
    """The server declined a command: `refusal` says why. It left no trace, except where `code` is `internal`: then
    whether it happened is not known, and the same command (with the same id) may be executed again.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal, self.code = refusal, refusal.code


class CommandUncertainError(CloudchatError):
    """Whether the command happened cannot be known: see `cloudchat_core.client_session.Uncertain`."""


class NicknameLost(msgspec.Struct, frozen=True):
    """After a reconnect the nickname could not be had again; `Client.join` with another goes on from here."""

    refusal: Refusal


Item = Frame | Disconnected | NicknameLost | Uncertain
"""What an iteration over a client yields; of the frames all but `ack`, `error` and `heartbeat`."""


class _Bell:
    """Wakes all who wait for the next ring; who looks, finds nothing and waits, misses none."""

    def __init__(self) -> None:
        self._next = anyio.Event()

    def ring(self) -> None:
        self._next.set()
        self._next = anyio.Event()

    async def next(self) -> None:
        await self._next.wait()


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
        server: str | Transport | Sequence[Transport],
        *,
        transport: str = AUTO,
        nickname: str = "",
        token: str = "",
        after: str = "",
        topics: Sequence[str] = (),
        headers: Mapping[str, str] | None = None,
        patient: bool = False,
        climb: float = FIRST_CLIMB,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`server` is an URL, a transport, or several of which the first one that works is used.

        `transport` says which one to use to an URL: `ws`, `sse`, `poll`, or `auto`: the first of these that works, and
        a better one as soon as it does.
        `token` is the participation's secret (22 to 128 of `A-Za-z0-9_-`; made up where a nickname is given without; a
        client with a token and without a nickname executes nothing until `join`: `LocalProtocolError`),
        `after` the cursor to begin at (empty: with a snapshot), `topics` what is followed (empty: all). `headers` go
        with each connection. A `patient` client is entered at once, and keeps trying when the first connection fails.
        On a lesser transport than the best, a better one is tried after `climb` seconds, then ever less often.
        `new_id` makes unique command ids, `jitter` numbers from 0 to 1.
        """
        token = token or (secrets.token_urlsafe(32) if nickname else "")
        self._nickname, self._patient, self._new_id = nickname, patient, new_id
        self._session = ClientSession(new_id, token=token, cursor=after)
        self._names, transports = choose(server, transport, headers)
        self._links = Links(
            transports,
            self._session,
            topics,
            take=self._take,
            room=self._until_there_is_room,
            jitter=jitter,
            climb=climb,
        )
        self._tasks: TaskGroup | None = None
        self._welcomed = anyio.Event()
        self._end: CloudchatError | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._joining: list[_Waiting] = []
        self._items: deque[Item] = deque()
        self._news, self._room = _Bell(), _Bell()

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
        return self._links.connected

    @property
    def transport(self) -> str:
        """The transport in use, or used last: `ws`, `sse`, `poll`; the name of its class where it was handed in."""
        return self._names[self._links.level]

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
            await self._room.next()
        waiting = _Waiting()
        self._session.submit(command)
        self._waiting[command.id] = waiting
        return await self._answer(waiting)

    async def say(self, text: str, *, nickname: str | None = None) -> Ack:
        """Publish `text`, under another `nickname` than one's own where one is given: it must be free.

        Only who has joined can say something here (`not_joined`), since on a feed a `join` alone tells the token. To
        speak without being present, POST the command with the header `Cloudchat-Token`, as `cloudchat say` does.
        """
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
            await self._news.next()
        item = self._items.popleft()
        self._room.ring()
        return item

    # -- beginning and end

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        try:
            self._tasks.start_soon(self._run, self._tasks)
            while not (self._patient or self._welcomed.is_set() or self._end is not None):
                await self._news.next()
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
        tasks, self._tasks, self._links.parting = self._tasks, None, code
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
        self._news.ring()
        self._room.ring()

    async def _run(self, tasks: TaskGroup) -> None:
        self._finish(await self._links.run(tasks, patient=self._patient, tell=self._tell))

    async def _until_there_is_room(self) -> None:
        while len(self._items) >= BACKLOG and not (self._waiting or self._joining):
            await self._room.next()

    def _take(self, frame: Frame) -> None:
        outcomes = self._session.receive(frame)
        if isinstance(frame, Welcome):
            self._welcomed.set()
        if not isinstance(frame, (Ack, Refusal, Heartbeat)):
            self._tell(frame)
        for outcome in outcomes:
            self._settle(outcome)

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
                known.settle(CommandUncertainError("nobody remembers whether it happened"))
        self._room.ring()

    def _tell(self, item: Item) -> None:
        if (
            isinstance(item, Disconnected)
            and self._items
            and isinstance(self._items[-1], Disconnected)
        ):
            self._items.pop()  # of many attempts that failed, the last one says it all
        self._items.append(item)
        self._news.ring()

    async def _answer(self, waiting: _Waiting) -> Ack:
        if self._end is not None:
            waiting.settle(self._end)
        self._links.wake()
        self._room.ring()
        await waiting.done.wait()
        if isinstance(waiting.result, Refusal):
            raise CommandRefusedError(waiting.result)
        if isinstance(waiting.result, CloudchatError):
            raise waiting.result
        assert waiting.result is not None, "who waits is woken with an answer"  # noqa: S101
        return waiting.result
