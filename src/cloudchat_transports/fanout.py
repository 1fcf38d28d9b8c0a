"""Fan-out: what a node publishes is written to every connection that follows its feed.

Theory of operation. Publishing only says "there is something new". One task then makes a *sweep*: it has every outlet
write what follows its own cursor, with one system call each. All that was published since an outlet's last write goes
out as one joined buffer, shared by all that stand at the same cursor: the more is published, the less a delivery
costs. What is published during a sweep is part of the writes that remain, or of the next sweep. There is no timer: a
lone event is written at once.

A sweep is cut into slices of `SLICE` outlets with a checkpoint between, so that readers, answers and finished commits
are not kept waiting by thousands of writes. From a socket to the log and back to the feed a command takes several turns
of the loop; so that it does not wait for a slice at each of them, there are several checkpoints while the node is busy.
An outlet whose kernel buffer is full is skipped; its own task goes on from its cursor, from the window or, page by
page, from the log (see `outgoing.py`).

Beside it, a task says `heartbeat` on feeds that were silent, with each feed's own position.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import trio

from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import encode
from cloudchat_core.frames import Heartbeat
from cloudchat_transports.follower import read_page
from cloudchat_transports.outgoing import sweep

if TYPE_CHECKING:
    from cloudchat_core.feed import Framing
    from cloudchat_engine.node import Node
    from cloudchat_transports.outgoing import Refill
    from cloudchat_transports.outlet import Outlet

SLICE = 100
"""Outlets written to between two checkpoints: about 1 ms of writes."""

TURNS = 4
"""Checkpoints between two slices while commands are under way: turns of the loop that a command takes from its socket
to the log, or back from there to the feed. One without anything to do costs a hundredth of a slice."""

BEAT = 0.9
"""Part of a heartbeat's time after which a silent feed gets one, so that it has come when the time is over."""

LOOK = 1 / 12
"""Part of a heartbeat's time between two looks at who was silent."""


class Fanout:
    """Keeps the outlets that follow one node's feed supplied; `run` does the work."""

    def __init__(self, node: Node) -> None:
        """Serve `node`'s feed."""
        self._node = node
        self._followers: dict[Outlet, Framing] = {}
        self._refills: dict[tuple[Framing, frozenset[str]], Refill] = {}
        self._news = trio.Event()

    @property
    def followers(self) -> int:
        """How many connections follow the feed."""
        return len(self._followers)

    def follow(self, outlet: Outlet, framing: Framing, topics: frozenset[str], offset: int) -> None:
        """Write to `outlet` from now on, framed, all events of `topics` after `offset`, and heartbeats."""
        view = self._node.feed.view(framing, topics)
        self._followers[outlet] = framing
        key = framing, topics
        if key not in self._refills:
            self._refills[key] = partial(read_page, self._node, framing, topics)
        outlet.follow(view, offset, self._refills[key])
        if outlet.push(trio.current_time()):
            self._wake()

    def unfollow(self, outlet: Outlet) -> None:
        """Write no further event to `outlet`; nothing happens where it follows nothing."""
        self._followers.pop(outlet, None)
        outlet.unfollow()

    async def run(self) -> None:
        """Sweep whenever something was published, until cancelled."""
        unsubscribe = self._node.on_publish(self._wake)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep)
                nursery.start_soon(self._beat)
        finally:
            unsubscribe()

    def _wake(self) -> None:
        self._news.set()

    async def _sweep(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            outlets = list(self._followers)
            more = False
            for start in range(0, len(outlets), SLICE):
                more |= sweep(outlets[start : start + SLICE], trio.current_time())
                for _ in range(TURNS if self._node.busy else 1):
                    await trio.lowlevel.checkpoint()
            if more:
                self._wake()

    async def _beat(self) -> None:
        heartbeat = self._node.heartbeat
        while True:
            await trio.sleep(heartbeat * LOOK)
            silent_since = trio.current_time() - heartbeat * BEAT
            at = rfc3339(self._node.now())
            frames: dict[tuple[Framing, int], bytes] = {}
            silent = [item for item in self._followers.items() if item[0].wrote_at <= silent_since]
            for count, (outlet, framing) in enumerate(silent, 1):
                if not outlet.stalled and outlet in self._followers:
                    key = framing, outlet.cursor
                    if key not in frames:
                        frames[key] = framing(
                            encode(Heartbeat(self._node.state.cursor_at(outlet.cursor), at))
                        )
                    outlet.write(frames[key])
                    outlet.wrote_at = trio.current_time()
                if count % SLICE == 0:
                    await trio.lowlevel.checkpoint()
