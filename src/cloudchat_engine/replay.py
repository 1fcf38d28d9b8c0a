"""From a log back to the workspace: the newest snapshot, and the records after it."""

import logging
from collections.abc import Sequence
from typing import Final

from cloudchat_core.codec import StoredRecord, load
from cloudchat_core.errors import LocalProtocolError
from cloudchat_core.events import Record
from cloudchat_core.snapshot import restore
from cloudchat_core.workspace import Workspace, evolve
from cloudchat_engine.ports import Log, LogDamagedError, Opened

logger = logging.getLogger(__name__)

PAGE: Final = 1_000
"""How many records are read at once."""

_TELL: Final = 100_000


async def replay(log: Log, opened: Opened) -> Workspace:
    """Return the workspace that `log` amounts to. Calls no provider; raises `LogDamagedError` where it cannot."""
    state = _restored(opened)
    while state.offset < opened.head:
        page = await log.read(state.offset, PAGE)
        if not page:
            raise LogDamagedError(f"the log lacks record {state.offset + 1}; restore a backup")
        state, _ = follow(state, page)
        if state.offset // _TELL != (state.offset - len(page)) // _TELL:
            logger.info("replayed the log up to %d of %d records", state.offset, opened.head)
    return state


def follow(state: Workspace, page: Sequence[StoredRecord]) -> tuple[Workspace, list[Record]]:
    """Return the workspace after the records of `page`, and these; `LogDamagedError` where they do not follow."""
    records = []
    for stored in page:
        if stored.offset != state.offset + 1:
            raise LogDamagedError(f"the log lacks record {state.offset + 1}; restore a backup")
        try:
            record = load(stored)
        except LocalProtocolError as error:
            raise LogDamagedError(f"{error}; restore a backup") from error
        state = evolve(state, record)
        records.append(record)
    return state, records


def _restored(opened: Opened) -> Workspace:
    """Return the workspace of the snapshot; empty where the log has to be replayed from its first record."""
    if opened.snapshot is not None:
        try:
            state = restore(opened.snapshot.state)
            if state.offset != opened.snapshot.offset or state.offset > opened.head:
                raise LocalProtocolError(
                    f"the snapshot of offset {state.offset} does not belong to this log"
                )
            return state
        except LocalProtocolError as error:
            if opened.first > 1:
                raise LogDamagedError(
                    f"{error}; what came before it is gone: restore a backup"
                ) from error
            logger.warning("%s; replaying the whole log", error)
    if opened.first > 1:
        raise LogDamagedError(
            f"the log begins at offset {opened.first} and has no snapshot; restore a backup"
        )
    return Workspace()
