"""Records to try a log with, and what a reader should see of them."""

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import StoredRecord, store
from cloudchat_core.events import (
    Accepted,
    AnyEvent,
    Joined,
    Memory,
    Message,
    Private,
    Received,
    Record,
)
from cloudchat_core.frames import InstanceView, OperationRef
from cloudchat_engine.ports import Erasure, Log, Retention

LogFactory = Callable[[], Log]
"""Gives a log that is not open yet."""
What = Literal["messages", "worklog"]

START = 1_700_000_000_000
"""The moment (ms since the epoch) of the offset 0 in examples; each offset is a second."""
KINDS = ("message", "joined", "received", "accepted")


def example(offset: int, kind: str = "message", text: str = "hello") -> StoredRecord:
    """Make the record that stands at `offset`, of one of `KINDS`; `text` is what a message says."""
    at = START + offset * 1_000
    cursor, moment = f"k3f9-{offset}", rfc3339(at)
    event: AnyEvent
    if kind == "message":
        event = Message(cursor, moment, "Alexandra", text, f"c{offset}")
    elif kind == "joined":
        event = Joined(cursor, moment, "Alexandra")
    elif kind == "received":
        operation = OperationRef(f"o{offset}", "create", moment)
        event = Received(cursor, moment, InstanceView(f"i{offset}"), operation, None, "create")
    else:
        event = Accepted(cursor, moment)
    private = Private(Memory("scope", f"c{offset}", "content"), holder="0" * 64)
    return store(Record(offset, at, event, private))


def examples(
    head: int, count: int, kind: str = "message", text: str = "hello"
) -> list[StoredRecord]:
    """Make the `count` records that follow offset `head`."""
    return [example(head + n, kind, text) for n in range(1, count + 1)]


def redaction(record: StoredRecord) -> Erasure:
    """Make what takes back the text of the message `record`."""
    message = msgspec.json.decode(record.body, type=Message)
    body = msgspec.json.encode(msgspec.structs.replace(message, text="", redacted=True))
    return Erasure(record.offset, body)


def erased(record: StoredRecord) -> StoredRecord:
    """Return `record` as it is served once its text is taken back."""
    return msgspec.structs.replace(record, body=redaction(record).body)


def shown(records: Sequence[StoredRecord], what: What) -> list[StoredRecord]:
    """Return what pages show of `records`, newest first."""
    if what == "messages":
        return [r for r in reversed(records) if r.kind == "message"]
    return [r for r in reversed(records) if r.topic == "instances"]


def weight(record: StoredRecord) -> int:
    """Return what a record counts towards `Retention.size`, in bytes."""
    return len(record.body) + len(record.private)


async def retain_all(log: Log, keep: Retention, now: int = START) -> int:
    """Drop all that exceeds `keep`; return the first offset that is left."""
    first = await log.retain(keep, now)
    while (further := await log.retain(keep, now)) > first:
        first = further
    return first
