"""The feed: the newest events as bytes, once, for everybody; a reader is a cursor into them.

The window holds the encoded events of the newest batches. A `View` shows them in one framing (a WebSocket text frame, a
chunked event-stream event) and one set of topics: each batch is framed and joined once, and what follows a cursor is
joined once for all readers that stand there. A reader owns nothing but its cursor and, after a write that was cut, the
rest of one frame (`View.split`). One whose cursor fell out of the window is served from the log.

Offsets are those of the log. A *cursor* here is the offset of the last record a reader has seen; records that a view
does not show (private ones, other topics) take no bytes, and reading moves past them.
"""

from array import array
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from itertools import accumulate
from typing import Final

import msgspec

Framing = Callable[[bytes], bytes]
"""Turns one JSON object into what goes over the wire."""

LARGEST_READ: Final = 262_144
"""About how many bytes `View.since` returns at most; a reader that is far behind comes again."""


_ENTRY: Final = 64  # bytes that a record takes in the window besides its payload
_CACHED: Final = (
    64  # start cursors whose bytes a view keeps; the rest is joined again when it is asked for
)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One record as the window keeps it: its topic (empty: shown to nobody) and the public event as JSON."""

    topic: str
    payload: bytes


class Feed:
    """The window of the newest events; `head` is the offset of the newest record."""

    def __init__(self, head: int, window: int) -> None:
        """Begin after offset `head`; keep about `window` bytes of events."""
        self.head = head
        self._window = window
        self._size = 0
        self._starts: list[int] = []  # offset of each batch's first record
        self._batches: list[list[Entry]] = []
        self._views: dict[tuple[Framing, frozenset[str]], View] = {}

    @property
    def first(self) -> int:
        """The offset of the oldest record in the window (`head + 1` when it is empty)."""
        return self._starts[0] if self._starts else self.head + 1

    def publish(self, entries: Sequence[Entry]) -> None:
        """Add the records that follow `head`, one batch."""
        if not entries:
            return
        self._starts.append(self.head + 1)
        self._batches.append(list(entries))
        self._size += _size(entries)
        self.head += len(entries)
        # A quarter of slack, so that the lists are cut rarely.
        if self._size > self._window * 5 // 4:
            drop = 0
            while self._size > self._window and drop < len(self._batches) - 1:
                self._size -= _size(self._batches[drop])
                drop += 1
            del self._starts[:drop], self._batches[:drop]

    def redact(self, offset: int, payload: bytes) -> None:
        """Show `payload` in place of the event at `offset` to all who read it from now on."""
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset > self.head:
            return
        batch, place = self._batches[index], offset - self._starts[index]
        self._size += len(payload) - len(batch[place].payload)
        batch[place] = Entry(batch[place].topic, payload)
        for view in self._views.values():
            view._replace(offset, batch)

    def view(self, framing: Framing, topics: Collection[str]) -> "View":
        """Return the view in this framing (a function that stays the same object) of these topics."""
        key = (framing, frozenset(topics))
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = View(self, *key)
        return view

    def _following(self, offset: int) -> list[tuple[int, list[Entry]]]:
        """Return the batches that begin after `offset`."""
        index = bisect_right(self._starts, offset)
        return list(zip(self._starts[index:], self._batches[index:], strict=True))


def _size(entries: Sequence[Entry]) -> int:
    return sum(len(entry.payload) for entry in entries) + _ENTRY * len(entries)


class View:
    """One framing and one set of topics of a feed. Framing is done when somebody reads, once."""

    __slots__ = ("_cache", "_chunks", "_ends", "_feed", "_framing", "_head", "_starts", "_topics")

    def __init__(self, feed: Feed, framing: Framing, topics: frozenset[str]) -> None:
        self._feed, self._framing, self._topics = feed, framing, topics
        self._head = feed.first - 1
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._ends: list[array[int]] = []  # of each chunk: where its records end
        self._cache: dict[int, tuple[bytes, int]] = {}

    @property
    def head(self) -> int:
        """The cursor of a reader that has seen everything."""
        return self._feed.head

    def since(self, cursor: int) -> tuple[bytes, int] | None:
        """Return the bytes that follow `cursor`, and the cursor after them; None: it fell out of the window.

        The bytes are whole frames, the same object for all who ask from the same cursor; no bytes at all where there is
        nothing to show. `head` is the end; before it, ask again.
        """
        if cursor >= self._feed.head:
            return b"", cursor
        if self._head != self._feed.head:
            self._pull()
        hit = self._cache.get(cursor)
        if hit is not None:
            return hit
        index = bisect_right(self._starts, cursor + 1) - 1
        if index < 0:
            return None
        chunk, seen = self._chunks[index], cursor + 1 - self._starts[index]
        parts = [chunk[self._ends[index][seen - 1] :] if seen else chunk]
        size, index = len(parts[0]), index + 1
        while index < len(self._chunks) and size + len(self._chunks[index]) <= LARGEST_READ:
            parts.append(self._chunks[index])
            size, index = size + len(self._chunks[index]), index + 1
        after = self._starts[index] - 1 if index < len(self._starts) else self._head
        if len(self._cache) >= _CACHED:
            self._cache.clear()
        hit = self._cache[cursor] = (parts[0] if len(parts) == 1 else b"".join(parts), after)
        return hit

    def split(self, cursor: int, written: int) -> tuple[int, bytes]:
        """`written` bytes of `since(cursor)` went out: return the cursor to go on from, and the rest of the cut frame.

        To be called at once after the write, before anything is published or redacted.
        """
        index = bisect_right(self._starts, cursor + 1) - 1
        while written:
            start, ends = self._starts[index], self._ends[index]
            base = ends[cursor - start] if cursor >= start else 0
            if written < ends[-1] - base:
                at = base + written
                place = bisect_right(ends, at)
                if place and at == ends[place - 1]:
                    return start + place - 1, b""
                return start + place, self._chunks[index][at : ends[place]]
            written -= ends[-1] - base
            cursor, index = start + len(ends) - 1, index + 1
        return cursor, b""

    def _frame(self, entry: Entry) -> bytes:
        return self._framing(entry.payload) if entry.topic in self._topics else b""

    def _pull(self) -> None:
        """Frame what was published since the last look, and let go of what the feed let go of."""
        self._cache.clear()
        for start, batch in self._feed._following(self._head):  # noqa: SLF001 - a view is a part of its feed
            frames = [self._frame(entry) for entry in batch]
            self._starts.append(start)
            self._chunks.append(b"".join(frames))
            self._ends.append(array("L", accumulate(map(len, frames))))
        self._head = self._feed.head
        drop = bisect_right(self._starts, self._feed.first - 1)
        if drop:
            del self._starts[:drop], self._chunks[:drop], self._ends[:drop]

    def _replace(self, offset: int, batch: Sequence[Entry]) -> None:
        index = bisect_right(self._starts, offset) - 1
        if index < 0 or offset > self._head:
            return
        frames = [self._frame(entry) for entry in batch]
        self._chunks[index] = b"".join(frames)
        self._ends[index] = array("L", accumulate(map(len, frames)))
        self._cache.clear()
