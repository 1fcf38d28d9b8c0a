"""What must be true when everything has come right again, whatever went wrong before: the log is held to what the
people were answered, and the people to what the log says.

The log's order is the one that everything else is compared with. So a history is linearizable when each answer is true
of the log at some moment between its command and itself; there is no order to search for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from cloudchat_core.client_session import Snapshot, decode_frame
from cloudchat_core.events import InstanceEvent, Joined, Left, Message, Received, Redacted
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.instances import TRANSITIONS
from cloudchat_core.snapshot import snapshot_frames
from cloudchat_core.workspace import Workspace, evolve, redact_message
from cloudchat_transports.testing.simulation.history import ViolationError, offset_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cloudchat_core.codec import StoredRecord
    from cloudchat_core.events import Record
    from cloudchat_transports.testing.simulation.history import Operation
    from cloudchat_transports.testing.simulation.log import Entry
    from cloudchat_transports.testing.simulation.world import World

_FRAME = 1 << 20  # bytes: a snapshot in one part


@dataclass
class Evidence:
    """The log as it is in the end, the state after each of its records, and all that was asked."""

    entries: dict[int, Entry]
    states: list[Workspace]
    operations: list[Operation]
    lost: frozenset[str]
    """The cursors of what a backup has undone."""
    doubled: bool
    """Whether what was sent may have arrived again later: a command that was refused is then decided anew."""

    @cached_property
    def records(self) -> list[Record]:
        """All records, in order."""
        return [entry.record for entry in self.entries.values()]

    @cached_property
    def places(self) -> dict[tuple[str, str], int]:
        """Where each command happened: its offset, by scope and id."""
        return {
            (record.private.memory.scope, record.private.memory.id): offset
            for offset, record in enumerate(self.records, 1)
            if record.private.memory is not None
        }


def check_the_log(world: World) -> None:
    """Raise `ViolationError` where the log itself breaks a promise; to be called at any time."""
    records = [entry.record for entry in world.disk.branch.values()]
    happened_once(records)
    holders(records)
    if world.cloud.broken:
        raise ViolationError("operations", world.cloud.broken[0])


def check(world: World) -> None:
    """Raise `ViolationError` where a promise was broken; to be called when nothing is under way."""
    check_the_log(world)
    states = [Workspace()]
    for entry in world.disk.branch.values():
        states.append(evolve(states[-1], entry.record))
    evidence = Evidence(
        world.disk.branch,
        states,
        [operation for person in world.people for operation in person.operations],
        world.disk.undone,
        any(fault.harm == "double" for fault in world.plan.faults),
    )
    once(evidence)
    operations_end(evidence.records)
    erased(evidence.records, world.disk.stored())
    linearizable(evidence)
    stays_out(evidence)
    for person in world.people:
        witness = person.witness
        sightings = [*witness.sightings, witness.mirror.snapshot()]
        folded(person.name, witness.topics, sightings, evidence)
    assert world.life is not None, "a server is up"
    live = world.life.node.state
    if live != states[live.offset]:
        raise ViolationError(
            "replay", "what the server has in memory is not what its log amounts to"
        )


def happened_once(records: Sequence[Record]) -> None:
    """No command happened twice."""
    memories = [r.private.memory for r in records if r.private.memory is not None]
    for key, times in Counter((memory.scope, memory.id) for memory in memories).items():
        if times > 1:
            raise ViolationError("once", f"the command {key[1]} happened {times} times")


def once(evidence: Evidence) -> None:
    """What was asked happened at most once, where it was acknowledged it did, and where it was refused it did not."""
    said = Counter(r.event.text for r in evidence.records if isinstance(r.event, Message))
    begun = Counter(
        r.event.instance.name
        for r in evidence.records
        if isinstance(r.event, Received) and r.event.command == "create"
    )
    for asked in evidence.operations:
        times = {"say": said[asked.text], "create": begun[asked.text]}.get(asked.verb, 0)
        if times > 1:
            raise ViolationError("once", f"{asked.verb} {asked.text!r} happened {times} times")
        acked = isinstance(asked.reply, Ack) and asked.reply.cursor not in evidence.lost
        if acked and asked.verb in {"say", "create"} and not times:
            raise ViolationError("kept", f"{asked.reply} for {asked.text!r}, which the log has not")
        if isinstance(asked.reply, Refusal) and times and not evidence.doubled:
            raise ViolationError("once", f"{asked.reply} for {asked.text!r}, which happened")


def holders(records: Sequence[Record]) -> None:
    """A nickname has one holder, and who leaves was there."""
    here: set[str] = set()
    for record in records:
        match record.event:
            case Joined(nickname=nickname):
                if nickname.casefold() in here:
                    raise ViolationError("holder", f"{record.event}: it has a holder already")
                here.add(nickname.casefold())
            case Left(nickname=nickname):
                if nickname.casefold() not in here:
                    raise ViolationError("holder", f"{record.event}: nobody holds it")
                here.discard(nickname.casefold())


def operations_end(records: Sequence[Record]) -> None:
    """Each operation ends exactly once, as its command says, and no other is under way on its instance meanwhile."""
    ends = {command: after for (_, command), (after, _) in TRANSITIONS.items()}
    under_way: dict[str, str] = {}
    for record in records:
        event = record.event
        if not isinstance(event, InstanceEvent):
            continue
        if isinstance(event, Received):
            if event.instance.id in under_way:
                raise ViolationError("operations", f"{event}: another one is under way")
            under_way[event.instance.id] = event.operation.id
            continue
        if under_way.pop(event.instance.id, None) != event.operation.id:
            raise ViolationError("operations", f"{event}: this operation was not under way")
        kind = str(event.__struct_config__.tag)
        state = event.instance.state
        reached = "absent" if state is msgspec.UNSET else state
        if kind != "failed" and reached != ends[event.operation.command]:
            raise ViolationError("operations", f"{event}: this is not what the command is for")
    if under_way:
        raise ViolationError("operations", f"never ended: {under_way}")


def erased(records: Sequence[Record], stored: Sequence[StoredRecord]) -> None:
    """A text that was taken back is nowhere on the disk."""
    said = {r.event.cursor: r.event.text.encode() for r in records if isinstance(r.event, Message)}
    bodies = b"\n".join(record.body for record in stored)
    for record in records:
        if isinstance(record.event, Redacted) and said[record.event.message] in bodies:
            raise ViolationError("erased", f"{record.event}: its text is still on the disk")


def linearizable(evidence: Evidence) -> None:
    """Each answer is true of the log at some moment between its command and itself."""
    for asked in evidence.operations:
        if isinstance(asked.reply, Ack) and asked.verb != "ping":
            if asked.reply.cursor not in evidence.lost:
                _happened_in_time(asked, asked.reply, evidence)
        elif isinstance(asked.reply, Refusal) and not evidence.lost:
            _was_refused_rightly(asked, asked.reply, evidence)


def _happened_in_time(asked: Operation, ack: Ack, evidence: Evidence) -> None:
    offset = evidence.places.get((asked.scope, ack.id))
    if offset is None:
        raise ViolationError("kept", f"{ack} for {asked.verb}, which the log does not remember")
    entry = evidence.entries[offset]
    early = offset <= asked.asked_head and not evidence.lost
    if early or not asked.asked_at <= entry.at <= asked.answered_at:
        raise ViolationError(
            "linearizable",
            f"{asked.verb} of {asked.who} was asked at {asked.asked_at:.3f}, answered at "
            f"{asked.answered_at:.3f}, and happened at {entry.at:.3f}",
        )
    if offset > offset_of(ack.cursor):
        raise ViolationError("linearizable", f"{ack} stands before what it acknowledges: {offset}")


def _was_refused_rightly(asked: Operation, refusal: Refusal, evidence: Evidence) -> None:
    reasons: dict[str, Callable[[Workspace], bool]] = {
        "nickname_taken": lambda state: any(
            scope != asked.scope and held.nickname.casefold() == asked.text.casefold()
            for scope, held in state.participants.items()
        ),
        "not_joined": lambda state: not state.present(asked.scope),
        "instance_busy": lambda state: (
            (known := state.instances.get(asked.text)) is not None and known.operation is not None
        ),
        "instance_unknown": lambda state: state.instances.get(asked.text) is None,
        "instance_state": lambda state: (
            (known := state.instances.get(asked.text)) is not None
            and (known.state, asked.verb) not in TRANSITIONS
        ),
    }
    reason = reasons.get(str(refusal.code))
    if reason is None:
        raise ViolationError("refusal", f"{asked.verb} {asked.text!r} was refused: {refusal}")
    if not any(map(reason, evidence.states[asked.asked_head : asked.answered_head + 1])):
        raise ViolationError(
            "linearizable", f"{refusal} for {asked.verb} {asked.text!r} was never true"
        )


def stays_out(evidence: Evidence) -> None:
    """Who was told that it has left is out, until it asks to join again.

    Where what is sent arrives again later, a `join` of old may have come to pass after the `leave`.
    """
    if evidence.doubled:
        return
    joins = [asked for asked in evidence.operations if asked.verb == "join"]
    for asked in evidence.operations:
        if asked.verb != "leave" or not isinstance(asked.reply, Ack):
            continue
        left = evidence.places.get((asked.scope, asked.reply.id))
        if asked.reply.cursor in evidence.lost or left is None:
            continue
        if evidence.states[left].present(asked.scope):
            raise ViolationError("gone", f"{asked.who} is present after {asked.reply}")
        since = evidence.entries[left].at
        for offset in range(left + 1, len(evidence.states)):
            entry = evidence.entries[offset]
            if entry.record.private.holder == asked.scope and isinstance(
                entry.record.event, Joined
            ):
                if not any(
                    join.scope == asked.scope
                    and join.asked_at <= entry.at
                    and (not join.answered_at or join.answered_at >= since)
                    for join in joins
                ):
                    raise ViolationError(
                        "gone", f"{asked.who} has left, {asked.reply}, but {entry.record.event}"
                    )
                break


def folded(
    who: str, topics: Collection[str], sightings: Sequence[Snapshot], evidence: Evidence
) -> None:
    """What was folded up to a cursor is what a snapshot of `topics` at that cursor would have shown.

    A message that was taken back later may have been seen with its text or without: it is compared without.
    """
    redactions = {
        r.event.message: offset
        for offset, r in enumerate(evidence.records, 1)
        if isinstance(r.event, Redacted)
    }
    for seen in sightings:
        offset = offset_of(seen.cursor)
        entry = evidence.entries.get(offset)
        if entry is None or seen.cursor in evidence.lost:
            continue
        later = {message for message, redaction in redactions.items() if redaction > offset}
        expected = _without(_snapshot(evidence.states[offset], topics), later)
        if _without(seen, later) != expected:
            raise ViolationError(
                "folded", f"{who} at {seen.cursor} has {seen}, but the log has {expected}"
            )


def _snapshot(state: Workspace, topics: Collection[str]) -> Snapshot:
    (frame,) = map(decode_frame, snapshot_frames(state, topics, _FRAME))
    assert isinstance(frame, Snapshot), "this is what was made"
    return frame


def _without(seen: Snapshot, redacted: set[str]) -> Snapshot:
    messages = tuple(
        redact_message(one) if one.cursor in redacted else one for one in seen.messages
    )
    return msgspec.structs.replace(seen, cursor="", messages=messages)
