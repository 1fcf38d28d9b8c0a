"""What keeps a log short to replay and bounded in size: snapshots and retention.

A snapshot is made in a thread while the log goes on. It must not bring a text back that is erased meanwhile: one of
before the newest erasure is thrown away, also where that erasure is only under way, and the one that follows the
erasure is made as soon as it is committed.
"""

import logging
from typing import Final

import anyio
import anyio.to_thread

from cloudchat_core.clock import SECOND
from cloudchat_core.snapshot import archive
from cloudchat_core.workspace import Workspace
from cloudchat_engine.ports import Log, LogError, Retention, Saved

logger = logging.getLogger(__name__)

UPKEEP: Final = 60 * SECOND
"""How often (ms) old records are looked for."""


class Upkeep:
    """Saves snapshots of the workspace and drops what need not be kept any more."""

    def __init__(self, log: Log, keep: Retention, every: int) -> None:
        """A snapshot is due each `every` records; retention drops what exceeds `keep`."""
        self._log, self._keep, self._every = log, keep, every
        self._saving = anyio.Lock()
        self._erased = 0
        self._tried = 0
        self.saved = 0

    def opened(self, saved: int, head: int) -> None:
        """The log has a snapshot of offset `saved`; what follows up to `head` may have erased a text of it."""
        self.saved = self._tried = saved
        self._erased = head

    def erasing(self, offset: int) -> None:
        """A text is about to be erased; snapshots of before `offset` may still have it."""
        self._erased = max(self._erased, offset)

    def is_due(self, state: Workspace) -> bool:
        """Tell whether a snapshot should be saved now; one that could not be saved is not tried again at once."""
        stale = self._tried < self._erased <= state.offset
        return stale or state.offset - max(self.saved, self._tried) >= self._every

    async def save(self, state: Workspace) -> None:
        """Save a snapshot of `state`, after the one that is being made, unless that is newer.

        A failure costs the next start some time, no more.
        """
        self._tried = max(self._tried, state.offset)
        async with self._saving:
            if state.offset <= self.saved:
                return
            data = await anyio.to_thread.run_sync(archive, state)
            # From here to the log's own queue there is no await: a later erasure stands behind this snapshot there.
            if state.offset < self._erased:
                return
            try:
                await self._log.save(Saved(state.offset, data))
            except LogError:
                logger.warning(
                    "a snapshot could not be saved; the next start replays more of the log",
                    exc_info=True,
                )
            else:
                self.saved = state.offset

    async def retain(self, state: Workspace, first: int, now: int) -> int:
        """Drop what exceeds the limits; return the first offset that is left."""
        keeps_all = self._keep == Retention()
        if self.saved < (self._erased if keeps_all else state.offset):
            await self.save(state)
        if keeps_all:
            return first
        try:
            while (left := await self._log.retain(self._keep, now)) > first:
                first = left
        except LogError:
            logger.warning("old records could not be dropped", exc_info=True)
        return first
