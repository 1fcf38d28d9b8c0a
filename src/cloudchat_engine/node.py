"""The node: the one loop that decides, appends, publishes and answers.

Commands wait in one queue. The loop takes all that wait, decides each on top of the one before, appends all their
records at once, and only when the log has them does the batch's state become *the* state: it is published to the feed
and everybody is answered. What arrives meanwhile is the next batch. So nothing is decided on top of an append that has
not returned, nobody is told what the log does not have, and a failed append is undone by forgetting the batch's state.

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
    Join,
    Open,
    ServerCommand,
    Tick,
)
from cloudchat_core.decide import Decider, next_deadline
from cloudchat_core.errors import Code
from cloudchat_core.events import InstanceEvent, Record, Redacted
from cloudchat_core.feed import Entry, Feed
from cloudchat_core.frames import Refusal, Reply
from cloudchat_core.limits import Limits
from cloudchat_core.presence import JOIN_HOLD, Ending, Presence
from cloudchat_core.session import Beginning, begin
from cloudchat_core.snapshot import snapshot_frames
from cloudchat_core.workspace import Workspace
from cloudchat_engine.attendance import Attendance
from cloudchat_engine.batch import Answer, Decided, Waiting, decide_batch, refusal
from cloudchat_engine.operations import Operations
from cloudchat_engine.ports import (
    Erasure,
    Log,
    LogConflictError,
    LogDamagedError,
    LogError,
    LogUncertainError,
    Provider,
    Retention,
    Timer,
)
from cloudchat_engine.replay import PAGE, follow, replay
from cloudchat_engine.timers import LogTime
from cloudchat_engine.upkeep import UPKEEP, Upkeep

logger = logging.getLogger(__name__)

_RETRY = 1 * SECOND
_PATIENCE = 5  # seconds that a provider may take to let go of what it holds
_STOPPING = "the server is stopping; send it again with the same id"


class Node:
    """One server of a workspace. `await tasks.start(node.run)`; then `submit`, `begin`, `feed`, `read`, `page`.

    `state` is the committed workspace, `feed` the window of its newest events, `first` the oldest offset the log has.
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
        self.state = Workspace()
        self.feed = Feed(0, self.limits.window)
        self.first = 1
        self.problem: str | None = None
        self._log, self._provider, self._new_epoch = log, provider, new_epoch
        self._time = LogTime(clock, timer)
        self._uncertain = self._probing = False
        self._decider = Decider(self.limits, new_id, provider.expected)
        self._presence = Presence(round(grace * SECOND), self.limits.feeds_per_token)
        self._attendance = Attendance(self._presence, self.now, self._arm)
        self._upkeep = Upkeep(log, keep or Retention(), self.limits.snapshot_every)
        self._operations = Operations(provider, self._time, self._insist)
        self._queue: deque[Waiting] = deque()
        self._work = anyio.Event()
        self._armed: int | None = None
        self._rearm = anyio.Event()
        self._publications: dict[object, Callable[[], None]] = {}
        self._snapshots: dict[frozenset[str], tuple[int, list[bytes]]] = {}
        self._tasks: TaskGroup | None = None

    # -- for transports

    def now(self) -> int:
        """Return the time (ms since the epoch): the clock's, but never before the log's newest record."""
        return self._time.now()

    def submit(self, command: ClientCommand, caller: Caller, answer: Answer) -> None:
        """Have `command` decided; `answer` is called once, in the event loop, when the outcome is durable."""
        if self._tasks is None or len(self._queue) >= self.limits.waiting:
            answer(
                refusal(
                    command,
                    Code.UNAVAILABLE,
                    "the server is busy or stopping; send it again with the same id",
                )
            )
            return

        if isinstance(command, Join):
            answer = self._attendance.following(command, caller, answer)
        self._enqueue(Waiting(command, caller, answer))

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
            await self._open()
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._decide_batches)
                tasks.start_soon(self._keep_deadlines)
                tasks.start_soon(self._keep_house)
                self._operations.reconcile(self.state, list(self.state.operations), tasks)
                task_status.started()
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()

    async def _open(self) -> None:
        opened = await self._log.open()
        self.first = opened.first
        self.state = await replay(self._log, opened)
        self._upkeep.opened(
            opened.snapshot.offset if opened.snapshot is not None else 0, opened.head
        )
        self._time.begin_at(self.state.at)
        if self._time.ahead > SECOND:
            logger.warning(
                "the clock is %.1f s behind the log; going on from the log's time",
                self._time.ahead / SECOND,
            )
        # The window begins with the newest page, so that who reconnects after a restart needs no log.
        recent = await self._log.read(max(self.first - 1, self.state.offset - PAGE), PAGE)
        self.feed = Feed(self.state.offset - len(recent), self.limits.window)
        self.feed.publish([_entry(stored) for stored in recent])
        self._accept(await self._append([Waiting(Open(self._new_epoch()))]))
        self._presence.restarted(
            (scope for scope, _ in self.state.participants.items()), self.now()
        )

    async def _close(self) -> None:
        self._tasks = None
        for waiting in self._queue:
            waiting.refuse(_STOPPING)
        self._queue.clear()
        writable = self.problem is None and not self._uncertain
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
        while True:
            if not self._queue:
                self._work = anyio.Event()
                await self._work.wait()
            # Whoever else is ready adds to the batch first.
            await anyio.lowlevel.checkpoint()
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self.limits.batch))]
            try:
                await self._commit(batch)
            except BaseException:  # the server is stopping; who has an answer gets no other
                for waiting in batch:
                    waiting.refuse(_STOPPING)
                raise

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Decide `batch` as one, append it and tell everybody; or tell who asked that it did not happen."""
        try:
            if self._uncertain:
                await self._recover()
            decided = await self._append(batch)
        except LogError as error:
            self._refuse(batch, error)
            return
        self._accept(decided)
        for waiting, reply in zip(batch, decided.replies, strict=True):
            waiting.resolve(reply)

    async def _append(self, batch: Sequence[Waiting]) -> Decided:
        """Decide `batch` on top of the state, again where another node was quicker, until the log has it."""
        while True:
            decided = await decide_batch(
                batch,
                self.state,
                self.now(),
                decider=self._decider,
                log=self._log,
                is_here=self._presence.knows,
            )
            if not decided.stored:
                return decided
            if decided.erased:
                self._upkeep.erasing(decided.state.offset)
            try:
                with anyio.CancelScope(shield=True):
                    await self._log.append(decided.stored, self.state.offset, decided.erased)
            except LogConflictError as error:
                if not await self._catch_up():
                    raise LogDamagedError(f"{error}, and it has nothing new") from error
            except LogUncertainError:
                self._uncertain = True
                raise
            else:
                if self.problem is not None:
                    logger.warning("the log can be written again")
                self.problem = None
                return decided

    def _accept(self, decided: Decided) -> None:
        self.state = decided.state
        self._publish(decided.stored, decided.records, decided.erased)

    def _publish(
        self,
        stored: Sequence[StoredRecord],
        records: Sequence[Record],
        erased: Sequence[Erasure],
    ) -> None:
        """Show what the log now has to the feeds, and start what follows from it."""
        if not stored:
            return
        self.feed.publish([_entry(record) for record in stored])
        for erasure in erased:
            self.feed.redact(erasure.offset, erasure.body)
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
        for waiting in batch:
            waiting.refuse("the server cannot write its log now; send it again with the same id")

    async def _probe(self) -> None:
        """Find out when the log can be written again, also where nobody sends a command: by opening a new epoch."""
        if not self._uncertain:
            await self._time.wait(_RETRY)
        await self._insist(Open(self._new_epoch()))
        self._probing = False

    async def _recover(self) -> None:
        """Learn what the log really holds after an append whose outcome is unknown; nothing is decided before that."""
        opened = await self._log.reopen()
        if opened.head < self.state.offset:
            raise LogDamagedError(
                f"the log ends at record {opened.head}, but had {self.state.offset}: "
                "stop the server, and restore a backup or see to the disk"
            )
        self.first = opened.first
        await self._catch_up()
        self._uncertain = False
        # Whoever joined in that append was not told so: it is given the time to come again.
        holders = [scope for scope, _ in self.state.participants.items()]
        for scope in holders:
            if not self._presence.knows(scope):
                self._attendance.hold(scope, JOIN_HOLD)

    async def _catch_up(self) -> bool:
        """Take over what the log has beyond the state; tell whether there was anything."""
        before = self.state.offset
        while page := await self._log.read(self.state.offset, PAGE):
            state, records = follow(self.state, page)
            erased = await self._erasures(records)
            self.state = state
            self._publish(page, records, erased)
        return self.state.offset > before

    async def _erasures(self, records: Sequence[Record]) -> list[Erasure]:
        """Return how the messages that `records` take back stand in the log now."""
        offsets = [
            int(record.event.message.rpartition("-")[2])
            for record in records
            if isinstance(record.event, Redacted)
        ]
        pages = [await self._log.read(offset - 1, 1) for offset in offsets]
        return [Erasure(page[0].offset, page[0].body) for page in pages if page]

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
                    self._tasks.start_soon(self._insist, Depart(scope, reason))
            deadline = next_deadline(self.state, self.limits)
            if deadline is not None and deadline <= now:
                await self._insist(Tick())

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


def _entry(stored: StoredRecord) -> Entry:
    """Return what the feed's window keeps of a record: nothing of a private one but its place."""
    return Entry(stored.topic, stored.body if stored.topic else b"")
