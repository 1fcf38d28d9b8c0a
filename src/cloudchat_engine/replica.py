"""The replica: the workspace that the log amounts to, moved on only together with the log.

A batch is decided on top of the state, appended, and only then does its state become *the* state. So nothing is decided
on top of an append that has not returned, and an append that fails is undone by forgetting the batch's state. After one
whose outcome is not known nothing is decided before the log has been opened again and what it really holds was taken
over. Where another node was quicker, its records are taken over and the batch is decided again.

Where commands wait already when an append returns, they come first: the next batch is decided on top of what the log
has now and handed to it, and only while the disk is busy with that are the last batch's events published and its
commands answered (`settle`). Until then `state` is the one before: nobody sees a state without its events.
"""

import logging
from collections.abc import Callable, Sequence

import anyio

from cloudchat_core.clock import SECOND
from cloudchat_core.codec import StoredRecord
from cloudchat_core.commands import Open
from cloudchat_core.decide import Decider
from cloudchat_core.events import Record, Redacted
from cloudchat_core.feed import Entry, Feed
from cloudchat_core.workspace import Workspace
from cloudchat_engine.batch import Decided, Waiting, answer_all, decide_batch
from cloudchat_engine.ports import (
    Erasure,
    Log,
    LogConflictError,
    LogDamagedError,
    LogUncertainError,
)
from cloudchat_engine.replay import PAGE, follow, replay
from cloudchat_engine.timers import LogTime
from cloudchat_engine.upkeep import Upkeep

logger = logging.getLogger(__name__)


class Replica:
    """`state` and `feed` as of the log's head, `first` the oldest offset that the log has.

    `uncertain`: the outcome of the last append is not known yet.
    """

    def __init__(
        self,
        log: Log,
        decider: Decider,
        time: LogTime,
        upkeep: Upkeep,
        *,
        is_here: Callable[[str], bool],
        committed: Callable[[Sequence[Record]], None],
        appending: Callable[[], None] = lambda: None,
    ) -> None:
        """`is_here` tells whose departure is moot; `committed` is told the records that the log has now.

        `appending` is called when a batch is about to be appended: the time to `settle` the one before.
        """
        self.state = Workspace()
        self.feed = Feed(0, decider.limits.window)
        self.first = 1
        self.uncertain = False
        self._log, self._decider, self._time, self._upkeep = log, decider, time, upkeep
        self._is_here, self._committed, self._appending = is_here, committed, appending
        self._durable: tuple[Sequence[Waiting], Decided] | None = None

    async def open(self, epoch: str) -> None:
        """Open the log, replay it, and begin a new epoch. Raises `LogError`."""
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
        self.feed = Feed(self.state.offset - len(recent), self._decider.limits.window)
        self.feed.publish([_entry(stored) for stored in recent])
        self._accept(await self._append([Waiting(Open(epoch))]))

    async def commit(self, batch: Sequence[Waiting]) -> bool:
        """Decide `batch` as one and append it; tell whether there was anything to append.

        What follows from it, the answers included, is for `settle`. Raises `LogError`: nobody has an answer, and
        nothing has changed here.
        """
        try:
            decided = await self._append(batch)
        finally:
            self.settle()
        self._durable = batch, decided
        return bool(decided.stored)

    def settle(self) -> None:
        """Make the state of the last batch *the* state, publish its events, and answer all."""
        if self._durable is None:
            return
        (batch, decided), self._durable = self._durable, None
        self._accept(decided)
        answer_all(batch, decided.replies)

    async def recover(self) -> None:
        """Learn what the log really holds after an append whose outcome is not known. Raises `LogError`: not yet."""
        opened = await self._log.reopen()
        if opened.head < self.state.offset:
            raise LogDamagedError(
                f"the log ends at record {opened.head}, but had {self.state.offset}: "
                "stop the server, and restore a backup or see to the disk"
            )
        self.first = opened.first
        await self._catch_up()
        self.uncertain = False

    async def _append(self, batch: Sequence[Waiting]) -> Decided:
        """Decide `batch` on top of the state, again where another node was quicker, until the log has it."""
        while True:
            state = self.state if self._durable is None else self._durable[1].state
            decided = await decide_batch(
                batch,
                state,
                self._time.now(),
                decider=self._decider,
                log=self._log,
                is_here=self._counts_as_here,
            )
            if not decided.stored:
                return decided
            if decided.erased:
                self._upkeep.erasing(decided.state.offset)
            try:
                if self._durable is not None:
                    self._appending()
                with anyio.CancelScope(shield=True):
                    await self._log.append(decided.stored, state.offset, decided.erased)
                return decided
            except LogConflictError as error:
                self.settle()
                if not await self._catch_up():
                    raise LogDamagedError(f"{error}, and it has nothing new") from error
            except LogUncertainError:
                self.uncertain = True
                raise

    def _counts_as_here(self, scope: str) -> bool:
        """Tell whether a departure is moot, also where the `join` that makes it so is durable but not answered yet."""
        unanswered = self._durable is not None and scope in self._durable[1].joined
        return unanswered or self._is_here(scope)

    def _accept(self, decided: Decided) -> None:
        self.state = decided.state
        self._publish(decided.stored, decided.records, decided.erased)

    def _publish(
        self,
        stored: Sequence[StoredRecord],
        records: Sequence[Record],
        erased: Sequence[Erasure],
    ) -> None:
        """Show what the log now has to the feeds, and tell that it was committed."""
        if not stored:
            return
        self.feed.publish([_entry(record) for record in stored])
        for erasure in erased:
            self.feed.redact(erasure.offset, erasure.body)
        self._committed(records)

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


def _entry(stored: StoredRecord) -> Entry:
    """Return what the feed's window keeps of a record: nothing of a private one but its place."""
    return Entry(stored.topic, stored.body if stored.topic else b"")
