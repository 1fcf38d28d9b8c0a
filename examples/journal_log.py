"""A log of one's own: a file of calls, one JSON object a line, and what they amount to in memory.

`tests/engine/test_kit_examples.py` holds it to the kit for logs. It is an example: it syncs the disk in the event loop,
reads the whole file at each start, and a text that was erased still stands in the file.
"""

# ruff: noqa: INP001 - a lone file, not a package

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from cloudchat_core.codec import StoredRecord
from cloudchat_engine import (
    Erasure,
    LogDamagedError,
    LogLockedError,
    LogUncertainError,
    Opened,
    Retention,
    Saved,
)
from cloudchat_engine.logs import MemoryLog


class Call(msgspec.Struct, omit_defaults=True):
    """What was asked of the log: to append and erase, to save a snapshot, or to drop what is not kept."""

    records: tuple[StoredRecord, ...] = ()
    erased: tuple[Erasure, ...] = ()
    snapshot: Saved | None = None
    keep: Retention | None = None
    now: int = 0


class JournalLog:
    """Keeps its calls in the file `path`; a `Log`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Nothing is touched before `open`."""
        self._path = Path(path)
        self._file = -1
        self._memory = MemoryLog()

    async def open(self) -> Opened:
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            await self.aclose()
            raise LogLockedError(f"another server has {self._path} open") from None
        return await self.reopen()

    async def reopen(self) -> Opened:
        self._memory = MemoryLog()
        lines = self._path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(
            b"\n"
        ):  # a call that was cut short, and never acknowledged
            os.truncate(self._file, sum(map(len, lines)) - len(lines.pop()))
        for number, line in enumerate(lines, 1):
            try:
                call = msgspec.json.decode(line, type=Call)
            except msgspec.MsgspecError as error:
                raise LogDamagedError(
                    f"line {number} of {self._path} is damaged: {error}"
                ) from error
            await self._perform(call)
        return await self._memory.open()

    async def _perform(self, call: Call) -> None:
        if call.snapshot is not None:
            await self._memory.save(call.snapshot)
        elif call.keep is not None:
            await self._memory.retain(call.keep, call.now)
        else:
            head = (await self._memory.open()).head
            await self._memory.append(call.records, head, call.erased)

    def _write(self, call: Call) -> None:
        """Write a call durably: no `await` stands between what it does in memory and this."""
        try:
            os.write(self._file, msgspec.json.encode(call) + b"\n")
            os.fsync(self._file)
        except OSError as error:
            raise LogUncertainError(f"{self._path} could not be written: {error}") from error

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        await self._memory.append(records, expected, erased)
        self._write(Call(tuple(records), tuple(erased)))

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        return await self._memory.read(after, limit)

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        return await self._memory.page(what, before, limit)

    async def save(self, snapshot: Saved) -> None:
        await self._memory.save(snapshot)
        self._write(Call(snapshot=snapshot))

    async def retain(self, keep: Retention, now: int) -> int:
        before = (await self._memory.open()).first
        first = await self._memory.retain(keep, now)
        if first > before:
            self._write(Call(keep=keep, now=now))
        return first

    async def aclose(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
