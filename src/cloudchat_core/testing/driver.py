"""A workspace under test: every step is checked against what holds for all of them.

The state machines, and tests of applications, drive it; what it asserts is true of every configuration.
"""

import itertools
import uuid
from collections.abc import Callable

import msgspec

from cloudchat_core.client_session import decode_frame
from cloudchat_core.clock import SECOND, ManualClock, rfc3339
from cloudchat_core.codec import StoredRecord, encode, load, store
from cloudchat_core.commands import NOBODY, Caller, ClientCommand, Open, ServerCommand, Tick
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.decide import Decider, next_deadline
from cloudchat_core.draft import Decision
from cloudchat_core.events import TOPICS, InstanceEvent, Message, Received, Redacted
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.memory import SHARED, SLACK
from cloudchat_core.mirror import Mirror
from cloudchat_core.snapshot import archive, restore, snapshot_frames
from cloudchat_core.workspace import RECENT, Authored, Workspace, evolve, redact_message


class Driver:
    """One workspace, its log in memory, and a `ManualClock`.

    `execute` decides a command, appends its records as bytes and applies what comes back from them. `history` holds
    the state at every offset, `log` the records as a log would hold them now: the text of redacted messages erased.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        expected: Callable[[str], float | None] = lambda _: 20,
    ) -> None:
        """Open an empty log; `expected` says how long (seconds) each command takes, as a provider would."""
        self.limits = limits or Limits()
        self.clock = ManualClock()
        self._numbers = itertools.count(1)
        self._epochs = itertools.count(1)
        self.decider = Decider(self.limits, self._new_id, expected)
        self.state = Workspace()
        self.history = [self.state]
        self.log: list[StoredRecord] = []
        self.began: set[str] = set()
        self.ended: set[str] = set()
        self.reopen()

    def _new_id(self) -> str:
        return str(uuid.UUID(int=next(self._numbers), version=4))

    def reopen(self) -> None:
        """Begin a new epoch, as every start of a server does."""
        self.execute(Open(f"e{next(self._epochs)}"))

    def execute(self, command: ClientCommand | ServerCommand, caller: Caller = NOBODY) -> Decision:
        """Have `command` decided and happen, and check what is true of every decision."""
        before, now = self.state, self.clock.now()
        decision = self.decider.decide(before, command, now, caller, self.find(command))
        assert self.state is before, "to decide is not to do"
        if isinstance(decision.reply, Refusal):
            assert decision.records == (), "a refused command leaves no trace"
        for record in decision.records:
            assert record.offset == self.state.offset + 1, "offsets are dense"
            assert record.at == max(now, self.state.at), "time does not go back"
            assert record.event.at == rfc3339(record.at)
            self._append(store(record))
            assert record.event.cursor == self.state.cursor
            assert load(self.log[-1]) == record, "what the log holds is what was decided"
            self._follow(record.event)
        if isinstance(decision.reply, Ack) and decision.records:
            assert decision.reply.cursor == self.state.cursor, "the answer says where it ended"
        return decision

    def _append(self, stored: StoredRecord) -> None:
        self.log.append(stored)
        self.state = evolve(self.state, load(stored))
        self.history.append(self.state)

    def _follow(self, event: object) -> None:
        match event:
            case Received():
                assert event.operation.id not in self.began
                self.began.add(event.operation.id)
            case InstanceEvent():
                assert event.operation.id in self.began, "an operation ends after it began"
                assert event.operation.id not in self.ended, "an operation ends once"
                self.ended.add(event.operation.id)
            case Redacted():
                # What the node does: the text goes from the log as well.
                parsed = parse_cursor(event.message)
                assert parsed is not None
                record = load(self.log[parsed[1] - 1])
                assert isinstance(record.event, Message)
                erased = msgspec.structs.replace(record, event=redact_message(record.event))
                self.log[parsed[1] - 1] = store(erased)
            case _:
                pass

    def find(self, command: object) -> Authored | None:
        """Return the message in the log that a `redact` names, as a node looks it up."""
        parsed = parse_cursor(getattr(command, "message", ""))
        if parsed is None or not 1 <= parsed[1] <= len(self.log):
            return None
        record = load(self.log[parsed[1] - 1])
        if not isinstance(record.event, Message):
            return None
        return Authored(record.event, record.private.holder)

    def advance(self, seconds: float) -> None:
        """Let time go by."""
        self.clock.advance(seconds)

    def settle(self) -> None:
        """Do what is due, as the server does: a tick whenever `next_deadline` has come, until nothing is due."""
        now = max(self.clock.now(), self.state.at)
        rounds = len(self.state.operations) + 1
        while (deadline := next_deadline(self.state, self.limits)) is not None and deadline <= now:
            assert self.execute(Tick()).records, "what is due is done"
            rounds -= 1
            assert rounds >= 0, "or the server would run in a circle"
        assert self.execute(Tick()).records == (), "nothing more is due"
        assert all(operation.deadline > now for operation in self.state.operations.values())
        for name, scope in self.state.memories.scopes.items():
            if name == SHARED:
                for one in scope.commands.values():
                    assert one.at + self.limits.shared_memory * SECOND + SLACK > now
            elif not self.state.present(name):
                assert scope.last + self.limits.token_memory * SECOND + SLACK > now

    def replayed(self, offset: int = 0) -> Workspace:
        """Return the state as a restart makes it: the archive of the state at `offset`, and the log's tail."""
        state = restore(archive(self.history[offset]))
        for stored in self.log[offset:]:
            state = evolve(state, load(stored))
        return state

    def mirror(
        self, offset: int, topics: tuple[str, ...] = TOPICS, until: int | None = None
    ) -> Mirror:
        """Return what a client knows that got the snapshot at `offset` and the events of `topics` after it.

        `until` is the offset of the last record that has reached it (None: it has them all).
        """
        mirror = Mirror()
        for frame in snapshot_frames(self.history[offset], topics, self.limits.frame):
            mirror.apply(decode_frame(frame))
        for stored in self.log[offset:until]:
            if stored.topic in topics:
                mirror.apply(decode_frame(stored.body))
        return mirror

    def check_replay(self, offset: int) -> None:
        """Live state, replayed state, and archive plus tail are one; so are their snapshots."""
        replayed = self.replayed(offset)
        assert replayed == self.state
        assert archive(replayed) == archive(self.state)
        assert snapshot_frames(replayed, TOPICS, 65_536) == snapshot_frames(
            self.state, TOPICS, 65_536
        )

    def check_mirror(self, offset: int, topics: tuple[str, ...] = TOPICS) -> None:
        """A feed folded from the snapshot at `offset` on shows what a fresh snapshot shows."""
        folded = self.mirror(offset, topics).snapshot()
        fresh = self.mirror(len(self.log), topics).snapshot()
        assert encode(msgspec.structs.replace(folded, cursor=fresh.cursor)) == encode(fresh)

    def check_snapshot(self, limit: int) -> None:
        """No part is over `limit` bytes, and the parts put together are the lists."""
        parts = snapshot_frames(self.state, TOPICS, limit)
        assert all(len(part) <= limit for part in parts)
        assert [b'"more":true' in part[-12:] for part in parts] == [True] * (len(parts) - 1) + [
            False
        ]
        lists: dict[str, list[object]] = {}
        for part in map(msgspec.json.decode, parts):
            assert part["cursor"] == self.state.cursor
            for name, items in part.items():
                if isinstance(items, list):
                    lists.setdefault(name, []).extend(items)
        state = self.state
        assert lists == msgspec.to_builtins(
            {
                "participants": [
                    {"nickname": held.nickname, "since": held.since}
                    for held in state.participants.participants()
                ],
                "messages": [authored.message for authored in state.messages.values()],
                "instances": state.listed(),
                "operations": [operation.view() for operation in state.operations.values()],
                "worklog": state.worklog.values(),
            }
        )

    def check_bounds(self) -> None:
        """Nothing is more than its limit."""
        state, limits = self.state, self.limits
        assert len(state.participants) <= limits.participants
        assert len(state.instances) <= limits.instances
        assert len(state.operations) <= len(state.instances), "one operation at a time"
        assert len(state.finished) <= limits.finished_operations
        assert len(state.messages) <= RECENT
        assert len(state.worklog) <= RECENT
        assert len(state.memories.scopes) <= max(limits.tokens, limits.participants + 2)
        for name, scope in state.memories.scopes.items():
            assert 1 <= len(scope.commands) <= (limits.command_ids if name else limits.shared_ids)

    def check_operations(self) -> None:
        """What began and has not ended is under way, on an instance that says so."""
        under_way = self.began - self.ended
        assert set(self.state.operations) == under_way
        busy = [one.operation for one in self.state.instances.values() if one.operation is not None]
        assert sorted(busy) == sorted(under_way)
