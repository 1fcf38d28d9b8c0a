"""A state machine of the whole workspace: several callers talk, operate, repeat themselves, leave and come back."""

from dataclasses import dataclass, field
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from cloudchat_core.clock import SECOND
from cloudchat_core.commands import (
    Away,
    Caller,
    ClientCommand,
    Create,
    Depart,
    Join,
    Leave,
    Ping,
    Redact,
    Remove,
    Report,
    Say,
    Start,
    Stop,
)
from cloudchat_core.cursor import format_cursor
from cloudchat_core.errors import Code
from cloudchat_core.events import TOPICS, Joined, Left, Message
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.memory import SHARED
from cloudchat_core.testing.driver import Driver
from cloudchat_core.testing.strategies import bad_texts, callers, texts
from cloudchat_core.workspace import RECENT

_NICKNAMES = ["Alexandra", "alexandra", "Ａlexandra", "Боб", "боб", "Eve", "Mallory", "admin", ""]


@dataclass
class _Scope:
    """What the model knows of a caller: what was accepted (oldest first), and when anything last was."""

    accepted: dict[str, tuple[ClientCommand, Ack, int]] = field(default_factory=dict)
    last: int = 0


class WorkspaceMachine(RuleBasedStateMachine):
    """Everything that a workspace can be told, against what every client may rely on.

    Override `limits` (small ones find more) or `callers` (who speaks; one without a token among them). `TestCase`
    runs it: `TestWorkspace = WorkspaceMachine.TestCase`.
    """

    limits = Limits(
        text=40,
        frame=1_600,
        participants=2,
        instances=3,
        finished_operations=2,
        operation_time=30,
        command_ids=4,
        token_memory=5_000,
        tokens=5,
        shared_ids=3,
        shared_memory=2_000,
    )
    callers = callers(7)

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(self.limits)
        self.scopes: dict[str, _Scope] = {}
        self.holders: dict[str, str] = {}
        self.messages: list[tuple[str, str]] = []
        self.turn = 0

    @initialize(caller=callers, command=st.sampled_from(["none", "create"]))
    def somebody_is_here(self, caller: Caller, command: str) -> None:
        """Most of what can happen needs somebody in the chat, and an instance."""
        self.join(caller, "Alexandra")
        if command == "create":
            self.create(caller, "web-1")
            self.driver.execute(Report(*self.driver.began))

    # -- what clients do

    def tell(self, command: ClientCommand, caller: Caller) -> Ack | Refusal:
        """Have a client's command decided, and keep the model's books."""
        known = caller.scope in self.scopes and self._is_known(caller.scope)
        decision = self.driver.execute(command, caller)
        reply = decision.reply
        assert reply is not None
        assert reply.id == command.id
        for record in decision.records:
            match record.event:
                case Joined(nickname=nickname):
                    assert nickname.casefold() not in self.holders, "a nickname has one holder"
                    self.holders[nickname.casefold()] = caller.scope
                case Left(nickname=nickname):
                    assert self.holders.pop(nickname.casefold()) == caller.scope
                case Message(cursor=cursor, text=text, ref=ref):
                    assert text == text.strip()
                    assert 1 <= len(text) <= self.limits.text
                    assert ref == command.id
                    self.messages.append((cursor, caller.scope))
                case _:
                    pass
        if isinstance(reply, Ack) and command.id and not isinstance(command, Away | Ping):
            scope = self.scopes.setdefault(caller.scope, _Scope())
            if not known:
                scope.accepted.clear()
            scope.accepted.pop(command.id, None)
            scope.accepted[command.id] = command, reply, self.driver.state.at
            self._used(scope)
        return reply

    def _used(self, scope: _Scope) -> None:
        self.turn += 1
        scope.last = self.driver.state.at

    def _fresh(self) -> str:
        # A UUID, because that is what callers without a token are remembered by.
        return str(UUID(int=len(self.driver.history) << 64 | self.turn))

    @rule(caller=callers, nickname=st.sampled_from(_NICKNAMES))
    def join(self, caller: Caller, nickname: str) -> None:
        """Somebody comes in, comes back, or takes another name."""
        before = self.holders.get(_key(nickname))
        here = caller.scope in self.holders.values()
        full = len(self.holders) >= self.limits.participants
        reply = self.tell(Join(self._fresh(), nickname), caller)
        if caller.scope == SHARED:
            assert _code(reply) in {Code.BAD_COMMAND, Code.QUOTA_EXCEEDED}
        elif nickname in {"", "admin"}:
            assert _code(reply) in {Code.NICKNAME_INVALID, Code.NICKNAME_RESERVED}
        elif before not in {None, caller.scope}:
            assert isinstance(reply, Refusal)
            assert reply.code == Code.NICKNAME_TAKEN
            assert reply.suggestions
        elif full and not here:
            assert _code(reply) == Code.QUOTA_EXCEEDED
        else:
            assert isinstance(reply, Ack)
            assert reply.resumed in {True, False}
            assert self.holders[_key(nickname)] == caller.scope

    @rule(caller=callers)
    def leave(self, caller: Caller) -> None:
        """Somebody gives the nickname back."""
        here = caller.scope in self.holders.values()
        reply = self.tell(Leave(self._fresh()), caller)
        if caller.scope == SHARED:
            assert _code(reply) in {Code.NOT_JOINED, Code.QUOTA_EXCEEDED}
        else:
            assert _code(reply) == (None if here else Code.NOT_JOINED)
        assert caller.scope not in self.holders.values()

    @rule(caller=callers, data=st.data())
    def go_away(self, caller: Caller, data: st.DataObject) -> None:
        """A page goes away: it is told so where its join is the last one, and nothing is decided by it."""
        here = caller.scope in self.holders.values()
        known = self.scopes.get(caller.scope, _Scope()).accepted
        joins = [name for name, (command, _, _) in known.items() if isinstance(command, Join)]
        join = data.draw(st.sampled_from([*joins, "never"]))
        reply = self.tell(Away(self._fresh(), join), caller)
        if not here:
            assert _code(reply) == Code.NOT_JOINED
        elif joins == [join]:
            assert isinstance(reply, Ack)
        assert (caller.scope in self.holders.values()) == here

    @rule(caller=callers, text=texts(40), nickname=st.none() | st.sampled_from(_NICKNAMES))
    def say(self, caller: Caller, text: str, nickname: str | None) -> None:
        """Who has joined speaks; so does who has a token and names a nickname that nobody else holds."""
        holder = None if nickname is None else self.holders.get(_key(nickname))
        here = caller.scope in self.holders.values()
        code = _code(self.tell(Say(self._fresh(), text, nickname), caller))
        if caller.scope == SHARED:
            assert code in {Code.NOT_JOINED, Code.QUOTA_EXCEEDED}
        elif nickname is None and not here:
            assert code == Code.NOT_JOINED
        elif nickname in {"", "admin"}:
            assert code in {Code.NICKNAME_INVALID, Code.NICKNAME_RESERVED}
        elif holder not in {None, caller.scope}:
            assert code == Code.NICKNAME_TAKEN
        else:
            assert code is None

    @rule(speakers=st.lists(callers, min_size=3, max_size=12))
    def many_speak(self, speakers: list[Caller]) -> None:
        """Many scripts report one after the other: more than the server has places for."""
        for caller in speakers:
            self.driver.advance(0.001)
            self.tell(Say(self._fresh(), "done", f"bot {self.turn}"), caller)

    @precondition(lambda self: self.holders)
    @rule(count=st.integers(1, RECENT + 5), data=st.data())
    def chatter(self, count: int, data: st.DataObject) -> None:
        """So much is said that older messages are no longer in the snapshot."""
        speaker = Caller(data.draw(st.sampled_from(sorted(self.holders.values()))))
        for number in range(count):
            reply = self.tell(Say("", f"{number} of {count}"), speaker)
            assert isinstance(reply, Ack)

    @precondition(lambda self: self.messages)
    @rule(other=st.none() | callers, data=st.data())
    def redact(self, other: Caller | None, data: st.DataObject) -> None:
        """Somebody takes back a message: their own, however old, and nobody else's."""
        cursor, author = data.draw(st.sampled_from(self.messages))
        caller = other or Caller(author)
        here = caller.scope in self.holders.values()
        reply = self.tell(Redact(self._fresh(), cursor), caller)
        if here and author == caller.scope:
            assert isinstance(reply, Ack)
            found = self.driver.find(Redact("", cursor))
            assert found is not None
            assert (found.message.text, found.message.redacted) == ("", True)
        else:
            refused = {Code.FORBIDDEN} if here else {Code.NOT_JOINED, Code.QUOTA_EXCEEDED}
            assert _code(reply) in refused

    @rule(caller=callers, text=bad_texts(40), offset=st.integers(0, 200))
    def talk_nonsense(self, caller: Caller, text: str, offset: int) -> None:
        """A text that is none, or a cursor where no message stands, is refused."""
        assert isinstance(self.tell(Say(self._fresh(), text, "Eve"), caller), Refusal)
        cursor = format_cursor("e1", offset)
        if cursor not in dict(self.messages):
            assert isinstance(self.tell(Redact(self._fresh(), cursor), caller), Refusal)

    @rule(caller=callers, name=st.none() | st.sampled_from(["web-1", " ", "x" * 65, "a\tb"]))
    def create(self, caller: Caller, name: str | None) -> None:
        """Somebody wants an instance."""
        reply = self.tell(Create(self._fresh(), name, {"size": [1]}), caller)
        if name not in {None, "web-1"}:
            assert isinstance(reply, Refusal)

    @rule(caller=callers, kind=st.sampled_from([Start, Stop, Remove]), data=st.data())
    def operate(
        self, caller: Caller, kind: type[Start | Stop | Remove], data: st.DataObject
    ) -> None:
        """Somebody operates an instance."""
        instances = list(self.driver.state.instances)
        instance = data.draw(st.sampled_from(instances or ["never"]))
        self.tell(kind(self._fresh(), instance), caller)

    @rule(caller=callers)
    def ping(self, caller: Caller) -> None:
        """Somebody asks where the log's head is."""
        reply = self.tell(Ping(self._fresh()), caller)
        assert isinstance(reply, Ack)
        assert reply.cursor == self.driver.state.cursor

    # -- exactly once

    def _is_known(self, name: str) -> bool:
        """Whether the limits promise that the server has not forgotten this caller."""
        if name == SHARED or self.driver.state.present(name):
            return True
        last = self.scopes[name].last
        rivals = [
            other
            for other, scope in self.scopes.items()
            if other not in {name, SHARED} and scope.last >= last
        ]
        # Participants never make room, and one command may ask for that of several.
        places = self.limits.tokens - self.limits.participants - max(1, self.limits.tokens // 100)
        young = self._now() - last < self.limits.token_memory * SECOND
        return young and len(rivals) < places

    def _is_remembered(self, name: str, command_id: str) -> bool:
        """Whether the limits promise that the server still knows this command."""
        scope = self.scopes[name]
        if name == SHARED:
            return self._now() - scope.accepted[command_id][2] < self.limits.shared_memory * SECOND
        return (
            self._is_known(name) and command_id in list(scope.accepted)[-self.limits.command_ids :]
        )

    def _now(self) -> int:
        return max(self.driver.clock.now(), self.driver.state.at)

    def _accepted(self) -> list[tuple[str, str]]:
        return [(name, one) for name, scope in self.scopes.items() for one in scope.accepted]

    @precondition(lambda self: self._accepted())
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """What was accepted and is still remembered gets the same answer, and happens no second time."""
        name, command_id = data.draw(st.sampled_from(self._accepted()))
        command, ack, _ = self.scopes[name].accepted[command_id]
        if self._is_remembered(name, command_id):
            decision = self.driver.execute(command, Caller(name))
            assert decision.reply == ack
            assert decision.records == ()
        elif self.driver.state.memories.get(name, command_id) is None:
            self.tell(command, Caller(name))

    @precondition(lambda self: self._accepted())
    @rule(data=st.data())
    def reuse_an_id(self, data: st.DataObject) -> None:
        """An id that names a command names no other, of another type or with other content."""
        name, command_id = data.draw(st.sampled_from(self._accepted()))
        command = self.scopes[name].accepted[command_id][0]
        other: ClientCommand = Say(command_id, "something that nobody ever said")
        if isinstance(command, Say):
            other = Say(command_id, f"{command.text} too", command.nickname)
        if self._is_remembered(name, command_id):
            assert _code(self.tell(other, Caller(name))) == Code.ID_REUSED

    @invariant()
    def what_is_promised_is_remembered(self) -> None:
        """The server knows every command that the limits say it knows, and its answer."""
        for name, command_id in self._accepted():
            if self._is_remembered(name, command_id):
                known = self.driver.state.memories.get(name, command_id)
                assert known is not None
                assert known.ack == self.scopes[name].accepted[command_id][1]

    # -- what the server does

    @precondition(lambda self: self.driver.state.operations)
    @rule()
    def finish(self) -> None:
        """The provider has done what it was asked for first."""
        (operation,) = self.driver.state.operations.oldest()
        assert len(self.driver.execute(Report(operation)).records) == 1

    @precondition(lambda self: self.driver.began)
    @rule(data=st.data(), reason=st.sampled_from(["", "no_space\x00", "x" * 500]))
    def report(self, data: st.DataObject, reason: str) -> None:
        """A provider says that it is done, or not; said again it changes nothing."""
        operation = data.draw(st.sampled_from(sorted(self.driver.began)))
        over = operation in self.driver.ended
        report = Report(operation, reason, "bad: \udcff\x1b" + "y" * 500 if reason else "")
        assert len(self.driver.execute(report).records) == (0 if over else 1)
        assert self.driver.execute(report).records == ()

    @rule(caller=callers, reason=st.sampled_from(["left", "disconnected"]))
    def depart(self, caller: Caller, reason: str) -> None:
        """A participation has no feed any more."""
        held = [key for key, holder in self.holders.items() if holder == caller.scope]
        records = self.driver.execute(Depart(caller.scope, reason)).records
        assert len(records) == len(held)
        for key in held:
            del self.holders[key]
            self._used(self.scopes[caller.scope])

    @rule(seconds=st.sampled_from([0.001, 10, 60, 2_500, 4_000, 10_000]))
    def wait(self, seconds: float) -> None:
        """Time goes by, and what is due is done."""
        self.driver.advance(seconds)
        self.driver.settle()

    @rule(data=st.data())
    def restart(self, data: st.DataObject) -> None:
        """The server starts anew, from any archive and the log after it."""
        self.driver.check_replay(data.draw(st.integers(0, len(self.driver.log))))
        self.driver.reopen()

    @rule(data=st.data(), topics=st.sampled_from([TOPICS, ("chat",), ("instances",)]))
    def follow(self, data: st.DataObject, topics: tuple[str, ...]) -> None:
        """Whoever followed from any point on knows what a newcomer is told."""
        self.driver.check_mirror(data.draw(st.integers(0, len(self.driver.log))), topics)

    # -- what always holds

    @invariant()
    def a_nickname_has_one_holder(self) -> None:
        """The participants are those of the model, each with one nickname."""
        held = self.driver.state.participants.items()
        assert {name.nickname.casefold(): scope for scope, name in held} == self.holders
        assert len(set(self.holders.values())) == len(self.holders)

    @invariant()
    def nothing_outgrows_its_limit(self) -> None:
        """Every table keeps to its limit, and every operation under way has its instance."""
        self.driver.check_bounds()
        self.driver.check_operations()

    @invariant()
    def a_snapshot_is_its_parts(self) -> None:
        """However long the lists are, each frame keeps to the limit and nothing is lost."""
        self.driver.check_snapshot(self.limits.frame)

    def teardown(self) -> None:
        """At the end a restart and a follower from the very beginning agree with what is there."""
        self.driver.check_replay(0)
        self.driver.check_mirror(0)


def _key(nickname: str) -> str:
    return nickname.replace("Ａ", "A").casefold()


def _code(reply: Ack | Refusal) -> str | None:
    return reply.code if isinstance(reply, Refusal) else None
