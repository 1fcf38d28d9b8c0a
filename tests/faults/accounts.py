"""What clients were told, held against what the log has: nothing lost, nothing twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

import msgspec

from cloudchat_core.client_session import Snapshot, decode_frame
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.events import TOPICS, InstanceEvent, Received, Record
from cloudchat_core.limits import Limits
from cloudchat_core.mirror import Mirror
from cloudchat_core.snapshot import snapshot_frames
from cloudchat_core.workspace import Workspace, evolve

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Seen(msgspec.Struct, frozen=True):
    """What one feed brought: `events` are the cursors of all events, in their order, after a snapshot at `since`.

    `gaps` are the losses that it was told of. `folded` is what they all amount to, as a snapshot; None: not kept.
    """

    since: str
    events: list[str]
    gaps: int = 0
    folded: Snapshot | None = None


class Account(msgspec.Struct, frozen=True):
    """One client: the scope of its command ids, the cursors of the answers by id, and what its feed brought."""

    name: str
    scope: str
    acked: dict[str, str]
    seen: Seen | None = None


@dataclass(frozen=True)
class Tally:
    """How many commands were acknowledged and events seen; how many of either were lost, and happened twice."""

    acknowledged: int = 0
    seen: int = 0
    lost: int = 0
    doubled: int = 0


@dataclass(frozen=True)
class Result(Tally):
    """What a kind of fault came to in so many `rounds`; `note` says what else was found, for people."""

    rounds: int = 0
    note: str = ""


def result(tally: Tally, rounds: int, note: str = "") -> Result:
    """Return what `rounds` of a kind of fault came to."""
    return Result(tally.acknowledged, tally.seen, tally.lost, tally.doubled, rounds, note)


def tally(records: Sequence[Record], accounts: Sequence[Account]) -> Tally:
    """Count what the log lacks of what was told, and what it has twice.

    An acknowledged command is in the log once, at the cursor that its answer named; a feed brought every public event
    between its first and its last once. AssertionError: the log has holes, a feed is out of order, or what it amounts
    to is not what a fresh snapshot would show.
    """
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    kept = [(record, record.private.memory) for record in records if record.private.memory]
    times = Counter((memory.scope, memory.id) for _, memory in kept)
    cursors = {(memory.scope, memory.id): record.event.cursor for record, memory in kept}
    told = [
        (cursors.get((account.scope, key)), cursor)
        for account in accounts
        for key, cursor in account.acked.items()
    ]
    lost = sum(there != cursor for there, cursor in told)
    doubled = sum(count - 1 for count in times.values())
    feeds = [account.seen for account in accounts if account.seen is not None]
    public = [record.event.cursor for record in records if record.event.topic]
    for feed in feeds:
        counted = Counter(feed.events)
        wanted = _between(public, feed)
        doubled += sum(count - 1 for count in counted.values())
        lost += sum(cursor not in counted for cursor in wanted) + feed.gaps
        assert list(counted) == [cursor for cursor in wanted if cursor in counted], "out of order"
        if feed.folded is not None and not feed.gaps:
            state = reduce(evolve, records[: offset(feed.folded.cursor)], Workspace())
            assert shown(state) == shown_by(feed.folded), "the feed does not amount to the log"
    return Tally(len(told), sum(len(feed.events) for feed in feeds), lost, doubled)


def _between(public: Sequence[str], feed: Seen) -> list[str]:
    last = max(map(offset, feed.events), default=0)
    return [cursor for cursor in public if offset(feed.since) < offset(cursor) <= last]


def offset(cursor: str) -> int:
    """Return the offset of a cursor."""
    parsed = parse_cursor(cursor)
    assert parsed is not None, cursor
    return parsed[1]


def shown(state: Workspace) -> Snapshot:
    """Return what a fresh snapshot shows."""
    mirror = Mirror()
    for frame in snapshot_frames(state, TOPICS, Limits().frame):
        mirror.apply(decode_frame(frame))
    return shown_by(mirror.snapshot())


def shown_by(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot without its cursor, which a heartbeat may have moved on."""
    return msgspec.structs.replace(snapshot, cursor="")


def ended_once(records: Sequence[Record]) -> int:
    """See that every operation that was received has one end; return how many there were."""
    begun = Counter(r.event.operation.id for r in records if isinstance(r.event, Received))
    ends = Counter(
        record.event.operation.id
        for record in records
        if isinstance(record.event, InstanceEvent) and not isinstance(record.event, Received)
    )
    assert ends == begun, "an operation ended never, or twice"
    return len(begun)


def cursors_of(answers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the cursors of answers, by the id of their commands."""
    return {key: answer["cursor"] for key, answer in answers.items()}
