"""A state machine that does to a log what a node may do, and compares it with a plain list."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, ClassVar

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.ports import Erasure, Log, LogConflictError, Opened, Retention, Saved
from cloudchat_engine.testing.records import (
    KINDS,
    START,
    LogFactory,
    What,
    erased,
    example,
    examples,
    redaction,
    retain_all,
    shown,
    weight,
)

_offsets = st.integers(0, 4_000)
_texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.just("long" * 3_000)
_fractions = st.floats(0, 1, exclude_max=True)


class LogMachine(RuleBasedStateMachine):
    """Does at random what a node may do, and holds the log to a plain list. Subclass it and give it `storage`."""

    backend: ClassVar[str] = "asyncio"
    """The event loop that the log runs on: `asyncio` or `trio`."""

    _portal: BlockingPortal
    _log: Log

    def storage(self) -> AbstractContextManager[LogFactory]:
        """Give a factory over a new, empty place, and clean up in the end; to be overridden."""
        raise NotImplementedError("a subclass of LogMachine has a method `storage`")

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._kept: list[StoredRecord] = []
        self._weights: dict[int, int] = {}
        self._first = 1
        self._snapshot: Saved | None = None

    def teardown(self) -> None:
        """Close the log, stop the event loop and give the place back."""
        self._stack.close()

    @initialize()
    def start(self) -> None:
        """Open a log over a new place."""
        self._make_log = self._stack.enter_context(self.storage())
        self._portal = self._stack.enter_context(start_blocking_portal(self.backend))
        self._log = self._make_log()
        self._stack.callback(lambda: self._call(self._log.aclose))
        assert self._call(self._log.open) == Opened(1, 0, None)

    def _call(self, function: Callable[..., Any], *values: Any) -> Any:
        return self._portal.call(function, *values)

    @property
    def _head(self) -> int:
        return self._first + len(self._kept) - 1

    def _opened(self) -> Opened:
        return Opened(self._first, self._head, self._snapshot)

    def _take_back(self, fractions: Sequence[float], records: list[StoredRecord]) -> list[Erasure]:
        """Pick messages of the log or of `records`, as the fractions say, and take them back in the model."""
        everything = [*self._kept, *records]
        messages = [n for n, r in enumerate(everything) if r.kind == "message"]
        picked = {messages[int(f * len(messages))] for f in fractions if messages}
        erasures = [redaction(everything[n]) for n in sorted(picked)]
        for n in picked:
            everything[n] = erased(everything[n])
        for r in records:
            self._weights[r.offset] = weight(r)
        self._kept = everything
        held = self._snapshot and erasures and self._snapshot.offset >= erasures[0].offset
        if held and self._first == 1:
            self._snapshot = None
        return erasures

    @rule(batch=st.lists(st.tuples(st.sampled_from(KINDS), _texts), max_size=6))
    def append(self, batch: list[tuple[str, str]]) -> None:
        """Append a batch."""
        head = self._head
        records = [example(head + n, *one) for n, one in enumerate(batch, 1)]
        self._take_back((), records)
        self._call(self._log.append, records, head)

    @rule(
        batch=st.lists(_texts, max_size=3), fractions=st.lists(_fractions, min_size=1, max_size=3)
    )
    def append_and_erase(self, batch: list[str], fractions: list[float]) -> None:
        """Append a batch that takes messages back, its own perhaps."""
        head = self._head
        records = [example(head + n, "message", text) for n, text in enumerate(batch, 1)]
        erasures = self._take_back(fractions, list(records))
        self._call(self._log.append, records, head, erasures)

    @rule(count=st.integers(200, 700))
    def append_many(self, count: int) -> None:
        """Append a large batch."""
        head = self._head
        records = [example(head + n, KINDS[n % len(KINDS)]) for n in range(1, count + 1)]
        self._take_back((), records)
        self._call(self._log.append, records, head)

    @rule(expected=_offsets, count=st.integers(0, 3), fractions=st.lists(_fractions, max_size=2))
    def append_on_another_head(self, expected: int, count: int, fractions: list[float]) -> None:
        """Find an append refused that comes too late or too early; the model does not change."""
        if expected == self._head:
            expected += 1
        erasures = [redaction(r) for r in self._kept[-len(fractions) :] if r.kind == "message"]
        with pytest.raises(LogConflictError):
            self._call(self._log.append, examples(expected, count), expected, erasures)

    @rule(count=st.integers(1, 5), limit=st.integers(1, 1_000))
    def read_beside_an_append(self, count: int, limit: int) -> None:
        """Read while a batch is appended: all of it shows, or nothing."""
        before, head = list(self._kept), self._head
        after = max(head - 3, self._first - 1)
        records = examples(head, count)
        self._take_back((), records)
        seen: list[Any] = []

        async def read() -> None:
            seen.append(await self._log.read(after, limit))
            seen.append(await self._log.page("messages", None, limit))

        async def both() -> None:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._log.append, records, head)
                tasks.start_soon(read)

        self._call(both)
        possible = [before, self._kept]
        assert seen[0] in [self._after(kept, after)[:limit] for kept in possible]
        assert seen[1] in [shown(kept, "messages")[:limit] for kept in possible]

    def _after(self, kept: list[StoredRecord], after: int) -> list[StoredRecord]:
        return kept[max(after + 1 - self._first, 0) :]

    @rule(after=_offsets, limit=st.integers(1, 300))
    def read(self, after: int, limit: int) -> None:
        """Read from somewhere."""
        assert self._call(self._log.read, after, limit) == self._after(self._kept, after)[:limit]

    @rule(
        what=st.sampled_from(["messages", "worklog"]),
        before=st.none() | _offsets,
        limit=st.integers(1, 60),
    )
    def page(self, what: What, before: int | None, limit: int) -> None:
        """Turn pages, backwards, from somewhere to the oldest."""
        older = [r for r in self._kept if before is None or r.offset < before]
        expected = shown(older, what)
        for _ in range(3):
            page = self._call(self._log.page, what, before, limit)
            assert page == expected[:limit]
            if not page:
                break
            before, expected = page[-1].offset, expected[limit:]

    @rule(fraction=st.floats(0, 1), state=st.binary(max_size=10) | st.just(b"state" * 5_000))
    def save(self, fraction: float, state: bytes) -> None:
        """Save a snapshot that is not older than the last."""
        oldest = self._snapshot.offset if self._snapshot else self._first - 1
        self._snapshot = Saved(oldest + round(fraction * (self._head - oldest)), state)
        self._call(self._log.save, self._snapshot)

    @rule(
        count=st.just(0) | st.integers(1, 500),
        age=st.just(0) | st.integers(1, 500),
        size=st.just(0) | st.integers(1, 100_000),
    )
    def retain(self, count: int, age: int, size: int) -> None:
        """Drop what is too much, too old, too large; and no more than that."""
        now = START + self._head * 1_000
        end = (self._snapshot.offset if self._snapshot else self._first - 1) + 1
        first: int = self._call(retain_all, self._log, Retention(count, age, size), now)
        assert self._first <= first <= max(end, self._first)
        kept = self._kept[first - self._first :]
        if first < end:
            assert not count or len(kept) <= count
            assert not age or kept[0].at >= now - age * 1_000
            assert not size or sum(min(weight(r), self._weights[r.offset]) for r in kept) <= size
        if first > self._first:
            last = self._kept[first - 1 - self._first]
            heavy = sum(max(weight(r), self._weights[r.offset]) for r in [last, *kept])
            assert (
                (count and len(kept) >= count)
                or (age and last.at < now - age * 1_000)
                or (size and heavy > size)
            ), "dropped without a reason"
        self._kept, self._first = kept, first

    @rule()
    def reopen(self) -> None:
        """Start over with the same log."""
        assert self._call(self._log.reopen) == self._opened()

    @rule()
    def read_everything(self) -> None:
        """Find exactly what the list has."""
        assert self._call(self._log.read, 0, len(self._kept) + 1) == self._kept

    @invariant()
    def the_newest_are_there(self) -> None:
        """The end of the log and its newest messages are those of the list."""
        if hasattr(self, "_log"):
            after = max(self._head - 3, 0)
            assert self._call(self._log.read, after, 10) == self._after(self._kept, after)
            assert (
                self._call(self._log.page, "messages", None, 3) == shown(self._kept, "messages")[:3]
            )


class DurableLogMachine(LogMachine):
    """As `LogMachine`, and the log is closed and opened again now and then."""

    @rule()
    def restart(self) -> None:
        """Close the log and open it with a new object."""
        self._call(self._log.aclose)
        self._log = self._make_log()
        assert self._call(self._log.open) == self._opened()
