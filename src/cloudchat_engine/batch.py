"""One batch: commands decided each on top of the one before, into one append."""

import logging
from collections.abc import Callable, Iterable, Sequence

import anyio.lowlevel
import msgspec

from cloudchat_core.codec import StoredRecord, encode, load, store
from cloudchat_core.commands import (
    NOBODY,
    Caller,
    ClientCommand,
    Depart,
    Join,
    Redact,
    ServerCommand,
)
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.decide import Decider
from cloudchat_core.errors import Code
from cloudchat_core.events import Message, Record, Redacted
from cloudchat_core.frames import Ack, Refusal, Reply
from cloudchat_core.workspace import Authored, Workspace, evolve, redact_message
from cloudchat_engine.ports import Erasure, Log, LogDamagedError, LogError

logger = logging.getLogger(__name__)

Answer = Callable[[Reply], None]
"""Told the outcome of a command, once."""

Flush = Callable[[], None]
"""Called once behind the answers to all commands that came with it, where several are told at the same time."""

DONE = Ack("", "")
"""What the server's own commands are answered with when they are decided; nobody else sees it."""


SLICE = 200
"""Commands decided between two checkpoints: about 5 ms in which nothing else runs."""


class Waiting:
    """A command in the queue, and whom to tell."""

    __slots__ = ("answer", "caller", "command", "flush")

    def __init__(
        self,
        command: ClientCommand | ServerCommand,
        caller: Caller = NOBODY,
        answer: Answer | None = None,
        flush: Flush | None = None,
    ) -> None:
        self.command, self.caller, self.answer, self.flush = command, caller, answer, flush


def answer_all(batch: Sequence[Waiting], replies: Iterable[Reply]) -> None:
    """Tell each its outcome; to be called once for a command."""
    flushes: dict[Flush, None] = {}
    for waiting, reply in zip(batch, replies, strict=True):
        if waiting.answer is not None:
            try:
                waiting.answer(reply)
            except Exception:  # one who cannot be told does not keep the others from being told
                logger.exception("an answer could not be delivered")
        if waiting.flush is not None:
            flushes[waiting.flush] = None
    for flush in flushes:
        try:
            flush()
        except Exception:  # likewise
            logger.exception("answers could not be delivered")


def refuse_all(batch: Sequence[Waiting], detail: str) -> None:
    """Say that it did not happen, or that nobody knows: the same ids may be sent again."""
    answer_all(batch, [refusal(each.command, Code.UNAVAILABLE, detail) for each in batch])


class Decided(msgspec.Struct, frozen=True):
    """What a batch amounts to: the state after it, what to append and erase, each command's reply, and who joined."""

    state: Workspace
    records: list[Record]
    stored: list[StoredRecord]
    erased: list[Erasure]
    replies: list[Reply]
    joined: set[str]


def refusal(command: ClientCommand | ServerCommand, code: Code, detail: str) -> Refusal:
    """Refuse any command, the server's own (which have no id) included."""
    return Refusal(getattr(command, "id", None), code, detail)


async def decide_batch(
    batch: Sequence[Waiting],
    state: Workspace,
    now: int,
    *,
    decider: Decider,
    log: Log,
    is_here: Callable[[str], bool],
) -> Decided:
    """Decide `batch` on top of `state`; nothing is appended. Who `is_here` does not depart any more."""
    targets = _Targets(log, state.offset)
    decided = Decided(state, [], [], [], [], set())
    for number, waiting in enumerate(batch, 1):
        if number % SLICE == 0:
            await anyio.lowlevel.checkpoint()
        command, scope = waiting.command, waiting.caller.scope
        if isinstance(command, Depart) and (
            command.scope in decided.joined or is_here(command.scope)
        ):
            decided.replies.append(DONE)
            continue
        evolved, stored, erased = state, list[StoredRecord](), list[Erasure]()
        try:
            found = await targets.find(command, state) if isinstance(command, Redact) else None
            decision = decider.decide(state, command, now, waiting.caller, found)
            for record in decision.records:
                evolved = evolve(evolved, record)
                stored.append(store(record))
                if isinstance(record.event, Redacted):
                    erased.append(targets.erase(record.event))
        except LogError as error:
            decided.replies.append(refusal(command, Code.UNAVAILABLE, str(error)))
            continue
        except Exception:  # a bug of ours costs one command, not the server
            logger.exception("a command could not be decided")
            detail = "the server failed to decide this"
            decided.replies.append(refusal(command, Code.INTERNAL, detail))
            continue
        state = evolved
        decided.records.extend(decision.records)
        decided.stored.extend(stored)
        decided.erased.extend(erased)
        decided.replies.append(decision.reply or DONE)
        if isinstance(command, Join) and isinstance(decision.reply, Ack):
            decided.joined.add(scope)
    return msgspec.structs.replace(decided, state=state)


class _Targets:
    """The messages that redactions of one batch name; those older than the workspace's come from the log."""

    def __init__(self, log: Log, head: int) -> None:
        self._log, self._head = log, head
        self._found: dict[int, Authored] = {}

    async def find(self, command: Redact, state: Workspace) -> Authored | None:
        parsed = parse_cursor(command.message)
        if parsed is None:
            return None
        offset = parsed[1]
        known = state.messages.get(offset) or self._found.get(offset)
        if known is None and 0 < offset <= self._head:
            known = await self._look_up(offset)
        if known is not None:
            self._found[offset] = known
        return known

    async def _look_up(self, offset: int) -> Authored | None:
        try:
            page = await self._log.read(offset - 1, 1)
        except LogDamagedError:
            logger.exception("a message cannot be taken back")
            return None
        if not page or page[0].offset != offset:
            return None
        record = load(page[0])
        if not isinstance(record.event, Message):
            return None
        return Authored(record.event, record.private.holder)

    def erase(self, event: Redacted) -> Erasure:
        offset = int(event.message.rpartition("-")[2])
        known = self._found[offset]
        self._found[offset] = Authored(redact_message(known.message), known.author)
        return Erasure(offset, encode(self._found[offset].message))
