"""The log: a disk that outlives server processes, and what a process has of it.

A `Disk` holds what is durable, and beside it everything that ever was, as it was: the checks go by that. A `DiskLog` is
one process's log on it. Its appends take their time, before and after the moment that makes them durable; they meet
with what the plan has in store for them; and it does nothing more once its process is gone.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec
import trio

from cloudchat_core.codec import load
from cloudchat_core.events import TOPICS, Record, Redacted
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.ports import LogUnavailableError, LogUncertainError, Opened

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Callable, Collection, Coroutine, Sequence

    from cloudchat_core.codec import StoredRecord
    from cloudchat_engine.ports import Erasure, Retention, Saved

T = TypeVar("T")

Fate = Literal["full", "written", "lost"]
"""What befalls an append: nothing is written for want of space; or its outcome is not known, and it was, or was not."""

Moment = Literal["append", "written"]
"""What others may wait for: an append has begun, or has become durable."""

_GONE: Final = "the process is gone"


class Entry(msgspec.Struct, frozen=True):
    """One record that became durable: when (virtual seconds), and by which life of the server."""

    record: Record
    at: float
    life: int


class Disk:
    """What is durable. `branch` is all of it since the first record, by offset; `lost` what a backup has undone."""

    def __init__(self) -> None:
        self.store = MemoryLog()
        self.branch: dict[int, Entry] = {}
        self.lost: list[Entry] = []
        self.before: dict[str, dict[str, int]] = {}
        """For the cursor of each public event: the offset of the newest one before it, by topic; also of what a backup
        has undone."""
        self.appends = 0
        self._taken_back: dict[str, tuple[str, float]] = {}
        self._backup: tuple[MemoryLog, dict[int, Entry]] | None = None

    @property
    def head(self) -> int:
        """The newest durable offset."""
        return next(reversed(self.branch), 0)

    @property
    def undone(self) -> frozenset[str]:
        """The cursors of what a backup has undone."""
        return frozenset(entry.record.event.cursor for entry in self.lost)

    def newest(self, topics: Collection[str]) -> int:
        """Return the offset of the newest event of `topics`; 0: there is none."""
        shown = (
            offset
            for offset, entry in reversed(self.branch.items())
            if type(entry.record.event).topic in topics
        )
        return next(shown, 0)

    def stored(self) -> list[StoredRecord]:
        """Return what a reader of the disk would find; erased texts are not there any more."""
        return _at_once(self.store.read(0, self.head))

    def published(self, record: Record) -> None:
        """Note that `record` is known to the server that runs."""
        event = record.event
        if isinstance(event, Redacted) and self.taken_back(event.message) is None:
            self._taken_back[event.message] = event.cursor, trio.current_time()

    def taken_back(self, message: str) -> float | None:
        """Return since when (virtual seconds) no feed that begins has the text of `message`; None: it has.

        A backup that is older has it again.
        """
        redaction, since = self._taken_back.get(message, ("", 0.0))
        return None if not redaction or redaction in self.undone else since

    def back_up(self) -> None:
        """Keep a copy of the log as it is now."""
        self._backup = copy.deepcopy(self.store), dict(self.branch)

    def restore(self) -> bool:
        """Put the copy in its place, and tell whether anything was lost by that."""
        if self._backup is None:
            return False
        store, branch = self._backup
        gone = [entry for offset, entry in self.branch.items() if offset not in branch]
        self.store, self.branch = copy.deepcopy(store), dict(branch)
        self.lost += gone
        return bool(gone)


class DiskLog:
    """The log of one process; `luck` draws how long things take."""

    def __init__(
        self,
        disk: Disk,
        life: int,
        *,
        fates: dict[int, Fate],
        delay: float,
        luck: random.Random,
        coverage: Counter[str],
        reached: Callable[[Moment, int], None],
    ) -> None:
        """`fates` are those of appends, by their number; `delay` (seconds) is the longest that an append takes."""
        self.failing: Literal["", "full", "unsure"] = ""
        """Whether appends fail just now: nothing is written, or nobody knows, and reopening fails as well."""
        self.unreadable = self.unsavable = False
        """Whether reading, saving fails just now."""
        self._on_its_way: tuple[Sequence[StoredRecord], Sequence[Erasure]] | None = None
        self._disk, self._life, self._fates, self._delay = disk, life, fates, delay
        self._luck, self._coverage, self._reached = luck, coverage, reached
        self._death = trio.Event()
        self._uncertain = False
        self._serving = False

    def die(self, *, complete: bool) -> None:
        """The process is gone; an append that is on its way still happens (`complete`), or does not."""
        if self._on_its_way is not None:
            what = "outlived" if complete else "did not outlive"
            self._coverage[f"an append on its way that {what} a crash"] += 1
            if complete:
                self._write(*self._on_its_way)
        self._death.set()

    @property
    def appending(self) -> bool:
        """Whether an append has begun that is not durable yet."""
        return self._on_its_way is not None

    def serve(self) -> None:
        """The log has been replayed: what is read from now on is read by those who are behind."""
        self._serving = True

    async def _pause(self) -> None:
        """Take some time; raises where the process is gone."""
        if self._delay:
            with trio.move_on_after(self._luck.uniform(0, self._delay)):
                await self._death.wait()
        else:
            await trio.lowlevel.cancel_shielded_checkpoint()
        if self._death.is_set():
            raise LogUnavailableError(_GONE)

    async def open(self) -> Opened:
        await self._pause()
        return await self._disk.store.open()

    async def reopen(self) -> Opened:
        await self._pause()
        if self.failing == "unsure":
            self._coverage["a log that could not be reopened at once"] += 1
            raise LogUncertainError("the disk does not answer")
        self._uncertain = False
        self._coverage["a log reopened to learn what was written"] += 1
        return await self._disk.store.reopen()

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        if self._uncertain:
            raise LogUncertainError("it must be opened again first")
        self._disk.appends += 1
        number = self._disk.appends
        self._on_its_way = records, erased
        self._reached("append", number)
        try:
            await self._pause()
            fate = self._fates.get(number)
            if self.failing == "unsure":
                fate = "written" if number % 2 else "lost"
            if fate == "full" or self.failing == "full":
                self._coverage["an append refused: the disk was full"] += 1
                raise LogUnavailableError("the disk is full")
            if fate != "lost":
                self._write(records, erased)
                self._on_its_way = None
                self._reached("written", number)
        finally:
            self._on_its_way = None
        await self._pause()
        if fate is not None:
            self._uncertain = True
            self._coverage[f"an append of unknown outcome that was {fate}"] += 1
            raise LogUncertainError("an I/O error")

    def _write(self, records: Sequence[StoredRecord], erased: Sequence[Erasure]) -> None:
        """Make it durable, in one step: a log in memory awaits nothing."""
        _at_once(self._disk.store.append(records, records[0].offset - 1, erased))
        now = trio.current_time()
        last = {topic: self._disk.newest((topic,)) for topic in TOPICS}
        for stored in records:
            record = load(stored)
            self._disk.branch[stored.offset] = Entry(record, now, self._life)
            if stored.topic:
                self._disk.before[record.event.cursor] = dict(last)
                last[stored.topic] = stored.offset

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        await self._pause()
        if self.unreadable and self._serving:
            self._coverage["a read that failed"] += 1
            raise LogUnavailableError("the disk does not answer")
        if self._serving:
            self._coverage["a page read for somebody who was behind"] += 1
        return await self._disk.store.read(after, limit)

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        await self._pause()
        return await self._disk.store.page(what, before, limit)

    async def save(self, snapshot: Saved) -> None:
        await self._pause()
        if self.unsavable:
            self._coverage["a snapshot that could not be saved"] += 1
            raise LogUnavailableError("the disk is full")
        self._coverage["a snapshot saved"] += 1
        await self._disk.store.save(snapshot)

    async def retain(self, keep: Retention, now: int) -> int:
        await self._pause()
        before = (await self._disk.store.open()).first
        first = await self._disk.store.retain(keep, now)
        if first > before:
            self._coverage["old records dropped"] += 1
        return first

    async def aclose(self) -> None:
        await trio.lowlevel.cancel_shielded_checkpoint()


def _at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return what a log in memory answers: it awaits nothing."""
    try:
        call.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise AssertionError("a log in memory has waited")
