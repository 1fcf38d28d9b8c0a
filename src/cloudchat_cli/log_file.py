"""What `cloudchat log` does with a log's file."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec

from cloudchat_cli.output import Exit, Failure, emit, note, printable
from cloudchat_cli.progress import EVERY, Progress
from cloudchat_cli.running import run
from cloudchat_cli.shapes import COMPACTED, LOG, write_one
from cloudchat_core.clock import SystemClock
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.snapshot import archive
from cloudchat_engine.logs.sqlite import SqliteLog
from cloudchat_engine.logs.sqlite_check import check
from cloudchat_engine.logs.sqlite_view import SqliteView
from cloudchat_engine.ports import (
    LogDamagedError,
    LogError,
    LogLockedError,
    Opened,
    Retention,
    Saved,
)
from cloudchat_engine.replay import replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cloudchat_core.codec import StoredRecord

PAGE: Final = 1_000
"""How many records are exported at once."""


def path_of(log: object) -> Path:
    """Return the file of `log`."""
    if not isinstance(log, SqliteLog):
        raise Failure("this log has no file; name one with --log sqlite:PATH", Exit.USAGE)
    return log.path


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what a log raises into how the command ends."""
    try:
        yield
    except LogLockedError as error:
        raise Failure(str(error), Exit.BUSY) from None
    except LogDamagedError as error:
        raise Failure(str(error), Exit.DAMAGED) from None
    except LogError as error:
        raise Failure(str(error)) from None


def check_log(path: Path, output: str) -> None:
    """Say what the log holds and what is wrong with it."""
    with _explained(), Progress(f"checking {path.name}", quiet=EVERY) as progress:
        report = check(path, progress.count)
    write_one(LOG, report, output)
    for damage in report.damage:
        note(printable(f"{damage.place}: {damage.detail}"))
    if not report.sound:
        places = f"{len(report.damage)} place{'s' * (len(report.damage) > 1)}"
        raise Failure(
            f"{path} is damaged, in {places}: keep a copy of it and restore a backup", Exit.DAMAGED
        )


@dataclass(frozen=True, slots=True)
class Range:
    """What is exported: events between two cursors (None: from the beginning, to the end), of some topics (or all)."""

    after: str | None
    before: str | None
    topics: tuple[str, ...]

    def covers(self, record: StoredRecord) -> bool:
        """Tell whether a record between the cursors is public and of one of the topics."""
        return bool(record.topic) and (not self.topics or record.topic in self.topics)


def export_log(path: Path, wanted: Range, to: Path | None, *, skip_damaged: bool = False) -> None:
    """Write what `wanted` says to the file `to`, or to stdout; what is damaged ends it, or is left out."""
    lost = 0
    with (
        _explained(),
        SqliteView(path) as view,
        _writing(to) as write,
        Progress(f"exporting {path.name}", quiet=EVERY) as progress,
    ):
        opened = view.opened()
        begin = max(opened.first, 1) - 1 if wanted.after is None else _place(view, wanted.after)
        end = opened.head + 1 if wanted.before is None else _place(view, wanted.before)
        after = begin
        while after < end - 1:
            last = min(after + PAGE, end - 1)
            try:
                page = _whole(view, after, last)
            except LogDamagedError:
                if not skip_damaged:
                    raise
                # One damaged offset may be that of a record far behind all others.
                last = max(last, min(view.following(after) or 0, end) - 1)
                near = range(after, min(after + PAGE, last))
                page = [record for n in near for record in _sound(view, n)]
                lost += last - after - len(page)
            lines = [record.body for record in page if wanted.covers(record)]
            if lines:
                write(b"\n".join(lines).decode(errors="replace"))
            after = last
            progress.count(after - begin, end - 1 - begin)
    if lost:
        raise Failure(
            f"{lost} records of {path} are damaged and left out; `cloudchat log check` names them",
            Exit.DAMAGED,
        )


def _whole(view: SqliteView, after: int, last: int) -> list[StoredRecord]:
    """Return all records behind `after` up to `last`; `LogDamagedError` where one is missing."""
    page = view.read(after, last - after)
    found = page[0].offset if page else last + 1
    if found > after + 1:
        if view.opened().first < found:
            raise LogDamagedError(f"{view.path} is damaged: it lacks record {after + 1}")
        note(f"records up to {found - 1} were dropped by a server meanwhile, and are not exported")
    return [record for record in page if record.offset <= last]


def _sound(view: SqliteView, after: int) -> list[StoredRecord]:
    """Return the record behind `after` where it can be read."""
    try:
        return [record for record in view.read(after, 1) if record.offset == after + 1]
    except LogDamagedError:
        return []


def _place(view: SqliteView, cursor: str) -> int:
    """Return the offset of a cursor that this log has."""
    parsed = parse_cursor(cursor)
    found = view.read(parsed[1] - 1, 1) if parsed is not None else []
    if not found or _cursor_of(found[0]) != cursor:
        raise Failure(f"{view.path} has nothing at the cursor {cursor!r}", Exit.UNKNOWN)
    return found[0].offset


class _Event(msgspec.Struct, frozen=True):
    cursor: str


def _cursor_of(record: StoredRecord) -> str | None:
    try:
        return msgspec.json.decode(record.body, type=_Event).cursor
    except msgspec.MsgspecError:
        return None


@contextmanager
def _writing(to: Path | None) -> Iterator[Callable[[str], None]]:
    """Give what writes lines: to stdout, or to a file that takes its name when all of it is there."""
    if to is None:
        yield emit
        return
    part = to.with_name(f"{to.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        with part.open("w", encoding="utf-8") as file:
            yield lambda text: print(text, file=file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(to)
    except OSError as error:
        raise Failure(f"{to} cannot be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def compact_log(log: SqliteLog, path: Path, keep: Retention, output: str) -> None:
    """Drop what exceeds `keep`, give free space back, and say what that came to."""
    try:
        there = path.is_file()
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    if not there:
        raise Failure(f"there is no log at {path}")
    # Beside the log, not in /tmp: there it may not fit, and others could read it.
    os.environ["SQLITE_TMPDIR"] = str(path.parent)
    write_one(COMPACTED, run(_compact, log, keep), output)


async def _compact(log: SqliteLog, keep: Retention) -> dict[str, Any]:
    before = log.path.stat().st_size
    # A failure leaves the task group as the one thing that was raised in it; how every command ends unwraps it.
    async with anyio.create_task_group() as tasks:
        with _explained(), Progress(f"compacting {log.path.name}", quiet=EVERY) as progress:
            opened = await log.open()
            tasks.start_soon(_tick, progress)
            try:
                first = opened.first
                if keep != Retention():
                    first = await _retain(log, opened, keep)
                await log.vacuum()
            finally:
                await log.aclose()
            tasks.cancel_scope.cancel()
    return {
        "log": str(log.path),
        "first": first,
        "head": opened.head,
        "dropped": first - opened.first,
        "before": before,
        "after": log.path.stat().st_size,
    }


async def _retain(log: SqliteLog, opened: Opened, keep: Retention) -> int:
    """Drop what exceeds `keep`, as a server does over time; return the first offset that is left."""
    state = await replay(log, opened)
    # What follows the newest snapshot always stays.
    await log.save(Saved(state.offset, archive(state)))
    first = opened.first
    while (left := await log.retain(keep, max(SystemClock().now(), state.at))) > first:
        first = left
    return first


async def _tick(progress: Progress) -> None:
    began = anyio.current_time()
    while True:
        await anyio.sleep(1)
        progress.update(anyio.current_time() - began)
