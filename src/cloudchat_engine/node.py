"""The node: the one loop that decides, appends, publishes and answers.

Commands wait in one queue. The loop takes all that wait, has each decided on top of the one before and all records
appended at once (`replica.py`), and only when the log has them are they published to the feed and everybody answered.
What arrives meanwhile is the next batch. So nobody is told what the log does not have. Where a next batch waits
already, it is handed to the log first, and the last one is published and answered while the disk works.

Presence stands beside it: who is connected is not in the log. When a participation has been without a feed for too
long, the node issues its `left` as a command like any other.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup, TaskStatus

from cloudchat_core.clock import SECOND, Clock
from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import (
    NOBODY,
    Caller,
    ClientCommand,
    Depart,
    Open,
    ServerCommand,
    Tick,
)
from cloudchat_core.decide import Decider, next_deadline
from cloudchat_core.events import InstanceEvent, Record
from cloudchat_core.feed import Feed
from cloudchat_core.frames import Refusal, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.presence import JOIN_HOLD, Ending, Presence
from cloudchat_core.session import Beginning, begin
from cloudchat_core.snapshot import snapshot_frames
from cloudchat_core.workspace import Workspace
from cloudchat_engine.attendance import Attendance
from cloudchat_engine.batch import Answer, Flush, Waiting, refuse_all
from cloudchat_engine.operations import Operations
from cloudchat_engine.ports import Log, LogError, Provider, Retention, Timer
from cloudchat_engine.replica import Replica
from cloudchat_engine.timers import LogTime
from cloudchat_engine.upkeep import UPKEEP, Upkeep

logger = logging.getLogger(__name__)

_RETRY = 1 * SECOND
_PATIENCE = 5  # seconds that a provider may take to let go of what it holds
_STOPPING = "the server is stopping; send it again with the same id"


class Node:
    """One server of a workspace. `await tasks.start(node.run)`; then `submit`, `begin`, `feed`, `read`, `page`.

    `problem` says, for people, why the log cannot be written just now (None: it can).
    """

    def __init__(
        self,
        log: Log,
        provider: Provider,
        *,
        clock: Clock,
        timer: Timer,
        new_id: Callable[[], str],
        new_epoch: Callable[[], str],
        limits: Limits | None = None,
        grace: float = 5,
        heartbeat: float = 15,
        keep: Retention | None = None,
    ) -> None:
        """`grace` and `heartbeat` in seconds; `new_id` makes UUIDs, `new_epoch` 1 to 16 random `a-z0-9`."""
        self.limits = limits or Limits()
        self.heartbeat = heartbeat
        self.problem: str | None = None
        self._log, self._provider, self._new_epoch = log, provider, new_epoch
        self._time = LogTime(clock, timer)
        self._probing = False
        self._presence = Presence(round(grace * SECOND), self.limits.feeds_per_token)
        self._attendance = Attendance(
            self._presence, self.now, self._arm, self.limits.tokens_per_feed
        )
        self._upkeep = Upkeep(log, keep or Retention(), self.limits.snapshot_every)
        self._replica = Replica(
            log,
            Decider(self.limits, new_id, provider.expected),
            self._time,
            self._upkeep,
            is_here=self._presence.knows,
            committed=self._committed,
            appending=self._hand_on,
        )
        self._operations = Operations(provider, self._time, self._insist)
        self._queue: deque[Waiting] = deque()
        self._work, self._handed = anyio.Event(), anyio.Event()
        self._armed: int | None = None
        self._rearm = anyio.Event()
        self._publications: dict[object, Callable[[], None]] = {}
        self._snapshots: dict[frozenset[str], tuple[int, list[bytes]]] = {}
        self._tasks: TaskGroup | None = None

    # -- for transports

    @property
    def state(self) -> Workspace:
        """The committed workspace."""
        return self._replica.state

    @property
    def feed(self) -> Feed:
        """The window of the newest events; another object once the log is open."""
        return self._replica.feed

    @property
    def busy(self) -> bool:
        """Whether there are commands whose outcome has not been published yet."""
        return self._work.is_set()

    @property
    def first(self) -> int:
        """The oldest offset that the log has."""
        return self._replica.first

    @first.setter
    def first(self, offset: int) -> None:
        self._replica.first = offset

    def now(self) -> int:
        """Return the time (ms since the epoch): the clock's, but never before the log's newest record."""
        return self._time.now()

    def submit(
        self,
        command: ClientCommand,
        caller: Caller,
        answer: Answer,
        flush: Flush | None = None,
    ) -> None:
        """Have `command` decided; `answer` is called once, in the event loop, when the outcome is durable.

        Where several commands have the same `flush`, it is called once behind all answers that are given together.
        """
        waiting = Waiting(
            command, caller, self._attendance.following(command, caller, answer), flush
        )
        if self._tasks is None or len(self._queue) >= self.limits.waiting:
            waiting.answer = answer
            refuse_all([waiting], "the server is busy or stopping; send it again with the same id")
        else:
            self._enqueue(waiting)

    async def execute(self, command: ClientCommand, caller: Caller = NOBODY) -> Reply:
        """Have `command` decided and return the answer. Cancelling the wait does not undo the command."""
        done, box = anyio.Event(), list[Reply]()

        def answer(reply: Reply) -> None:
            box.append(reply)
            done.set()

        self.submit(command, caller, answer)
        await done.wait()
        return box[0]

    def on_publish(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after every commit, in the loop and before the answers; the function returned ends that."""
        key = object()
        self._publications[key] = callback
        return lambda: self._publications.pop(key, None) and None

    def begin(self, after: str, topics: frozenset[str], feed: str) -> Beginning:
        """Return how the feed named `feed` begins for a client that hands in the cursor `after` (empty: none)."""
        return begin(
            self.state,
            self.first,
            after,
            lambda: self.snapshot(topics),
            feed=feed,
            heartbeat=self.heartbeat,
            limits=self.limits,
            now=self.now(),
        )

    def snapshot(self, topics: frozenset[str]) -> list[bytes]:
        """Return the snapshot's frames as of now, encoded once for all who ask at this offset."""
        known = self._snapshots.get(topics)
        if known is None or known[0] != self.state.offset:
            frames = snapshot_frames(self.state, topics, self.limits.frame)
            known = self._snapshots[topics] = (self.state.offset, frames)
        return known[1]

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        """Return committed records from the log, for who fell out of the window; see `Log.read`."""
        records = await self._log.read(after, limit)
        return [record for record in records if record.offset <= self.state.offset]

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        """Return committed messages or instance events, newest first; see `Log.page`."""
        head = self.state.offset + 1
        return await self._log.page(what, head if before is None else min(before, head), limit)

    def open_feed(self, feed: str, end: Callable[[int], None], scopes: Iterable[str] = ()) -> None:
        """A feed is open and serves the participations `scopes`; `end(close_code)` is called to end it."""
        self._attendance.open(feed, end, scopes)

    def close_feed(self, feed: str, ending: Ending, held: int = 0) -> None:
        """The feed has ended; participations that have no other are given their grace, or `held` (ms) if longer."""
        self._attendance.close(feed, ending, held)

    # -- running

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Open the log, replay it, then serve until cancelled. Raises `LogError` where the log cannot be opened."""
        try:
            await self._replica.open(self._new_epoch())
            self._presence.restarted(
                (scope for scope, _ in self.state.participants.items()), self.now()
            )
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._decide_batches)
                tasks.start_soon(self._settle_behind)
                tasks.start_soon(self._keep_deadlines)
                tasks.start_soon(self._keep_house)
                self._operations.reconcile(self.state, list(self.state.operations), tasks)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _close(self) -> None:
        self._tasks = None
        refuse_all(self._queue, _STOPPING)
        self._queue.clear()
        writable = self.problem is None and not self._replica.uncertain
        if writable and self._upkeep.saved < self.state.offset:
            await self._upkeep.save(self.state)
        try:
            with anyio.move_on_after(_PATIENCE, shield=True):
                await self._provider.aclose()
        finally:
            await self._log.aclose()

    # -- deciding

    def _enqueue(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._work.set()

    async def _decide_batches(self) -> None:
        try:
            while True:
                batch = await self._next_batch()
                try:
                    await self._commit(batch)
                except BaseException:
                    # The server is stopping before anybody of the batch has an answer.
                    refuse_all(batch, _STOPPING)
                    raise
        finally:
            self._replica.settle()

    async def _next_batch(self) -> list[Waiting]:
        if self._queue:
            await anyio.lowlevel.checkpoint_if_cancelled()
        else:
            self._replica.settle()
            if not self._queue:
                self._work = anyio.Event()
                await self._work.wait()
            # Whoever else is ready adds to the batch first.
            await anyio.lowlevel.checkpoint()
        return [self._queue.popleft() for _ in range(min(len(self._queue), self.limits.batch))]

    def _hand_on(self) -> None:
        self._handed.set()

    async def _settle_behind(self) -> None:
        """Publish and answer a batch when the next one has been handed to the log."""
        while True:
            self._handed = anyio.Event()
            await self._handed.wait()
            self._replica.settle()

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Have `batch` decided and durable and everybody told; or tell who asked that it did not happen."""
        try:
            if self._replica.uncertain:
                await self._recover()
            written = await self._replica.commit(batch)
        except LogError as error:
            self._refuse(batch, error)
            return
        if written and self.problem is not None:
            logger.warning("the log can be written again")
            self.problem = None

    def _committed(self, records: Sequence[Record]) -> None:
        """Start what follows from records that the log now has, and tell the transports."""
        if self._tasks is not None:
            changed = [
                record.event.operation.id
                for record in records
                if isinstance(record.event, InstanceEvent)
            ]
            self._operations.reconcile(self.state, changed, self._tasks)
            if self._upkeep.is_due(self.state):
                self._tasks.start_soon(self._upkeep.save, self.state)
        self._arm(next_deadline(self.state, self.limits))
        for callback in tuple(self._publications.values()):
            try:
                callback()
            except Exception:  # what a transport fails at is no matter of the log's
                logger.exception("a transport failed to take what was published")

    # -- when the log cannot be written

    def _refuse(self, batch: Sequence[Waiting], error: LogError) -> None:
        if self.problem != str(error):
            logger.error(
                "the log cannot be written, commands are answered `unavailable`: %s", error
            )
        self.problem = str(error)
        if not self._probing and self._tasks is not None:
            self._probing = True
            self._tasks.start_soon(self._probe)
        refuse_all(batch, "the server cannot write its log now; send it again with the same id")

    async def _probe(self) -> None:
        """Find out when the log can be written again, also where nobody sends a command: by opening a new epoch."""
        if not self._replica.uncertain:
            await self._time.wait(_RETRY)
        # Each time under another name: the last one may have been written.
        while not await self._done(Open(self._new_epoch())):
            await self._time.wait(_RETRY)
        self._probing = False

    async def _recover(self) -> None:
        await self._replica.recover()
        # Whoever joined in an append of unknown outcome was not told so: it is given the time to come again, also where
        # it had a grace that it came back in.
        holders = [scope for scope, _ in self.state.participants.items()]
        for scope in holders:
            if not self._presence.is_present(scope):
                self._attendance.hold(scope, JOIN_HOLD)

    # -- presence and deadlines

    def _arm(self, deadline: int | None) -> None:
        if deadline is not None and (self._armed is None or deadline < self._armed):
            self._rearm.set()

    async def _keep_deadlines(self) -> None:
        while True:
            self._rearm = anyio.Event()
            due = (next_deadline(self.state, self.limits), self._presence.next_deadline())
            self._armed = min((moment for moment in due if moment is not None), default=None)
            async with anyio.create_task_group() as race:
                if self._armed is not None:
                    race.start_soon(self._ring, self._armed)
                await self._rearm.wait()
                race.cancel_scope.cancel()
            now = self.now()
            for scope, reason in self._presence.due(now):
                if self._tasks is not None and self.state.present(scope):
                    self._tasks.start_soon(self._depart, scope, reason)
                else:
                    self._attendance.departed(scope)
            deadline = next_deadline(self.state, self.limits)
            if deadline is not None and deadline <= now:
                await self._insist(Tick())

    async def _depart(self, scope: str, reason: str) -> None:
        await self._insist(Depart(scope, reason))
        self._attendance.departed(scope)

    async def _ring(self, deadline: int) -> None:
        await self._time.wait_until(deadline)
        self._rearm.set()

    async def _insist(self, command: ServerCommand) -> None:
        """Have a command of the server's own decided, again and again until the log has it."""
        while not await self._done(command):
            await self._time.wait(_RETRY)

    async def _done(self, command: ServerCommand) -> bool:
        done, box = anyio.Event(), list[Reply]()

        def answer(reply: Reply) -> None:
            box.append(reply)
            done.set()

        self._enqueue(Waiting(command, NOBODY, answer))
        await done.wait()
        return not isinstance(box[0], Refusal)

    async def _keep_house(self) -> None:
        if self._upkeep.is_due(self.state):
            await self._upkeep.save(self.state)
        while True:
            await self._time.wait(UPKEEP)
            self.first = await self._upkeep.retain(self.state, self.first, self.now())
