"""What keeps a log short to replay and bounded in size: snapshots and retention."""

import logging
from typing import Final

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
        self._saving = False
        self._erasing = 0
        self.saved = 0

    def erasing(self) -> None:
        """A text is about to be taken back: a snapshot that is being made must not bring it back."""
        self._erasing += 1

    def is_due(self, state: Workspace) -> bool:
        """Tell whether a snapshot should be saved now."""
        return not self._saving and state.offset - self.saved >= self._every

    async def save(self, state: Workspace) -> None:
        """Save a snapshot of `state`, unless one is being saved; a failure costs the next start some time, no more."""
        if self._saving:
            return
        self._saving, erasing = True, self._erasing
        try:
            data = await anyio.to_thread.run_sync(archive, state)
            # From here to the log's own queue there is no await: a later erasure stands behind this snapshot there.
            if erasing == self._erasing:
                await self._log.save(Saved(state.offset, data))
                self.saved = state.offset
        except LogError:
            logger.warning(
                "a snapshot could not be saved; the next start replays more of the log",
                exc_info=True,
            )
        finally:
            self._saving = False

    async def retain(self, state: Workspace, first: int, now: int) -> int:
        """Drop what exceeds the limits; return the first offset that is left."""
        if self._keep == Retention():
            return first
        try:
            if self.saved < state.offset:
                await self.save(state)
            while (left := await self._log.retain(self._keep, now)) > first:
                first = left
        except LogError:
            logger.warning("old records could not be dropped", exc_info=True)
        return first
