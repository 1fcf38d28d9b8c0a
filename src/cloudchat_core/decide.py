"""`decide`: what a command does to a workspace, as records, or why it is refused. Pure, and the only place of rules.

A decision changes nothing by itself; `evolve` applies its records once the log has them. Everything that needs looking
up (nickname keys, ids, deadlines, who has to make room) is looked up here and written into the records.
"""

import re
from collections.abc import Callable
from typing import Final

import msgspec

from cloudchat_core.clock import SECOND
from cloudchat_core.codec import content_hash, encode, valid_command_id
from cloudchat_core.commands import (
    NOBODY,
    Away,
    Caller,
    ClientCommand,
    Create,
    Depart,
    Join,
    Leave,
    Open,
    Ping,
    Redact,
    Remove,
    Report,
    Say,
    ServerCommand,
    Start,
    Stop,
    Tick,
)
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.draft import Decision, Draft
from cloudchat_core.errors import Code
from cloudchat_core.events import (
    Created,
    Failed,
    Forgotten,
    Joined,
    Left,
    Message,
    Opened,
    Private,
    Received,
    Redacted,
    Removed,
    Started,
    Stopped,
)
from cloudchat_core.frames import Ack, Refusal, Reply
from cloudchat_core.instances import TRANSITIONS, Instance, Operation, allowed
from cloudchat_core.limits import Limits
from cloudchat_core.memory import SHARED
from cloudchat_core.nicknames import NicknameProblem, suggestions
from cloudchat_core.workspace import Authored, Workspace

RememberedCommand = Join | Leave | Say | Redact | Create | Start | Stop | Remove
"""Every client command but those that change nothing: `ping` and `away`."""

_OUTCOMES: Final[dict[str, type[Created | Started | Stopped | Removed]]] = {
    "created": Created,
    "started": Started,
    "stopped": Stopped,
    "removed": Removed,
}
_TICK: Final = 100  # operations that one tick ends at most; the next tick is due at once
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Decider(msgspec.Struct, frozen=True):
    """The rules, with what they need from outside.

    `new_id` makes the ids of instances and operations (UUIDs); `expected` says how long a command takes (seconds, None
    where nobody can say).
    """

    limits: Limits
    new_id: Callable[[], str]
    expected: Callable[[str], float | None]

    def decide(
        self,
        state: Workspace,
        command: ClientCommand | ServerCommand,
        now: int,
        caller: Caller = NOBODY,
        found: Authored | None = None,
    ) -> Decision:
        """Return what `command` of `caller` does to `state` at `now` (ms since the epoch).

        `found` is the message that a `redact` names, where it is older than those the workspace holds.
        """
        draft = Draft(self.limits, state, max(now, state.at))
        match command:
            case Open() | Depart() | Report() | Tick():
                self._serve(draft, command)
                return Decision(tuple(draft.records))
            case Ping():
                return Decision(reply=Ack(command.id, state.cursor))
            case Away():
                return Decision(reply=self._away(state, command, caller))
        if command.id and not valid_command_id(command.id):
            return _refuse(command, Code.BAD_COMMAND, "the `id` is 1 to 64 of A-Z a-z 0-9 . _ : -")
        content, remembered = "", command.id
        if caller.scope == SHARED and not _UUID.match(command.id):
            # All callers without a token share their ids: one that is not unique says nothing.
            remembered = ""
        if remembered:
            content = caller.content or content_hash(command)
            known = state.memories.get(caller.scope, command.id)
            if known is not None:
                if known.content == content:
                    return Decision(reply=known.ack)
                return _refuse(
                    command,
                    Code.ID_REUSED,
                    "this id was used before, for a command with other content",
                )
            shared = state.memories.scopes.get(SHARED) if caller.scope == SHARED else None
            if shared is not None and len(shared.commands) >= self.limits.shared_ids:
                return _refuse(
                    command,
                    Code.QUOTA_EXCEEDED,
                    "too many commands without a token are remembered today",
                )
        answer = self._answer(draft, command, caller, found)
        if isinstance(answer, Refusal):
            return Decision(reply=answer)
        return draft.finish(caller.scope, remembered, content, answer)

    def _answer(
        self, draft: Draft, command: RememberedCommand, caller: Caller, found: Authored | None
    ) -> Reply:
        """Draft the records of a client's command and return its answer."""
        match command:
            case Join():
                return self._join(draft, command, caller)
            case Leave():
                return self._leave(draft, command, caller)
            case Say():
                return self._say(draft, command, caller)
            case Redact():
                return self._redact(draft, command, caller, found)
            case Create():
                return self._create(draft, command, caller)
            case _:
                return self._operate(draft, command, caller)

    # -- the chat

    def _join(self, draft: Draft, command: Join, caller: Caller) -> Reply:
        state, scope = draft.state, caller.scope
        if scope == SHARED:
            return _refusal(
                command, Code.BAD_COMMAND, "a join needs a `token`: 22 to 128 of A-Z a-z 0-9 _ -"
            )
        checked = state.participants.check(command.nickname, scope, limits=self.limits)
        if isinstance(checked, NicknameProblem):
            return self._refuse_nickname(state, command, command.nickname, checked)
        resumed = scope in state.memories.scopes
        held = state.participants.participation(scope)
        if held is not None and held.key == checked.key:
            return Ack(command.id, "", held.nickname, resumed)
        if held is not None:
            draft.add(Left, Private(holder=scope), nickname=held.nickname, reason="left")
        elif len(state.participants) >= self.limits.participants:
            return _refusal(
                command,
                Code.QUOTA_EXCEEDED,
                f"the chat is full: {self.limits.participants} participants",
            )
        draft.add(Joined, Private(holder=scope, key=checked.key), nickname=checked.display)
        return Ack(command.id, "", checked.display, resumed)

    def _refuse_nickname(
        self, state: Workspace, command: Join | Say, nickname: str, problem: NicknameProblem
    ) -> Refusal:
        others = suggestions(nickname, state.participants.is_taken, limits=self.limits)
        return Refusal(command.id, problem.code, problem.detail, suggestions=others)

    def _leave(self, draft: Draft, command: Leave, caller: Caller) -> Reply:
        held = draft.state.participants.participation(caller.scope)
        if held is None:
            return _refusal(command, Code.NOT_JOINED, "you have not joined")
        draft.add(Left, Private(holder=caller.scope), nickname=held.nickname, reason="left")
        return Ack(command.id, "")

    def _away(self, state: Workspace, command: Away, caller: Caller) -> Reply:
        """Whose feeds end is the node's matter; here is decided whether that join is the one that counts."""
        if not state.present(caller.scope):
            return _refusal(command, Code.NOT_JOINED, "you have not joined")
        if state.memories.newest_join(caller.scope) not in {None, command.join}:
            # The page was loaded again before its goodbye arrived: who is here now stays. (None: so much was said since
            # that the join is not remembered; then there was no other.)
            return _refusal(
                command, Code.NOT_JOINED, "another join has taken the place of that one"
            )
        return Ack(command.id, state.cursor)

    def _say(self, draft: Draft, command: Say, caller: Caller) -> Reply:
        nickname = draft.state.participants.nickname_of(caller.scope)
        if caller.scope == SHARED or (command.nickname is None and nickname is None):
            return _refusal(
                command, Code.NOT_JOINED, "join first, or say with a token and a `nickname`"
            )
        if command.nickname is not None:
            checked = draft.state.participants.check(
                command.nickname, caller.scope, limits=self.limits
            )
            if isinstance(checked, NicknameProblem):
                return self._refuse_nickname(draft.state, command, command.nickname, checked)
            held = draft.state.participants.participation(caller.scope)
            same = held is not None and held.key == checked.key
            nickname = nickname if same else checked.display
        text = command.text.strip()
        if not 1 <= len(text) <= self.limits.text:
            return _refusal(
                command,
                Code.TEXT_INVALID,
                f"a text has 1 to {self.limits.text} characters, this one {len(text)}",
            )
        if not text.isprintable() and _CONTROL.search(
            text
        ):  # most are, and that is seen in no time
            return _refusal(
                command, Code.TEXT_INVALID, "a text has no control characters but newline and tab"
            )
        draft.add(
            Message, Private(holder=caller.scope), nickname=nickname, text=text, ref=command.id
        )
        return Ack(command.id, "")

    def _redact(
        self, draft: Draft, command: Redact, caller: Caller, found: Authored | None
    ) -> Reply:
        state = draft.state
        nickname = state.participants.nickname_of(caller.scope)
        if nickname is None:
            return _refusal(command, Code.NOT_JOINED, "only who has joined can take a message back")
        parsed = parse_cursor(command.message)
        target = (None if parsed is None else state.messages.get(parsed[1])) or found
        if target is None or target.message.cursor != command.message:
            return _refusal(command, Code.MESSAGE_UNKNOWN, "there is no message at this cursor")
        if target.author != caller.scope:
            return _refusal(command, Code.FORBIDDEN, "only one's own message can be taken back")
        if not target.message.redacted:
            draft.add(Redacted, Private(holder=caller.scope), message=command.message, by=nickname)
        return Ack(command.id, "")

    # -- the instances

    def _create(self, draft: Draft, command: Create, caller: Caller) -> Reply:
        name = command.name
        if name is not None and (
            not 1 <= len(name) <= self.limits.name or not name.isprintable() or name != name.strip()
        ):
            return _refusal(
                command,
                Code.BAD_COMMAND,
                f"a name has 1 to {self.limits.name} printable characters",
            )
        if command.spec is not None and len(encode(command.spec)) > self.limits.frame:
            return _refusal(
                command, Code.TOO_LARGE, f"a spec takes at most {self.limits.frame} bytes"
            )
        if len(draft.state.instances) >= self.limits.instances:
            return _refusal(
                command, Code.QUOTA_EXCEEDED, f"there are {self.limits.instances} instances already"
            )
        return self._begin(draft, command, Instance(self.new_id(), name=name), caller)

    def _operate(self, draft: Draft, command: Start | Stop | Remove, caller: Caller) -> Reply:
        verb = str(command.__struct_config__.tag)
        instance = draft.state.instances.get(command.instance)
        if instance is None:
            return _refusal(command, Code.INSTANCE_UNKNOWN, "there is no instance with this id")
        operation = draft.state.operation_of(instance)
        if operation is not None:
            detail = f"a {operation.command} of this instance is under way"
            return Refusal(command.id, Code.INSTANCE_BUSY, detail, operation=operation.ref())
        if not allowed(instance.state, verb):
            return _refusal(
                command, Code.INSTANCE_STATE, f"this instance is {instance.state}: it cannot {verb}"
            )
        return self._begin(draft, command, instance, caller)

    def _begin(
        self,
        draft: Draft,
        command: Create | Start | Stop | Remove,
        instance: Instance,
        caller: Caller,
    ) -> Reply:
        verb = str(command.__struct_config__.tag)
        spec = command.spec if isinstance(command, Create) else None
        now, takes = draft.now, self.expected(verb)
        expected = 0 if takes is None else now + round(takes * SECOND)
        # Deadlines rise in the order of acceptance, so that the oldest operation always has the nearest one.
        newest = draft.state.operations.last()
        deadline = (expected or now) + round(self.limits.operation_time * SECOND)
        deadline = max(deadline, 0 if newest is None else newest.deadline)
        operation = Operation(
            self.new_id(), verb, instance.id, self._by(draft.state, caller), now, deadline, expected
        )
        ref = operation.ref()
        view = instance.view()
        draft.add(
            Received,
            Private(deadline=deadline, expected=expected, spec=spec),
            command=verb,
            instance=view,
            operation=ref,
            by=operation.by,
            expected=ref.expected,
        )
        return Ack(command.id, "", operation=ref, instance=view)

    def _by(self, state: Workspace, caller: Caller) -> str | None:
        return state.participants.nickname_of(caller.scope) or caller.identity

    # -- what the server asks of itself

    def _serve(self, draft: Draft, command: ServerCommand) -> None:
        state, now = draft.state, draft.now
        match command:
            case Open():
                draft.epoch = command.epoch
                draft.add(Opened, Private(), epoch=command.epoch)
            case Depart():
                held = state.participants.participation(command.scope)
                if held is not None:
                    draft.add(
                        Left,
                        Private(holder=command.scope),
                        nickname=held.nickname,
                        reason=command.reason,
                    )
            case Report():
                operation = state.operations.get(command.operation)
                if operation is not None:
                    self._end(draft, operation, command.reason, command.detail)
            case _:
                self._tick(draft, now)

    def _tick(self, draft: Draft, now: int) -> None:
        state = draft.state
        for operation in map(state.operations.get, state.operations.oldest(_TICK)):
            if operation is None or operation.deadline > now:
                break
            self._end(draft, operation, "timeout", "the provider did not finish in time")
        due = state.memories.deadline(self.limits)
        if due is not None and due <= now:
            tokens = now - round(self.limits.token_memory * SECOND)
            shared = now - round(self.limits.shared_memory * SECOND)
            draft.add(Forgotten, Private(), tokens_before=tokens, shared_before=shared)

    def _end(self, draft: Draft, operation: Operation, reason: str, detail: str) -> None:
        instance = draft.state.instances.get(operation.instance) or Instance(operation.instance)
        told = {"operation": operation.ref(), "by": operation.by}
        private = Private(forget_operations=draft.room_for(operation.id))
        if reason:
            clean = {
                "reason": _clean(reason, self.limits.name),
                "detail": _clean(detail, self.limits.text),
            }
            draft.add(
                Failed,
                private,
                instance=instance.view(),
                command=operation.command,
                **told,
                **clean,
            )
            return
        after, kind = TRANSITIONS[instance.state, operation.command]
        created_at = draft.at if kind == "created" else instance.created_at
        moved = msgspec.structs.replace(instance, state=after, created_at=created_at)
        draft.add(_OUTCOMES[kind], private, instance=moved.view(), **told)


def _refusal(command: ClientCommand, code: Code, detail: str) -> Refusal:
    return Refusal(command.id, code, detail)


def _refuse(command: ClientCommand, code: Code, detail: str) -> Decision:
    return Decision(reply=_refusal(command, code, detail))


def _clean(words: str, most: int) -> str:
    """Return a provider's words as a frame can hold them: it may pass on what some program printed."""
    return _CONTROL.sub(" ", words[:most]).encode(errors="replace").decode()


def next_deadline(state: Workspace, limits: Limits) -> int | None:
    """Return when (ms since the epoch) a `Tick` is due: an operation's deadline or the memory's; None: never."""
    first = state.operations.first()
    due = (state.memories.deadline(limits), None if first is None else first.deadline)
    return min((moment for moment in due if moment is not None), default=None)
