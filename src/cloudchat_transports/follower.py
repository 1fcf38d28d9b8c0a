"""Follows a node's feed where there is no outlet to sweep: under any ASGI server, and for one answer of a poll.

It is the same cursor over the same window as the sweep's (`fanout.py`); only the writing is somebody else's. One call
of `next` returns all that is new, joined, so that a burst costs one `send`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, Self

import anyio

from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import encode
from cloudchat_core.frames import Gap, Heartbeat
from cloudchat_engine.ports import LogDamagedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from cloudchat_core.feed import Framing
    from cloudchat_engine.node import Node


PAGE: Final = 65_536
"""Bytes of a page from the log, about: all that a reader costs who has begun one and does not read on."""

STEP: Final = 16
"""Records that are read from the log at once: of the largest, these are four times `PAGE`."""


_log = logging.getLogger(__name__)


async def read_page(
    node: Node, framing: Framing, topics: frozenset[str], after: int
) -> tuple[bytes, int]:
    """Read what follows `after` from the log, framed; a gap and a snapshot where the log has it no more.

    Returns the bytes (none where the page has nothing of `topics`) and the offset of the last record in them.
    """
    frames, size, last = list[bytes](), 0, after
    while size < PAGE and last - after < node.limits.page:
        try:
            records = await node.read(last, STEP)
        except LogDamagedError:
            # Coming back with the same cursor would not help its reader: nobody gets past this place.
            _log.exception("what follows %s is lost to who reads it", node.state.cursor_at(last))
            break
        if not records or records[0].offset != last + 1:
            break
        shown = [framing(record.body) for record in records if record.topic in topics]
        frames += shown
        size += sum(map(len, shown))
        last = records[-1].offset
    if last > after:
        return b"".join(frames), last
    state = node.state
    lost = encode(Gap(state.cursor_at(after), "retention"))
    return b"".join(map(framing, (lost, *node.snapshot(topics)))), state.offset


class Follower:
    """One reader of the feed; a context, in which `next` may be called by one task."""

    def __init__(self, node: Node, framing: Framing, topics: frozenset[str], offset: int) -> None:
        """Begin after `offset`."""
        self.offset = offset
        self._node, self._framing, self._topics = node, framing, topics
        self._view = node.feed.view(framing, topics)
        self._waiting: anyio.CancelScope | None = None
        self.ended = False
        """Whether `end` was called: `next` waits no more."""
        self._unsubscribe: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        self._unsubscribe = self._node.on_publish(self._wake)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._unsubscribe is not None:
            self._unsubscribe()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()

    def end(self) -> None:
        """Wait for nothing more."""
        self.ended = True
        self._wake()

    @property
    def cursor(self) -> str:
        """The cursor of what was returned last, moved past what the topics hide."""
        return self._node.state.cursor_at(self.offset)

    async def next(
        self, wait: float, idle: Callable[[], Awaitable[object]] = anyio.sleep_forever
    ) -> bytes:
        """Return the frames that follow, as soon as there are any; none when `wait` seconds have passed without.

        What is there already is returned however short the wait: only news is waited for. `idle` is what is done while
        waiting, until it is cancelled; what it raises ends the wait. Raises `LogError`.
        """
        until = anyio.current_time() + wait
        while True:
            while self.offset < self._view.head:
                hit = self._view.since(self.offset)
                if hit is None:
                    # Never cut short: who cannot wait would otherwise never come forward.
                    hit = await read_page(self._node, self._framing, self._topics, self.offset)
                data, self.offset = hit
                if data or self.ended or anyio.current_time() >= until:
                    # Also where a long log has nothing for these topics: the next poll goes on from here.
                    return data
            if self.ended or anyio.current_time() >= until:
                return b""
            with anyio.CancelScope(deadline=until) as self._waiting:
                await idle()
            self._waiting = None

    def heartbeat(self) -> bytes:
        """Return a heartbeat, framed, that says this feed's own position."""
        return self._framing(encode(Heartbeat(self.cursor, rfc3339(self._node.now()))))
