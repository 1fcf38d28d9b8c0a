"""Programs that tests run in a process of its own: to be killed, traced, or starved of disk.

`python -m tests.engine.log_programs NAME PATH …` runs one.
"""

import os
import resource
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

from cloudchat_core.codec import StoredRecord
from cloudchat_engine.logs import SqliteLog
from cloudchat_engine.logs.sqlite_file import Synchronous
from cloudchat_engine.ports import (
    LogError,
    LogLockedError,
    LogUnavailableError,
    LogUncertainError,
    Saved,
)


def message(offset: int, text: str = "hello") -> StoredRecord:
    """Make the record at `offset`; the kit's own would cost each program half a second of imports."""
    body = f'{{"type":"message","cursor":"k3f9-{offset}","text":"{text}"}}'
    return StoredRecord(offset, offset, "message", "chat", body.encode(), b"{}")


def messages(head: int, count: int, text: str = "hello") -> list[StoredRecord]:
    """Make the `count` records that follow `head`."""
    return [message(head + n, text) for n in range(1, count + 1)]


def tell(text: str) -> None:
    """Write a line at once: nothing of it waits in this process."""
    os.write(1, f"{text}\n".encode())


async def append(path: str, count: str, synchronous: Synchronous = "FULL") -> None:
    """Append records one by one; `acked N` follows the record whose text is `<N>`."""
    log = SqliteLog(path, synchronous=synchronous)
    head = (await log.open()).head
    for offset in range(head + 1, head + int(count) + 1):
        await log.append([message(offset, f"<{offset}>")], offset - 1)
        tell(f"acked {offset}")
    await log.aclose()


async def append_for_ever(path: str) -> None:
    """Append batches of all sizes until killed; tell the head after each."""
    log = SqliteLog(path)
    head = (await log.open()).head
    while True:
        count = head * 7919 % 40 + 1
        await log.append(messages(head, count), head)
        head += count
        tell(str(head))


async def hold(path: str) -> None:
    """Keep a log open until killed."""
    log = SqliteLog(path)
    await log.open()
    tell("open")
    await anyio.sleep_forever()


async def open_only(path: str) -> None:
    """Open a log and close it."""
    log = SqliteLog(path)
    opened = await log.open()
    tell(f"{opened.first} {opened.head}")
    await log.aclose()


async def fill(path: str) -> None:
    """Fill the disk, go on reading, make room with another file, and append again."""
    filler = Path(path).with_name("filler")
    filler.write_bytes(bytes(500_000))
    log = SqliteLog(path)
    head = (await log.open()).head
    refusals = 0
    while refusals < 3:
        try:
            await log.append(messages(head, 5, "long" * 500), head)
            assert not refusals, "it fitted after all"
            head += 5
        except LogUnavailableError as error:
            refusals += 1
            tell(str(error))
    for state in (b"small", b"large" * 500_000):
        try:
            await log.save(Saved(head, state))
            tell("saved")
        except LogUnavailableError as error:
            tell(str(error))
    assert len(await log.read(0, head + 10)) == head
    assert len(await log.page("messages", None, head + 10)) == head
    filler.unlink()
    await log.append(messages(head, 5), head)
    head += 5
    assert len(await log.read(0, head + 10)) == head
    await log.aclose()
    log = SqliteLog(path)
    assert (await log.open()).head == head
    await log.aclose()
    tell(f"head {head}")


async def open_unwritable(path: str) -> None:
    """Find that a disk that cannot be written makes opening fail, with a reason."""
    try:
        await SqliteLog(path).open()
    except LogUnavailableError as error:
        tell(f"unavailable: {error}")


async def fail_to_write(path: str) -> None:
    """Meet an I/O error, find the log closed to appends, open it again, and go on from what is there."""
    # Python has told the kernel to answer a write beyond the limit with an error, not with a signal.
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    log = SqliteLog(path)
    head = (await log.open()).head
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, most))
    head = await until_uncertain(log, head)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    await go_on(log, head)


async def fail_to_sync(path: str) -> None:
    """As `fail_to_write`, where a tracer makes one fsync fail."""
    log = SqliteLog(path)
    await go_on(log, await until_uncertain(log, (await log.open()).head))


async def until_uncertain(log: SqliteLog, head: int) -> int:
    """Append until it fails, and then once more; return the head that was acknowledged."""
    try:
        while True:
            await log.append(messages(head, 3, "long" * 500), head)
            head += 3
            assert head < 3_000, "nothing failed"
    except LogUncertainError as error:
        tell(f"uncertain: {error}")
    try:
        await log.append(messages(head, 1), head)
    except LogUncertainError:
        tell(f"acked {head}")
    assert len(await log.read(0, head + 10)) in {head, head + 3}, "readers go on"
    return head


async def go_on(log: SqliteLog, head: int) -> None:
    """Open again; either all of the batch is there or nothing of it; then append."""
    try:
        opened = await log.reopen()
    except LogError as error:
        tell(f"not reopened: {error}")
        return
    assert opened.head in {head, head + 3}, opened
    assert len(await log.read(0, head + 10)) == opened.head
    await log.append(messages(opened.head, 1), opened.head)
    tell(f"head {opened.head + 1}")
    await log.aclose()


async def second(path: str) -> None:
    """Find the log in use."""
    try:
        await SqliteLog(path).open()
    except LogLockedError as error:
        tell(str(error))


PROGRAMS: dict[str, Callable[..., Awaitable[None]]] = {
    program.__name__: program
    for program in (
        append,
        append_for_ever,
        fail_to_sync,
        fail_to_write,
        fill,
        hold,
        open_only,
        open_unwritable,
        second,
    )
}

if __name__ == "__main__":
    anyio.run(PROGRAMS[sys.argv[1]], *sys.argv[2:])
