"""A log in one SQLite file: one thread writes (`sqlite_writer`), another reads beside it (`sqlite_reader`)."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import anyio

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs.sqlite_file import Synchronous
from cloudchat_engine.logs.sqlite_reader import Reader
from cloudchat_engine.logs.sqlite_writer import Writer
from cloudchat_engine.logs.thread import Worker
from cloudchat_engine.ports import Erasure, LogError, Opened, Retention, Saved


class SqliteLog:
    """Keeps records in the SQLite file `path`, which is created where it is missing, with its directory.

    Beside it stand `PATH-wal` and `PATH-shm`, which belong to it, and `PATH.lock`. Not for network file systems.
    """

    def __init__(self, path: str | os.PathLike[str], *, synchronous: Synchronous = "FULL") -> None:
        # `synchronous` is there for the test that shows what happens to promises without it.
        self.path = Path(os.path.realpath(path))  # `resolve` raises where links go round
        self._writer = Writer(self.path, synchronous)
        self._reader = Reader(self.path, self._writer.reading)
        self._writing = Worker("log-writer")
        self._reading = Worker("log-reader")

    async def open(self) -> Opened:
        try:
            opened = await self._writing.run(self._writer.open)
            await self._reading.run(self._reader.open)
        except LogError:
            await self.aclose()
            raise
        return opened

    async def reopen(self) -> Opened:
        if await self._writing.run(self._writer.rescue):
            # A new write-ahead log begins when nobody has the old one open any more.
            await self._reading.run(self._reader.close)
        # The reader stays until the writer is back: on a disk that fails it could not be opened again, and goes on.
        opened = await self._writing.run(self._writer.reopen)
        await self._reading.run(self._reader.close)
        return opened

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        await self._writing.run(partial(self._writer.append, records, expected, erased))
        self._writer.check()

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        return await self._reading.run(partial(self._reader.read, after, limit))

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return await self._reading.run(partial(self._reader.page, what, before, limit))

    async def save(self, snapshot: Saved) -> None:
        await self._writing.run(partial(self._writer.save, snapshot))

    async def retain(self, keep: Retention, now: int) -> int:
        return await self._writing.run(partial(self._writer.retain, keep, now))

    async def vacuum(self) -> None:
        """Write the file anew without the space that retention freed in it. Nothing else may be done meanwhile.

        Takes up to three times the room of the file, beside it and where SQLite keeps temporary files
        (`SQLITE_TMPDIR`). Where it raises `LogError` the log holds what it held.
        """
        await self._writing.run(self._writer.vacuum)

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._reading.close(self._reader.close)
            await self._writing.close(self._writer.close)
