"""The connections of one client: one at a time, over the best transport that works here and now.

Theory of operation. A *link* is one connection that is served: a task that receives, a task that sends. Transports are
tried in their order, the best first; one counts as had only when its `welcome` is in, so a proxy that lets a connection
through and nothing on it is passed over. A link on a lesser transport looks from time to time whether a better one can
be had by now, and if so it *moves*: the new connection is opened first, at the session's cursor; when it is welcome it
becomes the link; the old one is kept, unread, until the new one has joined, and then dropped without saying "closed".
So nobody sees the participant leave, and what comes on both feeds is told once (`ClientSession.is_stale`).

When a link ends by itself, another is opened, after a wait that grows with every failure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import anyio
import msgspec

from cloudchat_core.client_session import ClientSession, Frame, decode_frame, may_return
from cloudchat_core.errors import CloudchatError, RemoteProtocolError
from cloudchat_core.frames import Welcome
from cloudchat_transports.client_transport import LOST, RejectedError, Transport, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup, TaskStatus

    from cloudchat_transports.client_transport import Connection

FIRST_WAIT: Final = 0.25
"""Seconds before the first attempt to come back, at most; each further one doubles it."""
LONGEST_WAIT: Final = 4.0
"""Seconds: less than the usual grace of 5, so that who waited for a server to restart is back before it is over."""
RETRY: Final = 1.0
"""Seconds before a command that the server could not do for the moment (`unavailable`) is sent again."""
SILENCE: Final = 30.0
"""Seconds without a frame after which a connection is lost; two heartbeats, once the server has said what one is."""
GREETING: Final = 5.0
"""Seconds in which a server has to say `welcome`."""
NEXT: Final = 4.0
"""Seconds after which the next transport is tried, where there is one: a proxy may just never answer."""
PARTING: Final = 2.0
"""Seconds that the end may take."""
FIRST_CLIMB: Final = 15.0
"""Seconds on a lesser transport before a better one is tried again; each further attempt doubles it."""
LONGEST_CLIMB: Final = 300.0
NORMAL: Final = 1000
GOING_AWAY: Final = 1001

_ENDS: Final = {LOST: "the connection was lost", 1012: "the server restarts"}


class ConnectionEndedError(CloudchatError):
    """The server has ended this client's session for good; `close_code` is 4500 to 4999 (4501: kicked)."""

    def __init__(self, close_code: int) -> None:
        super().__init__(f"the server has ended the session for good (close code {close_code})")
        self.close_code = close_code


class Disconnected(msgspec.Struct, frozen=True):
    """The connection is gone, for the reason `why`; it is tried again in `retry_in` seconds. `Welcome` ends this."""

    why: str
    retry_in: float


class _Link:
    """One connection that is served; `level` is the place of its transport."""

    __slots__ = ("close_code", "level", "serving", "why")

    def __init__(self, level: int) -> None:
        self.level, self.serving = level, anyio.CancelScope()
        self.why, self.close_code = "", LOST


class Links:
    """Keeps one connection open for a session, over one of `transports` (the best first)."""

    def __init__(
        self,
        transports: Sequence[Transport],
        session: ClientSession,
        topics: Sequence[str],
        *,
        take: Callable[[Frame], None],
        room: Callable[[], Awaitable[None]],
        jitter: Callable[[], float],
        climb: float = FIRST_CLIMB,
    ) -> None:
        """`take` gets every frame, `room` returns when another may come, `jitter` makes numbers from 0 to 1.

        `climb` is how long (seconds) a lesser transport is kept before a better one is tried.
        """
        self._transports, self._session, self._topics = tuple(transports), session, tuple(topics)
        self._take, self._room, self._jitter, self._first_climb = take, room, jitter, climb
        self._link: _Link | None = None
        self._ended = _Link(0)
        self._level = 0
        self._welcomed = False
        self._wake = anyio.Event()
        self._down = anyio.Event()
        self._joined = anyio.Event()
        self.parting = NORMAL
        """The close code that is said when the client itself ends."""

    @property
    def connected(self) -> bool:
        """Whether a connection is being served."""
        return self._link is not None

    @property
    def level(self) -> int:
        """The place of the transport that is in use, or was last, among those given."""
        return self._level

    def wake(self) -> None:
        """The session may have something to send."""
        self._wake.set()

    async def run(
        self, tasks: TaskGroup, *, patient: bool, tell: Callable[[Disconnected], None]
    ) -> CloudchatError:
        """Keep a connection open; returns what has ended that for good.

        Unless `patient`, a first connection that cannot be had is such an end.
        """
        attempt = 0
        while True:
            # Who takes nothing that is there already needs no new connection to bring more.
            await self._room()
            asked = None
            self._down = anyio.Event()
            try:
                await self._open(tasks)
            except ConnectionEndedError as error:
                return error
            except (UnreachableError, RejectedError) as error:
                final = isinstance(error, RejectedError) and error.final
                if final or not (patient or self._welcomed):
                    return error
                why, asked = str(error), getattr(error, "retry_after", None)
            else:
                began = anyio.current_time()
                await self._down.wait()
                # A connection that held for a while starts the count afresh.
                attempt = 0 if anyio.current_time() - began > RETRY else attempt
                link = self._ended
                if not may_return(link.close_code):
                    return ConnectionEndedError(link.close_code)
                why, asked = link.why, self._session.retry_after
            ceiling = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(attempt, 10))
            attempt += 1
            # Who asks for no wait at all does not mean a loop.
            wait = asked or ceiling * (1 + self._jitter()) / 2
            tell(Disconnected(why, wait))
            await anyio.sleep(wait)

    # -- which transport

    async def _open(self, tasks: TaskGroup) -> None:
        """Open a link on the transport that worked last, else on the best that does; raises why there is none."""
        levels = range(len(self._transports))
        failures: list[UnreachableError | RejectedError] = []
        order = (self._level, *(level for level in levels if level != self._level))
        for level in order:
            # The last one is waited for as long as it takes to say why it fails.
            with anyio.move_on_after(math.inf if level == order[-1] else NEXT):
                try:
                    await tasks.start(self._hold, level, tasks)
                except (UnreachableError, RejectedError) as error:
                    failures.append(error)
                else:
                    return
        # What may pass is worth another attempt, whatever the other transports were told.
        passing = [e for e in failures if not (isinstance(e, RejectedError) and e.final)]
        raise (passing or failures)[0]

    async def _climb(self, link: _Link, tasks: TaskGroup) -> None:
        """From time to time try a better transport than that of `link`; a success makes `link` the old one."""
        wait = self._first_climb
        while True:
            await anyio.sleep(wait * (1 + self._jitter()) / 2)
            wait = min(wait * 2, LONGEST_CLIMB)
            if not self._session.cursor and self._link is link:
                # The first snapshot is still on its way. Another feed would bring one of its own, and what happened
                # between the two would be told by neither.
                wait = self._first_climb
                continue
            for level in range(link.level):
                if self._link is not link:
                    return
                try:
                    await tasks.start(self._hold, level, tasks, link)
                except (UnreachableError, RejectedError, ConnectionEndedError):
                    continue
                return

    # -- one connection

    async def _hold(
        self,
        level: int,
        tasks: TaskGroup,
        old: _Link | None = None,
        *,
        task_status: TaskStatus[None],
    ) -> None:
        """Open a connection, make it the link (in the place of `old`, where that still is it), and serve it."""
        link, begun, failure = _Link(level), False, None
        try:
            async with self._transports[level].connect(
                self._session.cursor, self._topics
            ) as connection:
                try:
                    greeting = await _greeting(connection)
                    if old is not None and self._link is not old:
                        # It was lost meanwhile, and `run` sees to that: two at once would undo each other.
                        raise UnreachableError("the link that was to be replaced is gone")
                except (UnreachableError, ConnectionEndedError) as error:
                    # Not raised through the connection, whose task group would make a group of it.
                    failure = error
                else:
                    begun = True
                    self._replace(link)
                    if level:
                        tasks.start_soon(self._climb, link, tasks)
                    task_status.started()
                    await self._serve(link, connection, greeting)
        except (UnreachableError, RejectedError) as error:
            if not begun:
                raise
            link.why = str(error)
        if failure is not None:
            raise failure
        if self._link is link:
            self._link, self._ended = None, link
            self._session.closed()
            self._down.set()

    def _replace(self, link: _Link) -> None:
        old, self._link = self._link, link
        self._level, self._joined = link.level, anyio.Event()
        if old is not None:
            self._session.closed()
            old.serving.cancel()
        self._session.opened()

    async def _serve(self, link: _Link, connection: Connection, greeting: Welcome) -> None:
        try:
            with link.serving:
                self._hand_on(greeting)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send, link, connection)
                    link.why = await self._receive(connection)
                    link.close_code = connection.close_code
                    tasks.cancel_scope.cancel()
            if link.serving.cancelled_caught:
                # Another link took over: not before it has joined may the server see this one go.
                joined = self._joined
                with anyio.move_on_after(PARTING):
                    await joined.wait()
                with anyio.move_on_after(PARTING):
                    await connection.close(GOING_AWAY)
        except BaseException:
            with anyio.CancelScope(shield=True), anyio.move_on_after(PARTING):
                # Also where another link took over: whichever ends last is how the participation ends.
                await connection.close(self.parting)
            raise

    async def _send(self, link: _Link, connection: Connection) -> None:
        due = math.inf
        # Whoever is woken just when another link takes over is not cancelled before it asks what to send.
        while self._link is link:
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
        """Hand on what comes, and return why nothing more does."""
        while True:
            await self._room()
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
                self._hand_on(frame)

    def _hand_on(self, frame: Frame) -> None:
        if isinstance(frame, Welcome):
            self._welcomed = True
        if not self._session.is_stale(frame):
            self._take(frame)
        if self._session.joined or not self._session.joins:
            self._joined.set()
        self._wake.set()


async def _greeting(connection: Connection) -> Welcome:
    """Return the first frame of a feed; raises `UnreachableError` where it does not come, or is another one.

    Raises `ConnectionEndedError` where the server says "do not come back" instead.
    """
    data = None
    with anyio.move_on_after(GREETING) as waiting:
        data = await connection.receive()
    if waiting.cancelled_caught:
        raise UnreachableError(
            "the server does not say welcome: something in between holds it back"
        )
    if data is None:
        if not may_return(connection.close_code):
            raise ConnectionEndedError(connection.close_code)
        raise UnreachableError(
            _ENDS.get(connection.close_code, f"the server ended it ({connection.close_code})")
        )
    try:
        frame = decode_frame(data)
    except RemoteProtocolError as error:
        raise UnreachableError(str(error)) from None
    if not isinstance(frame, Welcome):
        raise UnreachableError("what answers there is no cloudchat server")
    return frame
