"""Bugs as people make them, planted one at a time: the simulation has to notice each.

`python -m tests.simulation.mutants` says which world catches which, and by what.
"""

from __future__ import annotations

import re
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec

from cloudchat_core import client_session, feed, nicknames, presence, session
from cloudchat_core.client_session import ClientSession
from cloudchat_core.cursor import Lost, Position, locate, parse_cursor
from cloudchat_core.errors import Code
from cloudchat_core.events import TOPICS
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.memory import Memories
from cloudchat_core.snapshot import archive
from cloudchat_engine import batch, node, upkeep
from cloudchat_engine.operations import Operations
from cloudchat_engine.ports import Erasure
from cloudchat_engine.replica import Replica
from cloudchat_transports import fanout, follower, outgoing, outlet
from cloudchat_transports.testing.simulation.plan import draw
from cloudchat_transports.testing.simulation.world import Outcome, live_through

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet


@dataclass(frozen=True)
class Mutant:
    """A bug: what it is, how it gets in, the promises by which it may be caught, and a seed that is known to catch it
    (where it does not any more, the others are tried).
    """

    name: str
    plant: Callable[[ExitStack], None]
    breaks: AbstractSet[str]
    seed: int = 0

    @property
    def row(self) -> str:
        """Its row in the document."""
        return f"| {self.name} | {', '.join(f'`{each}`' for each in sorted(self.breaks))} |"

    @contextmanager
    def planted(self) -> Iterator[None]:
        with ExitStack() as stack:
            self.plant(stack)
            yield

    def caught(self, seeds: int) -> Outcome | None:
        """Return the first of the default worlds that breaks a promise."""
        with self.planted():
            for seed in (self.seed, *range(seeds)):
                outcome = live_through(draw(seed))
                if outcome.broken:
                    return outcome
        return None


def _swap(stack: ExitStack, where: Any, name: str, other: Any) -> None:
    stack.enter_context(mock.patch.object(where, name, other))


# -- the bugs


def ack_before_commit(stack: ExitStack) -> None:
    append = Replica._append  # noqa: SLF001 - where the bug goes

    async def too_early(self: Replica, waiting: Any) -> Any:
        state = self.state if self._durable is None else self._durable[1].state
        decided = await batch.decide_batch(
            waiting,
            state,
            self._time.now(),
            decider=self._decider,
            log=self._log,
            is_here=self._is_here,
        )
        batch.answer_all(waiting, decided.replies)
        for each in waiting:
            each.answer = each.flush = None
        return await append(self, waiting)

    _swap(stack, Replica, "_append", too_early)


def published_before_commit(stack: ExitStack) -> None:
    commit = Replica.commit

    async def too_early(self: Replica, waiting: Any) -> bool:
        decided = await batch.decide_batch(
            waiting,
            self.state,
            self._time.now(),
            decider=self._decider,
            log=self._log,
            is_here=self._is_here,
        )
        if self._durable is None and decided.stored:
            self._accept(decided)
            self.state = msgspec.structs.replace(
                self.state, offset=self.state.offset - len(decided.stored)
            )
        return await commit(self, waiting)

    _swap(stack, Replica, "commit", too_early)


def event_skipped_on_resume(stack: ExitStack) -> None:
    def one_too_far(text: str, epochs: Any, first: int, head: int) -> Any:
        place = locate(text, epochs, first, head)
        if isinstance(place, Position) and place.offset < head:
            return Position(place.offset + 1)
        return place

    _swap(stack, session, "locate", one_too_far)


def epoch_ignored(stack: ExitStack) -> None:
    def by_number(text: str, epochs: Any, first: int, head: int) -> Any:
        place, parsed = locate(text, epochs, first, head), parse_cursor(text)
        if isinstance(place, Lost) and parsed is not None and first - 1 <= parsed[1]:
            return Position(min(parsed[1], head))
        return place

    _swap(stack, session, "locate", by_number)


def memory_dropped_on_snapshot(stack: ExitStack) -> None:
    def forgetful(state: Any) -> bytes:
        return archive(msgspec.structs.replace(state, memories=Memories()))

    _swap(stack, upkeep, "archive", forgetful)


def grace_not_cancelled(stack: ExitStack) -> None:
    opened = presence.Presence.opened

    def timer_runs_on(self: Any, scope: str, feed: str) -> str | None:
        until = self._until.get(scope)
        ending = self._ending.get(scope, "lost")
        too_many = opened(self, scope, feed)
        if until is not None:
            self._until[scope], self._ending[scope] = until, ending
        return too_many

    _swap(stack, presence.Presence, "opened", timer_runs_on)


def frame_split_by_an_answer(stack: ExitStack) -> None:
    enqueue = outlet.Outlet._enqueue  # noqa: SLF001 - where the bug goes

    def first(self: outlet.Outlet, data: Any, done: Any) -> None:
        if self._rest and done is None:
            self._direct -= len(data) + outgoing.PIECE
            self._rest = bytes(data) + bytes(self._rest)
        else:
            enqueue(self, data, done)

    _swap(stack, outlet.Outlet, "_enqueue", first)


def rest_of_a_cut_frame_dropped(stack: ExitStack) -> None:
    cut = outlet.Outlet.cut

    def careless(self: outlet.Outlet, written: int) -> None:
        cut(self, written)
        self._rest = b""

    _swap(stack, outlet.Outlet, "cut", careless)


def unknown_told_as_refused(stack: ExitStack) -> None:
    def final(waiting: Any, detail: str) -> None:
        batch.answer_all(
            waiting, [batch.refusal(each.command, Code.FORBIDDEN, detail) for each in waiting]
        )

    _swap(stack, node, "refuse_all", final)


def operation_driven_twice(stack: ExitStack) -> None:
    reconcile = Operations.reconcile

    def twice(self: Operations, state: Any, changed: Any, tasks: Any) -> None:
        reconcile(self, state, changed, tasks)
        if isinstance(changed, list) and set(changed) == set(state.operations):  # after a crash
            self._running.clear()
            reconcile(self, state, changed, tasks)

    _swap(stack, Operations, "reconcile", twice)


def gap_not_said(stack: ExitStack) -> None:
    def silent(*args: Any, **kwargs: Any) -> session.Beginning:
        return msgspec.structs.replace(session.begin(*args, **kwargs), gap=None)

    _swap(stack, node, "begin", silent)


def new_id_when_sent_again(stack: ExitStack) -> None:
    transmit, receive = ClientSession.transmit, ClientSession.receive

    def renamed(self: ClientSession) -> list[bytes]:
        again = set(self._ever)
        frames = []
        for frame in transmit(self):
            name = re.search(rb'"id":"([^"]+)"', frame)
            assert name is not None
            old = name[1].decode()
            new = f"{old}.{len(again)}.{id(self) % 7}" if old in again else old
            frames.append(frame.replace(f'"id":"{old}"'.encode(), f'"id":"{new}"'.encode(), 1))
        return frames

    def known(self: ClientSession, frame: Any) -> Any:
        if isinstance(frame, (Ack, Refusal)) and frame.id:
            frame = msgspec.structs.replace(frame, id=frame.id.partition(".")[0])
        return receive(self, frame)

    _swap(stack, ClientSession, "transmit", renamed)
    _swap(stack, ClientSession, "receive", known)


def nickname_of_somebody_else(stack: ExitStack) -> None:
    check = nicknames.Registry.check

    def anyone(
        self: nicknames.Registry, raw: str, token_hash: str | None = None, **limits: Any
    ) -> Any:
        return check(nicknames.Registry(), raw, token_hash, **limits)

    _swap(stack, nicknames.Registry, "check", anyone)


def stale_events_folded_again(stack: ExitStack) -> None:
    def never(self: ClientSession, frame: Any) -> bool:
        return False

    _swap(stack, client_session.ClientSession, "is_stale", never)


def uncertain_append_taken_for_lost(stack: ExitStack) -> None:
    async def goes_on(self: Replica) -> None:
        opened = await self._log.reopen()
        self.state = msgspec.structs.replace(self.state, offset=opened.head)
        self.uncertain = False

    _swap(stack, Replica, "recover", goes_on)


def text_not_erased(stack: ExitStack) -> None:
    def nothing(self: Any, event: Any) -> Any:
        return Erasure(0, b"")

    _swap(stack, batch._Targets, "erase", nothing)  # noqa: SLF001 - where the bug goes


def topics_ignored(stack: ExitStack) -> None:
    """In what is read from the log for those who are behind."""
    read_page = follower.read_page

    async def all_of_it(node: Any, framing: Any, topics: Any, after: int) -> Any:
        return await read_page(node, framing, frozenset(TOPICS), after)

    _swap(stack, follower, "read_page", all_of_it)
    _swap(stack, fanout, "read_page", all_of_it)


def one_view_for_all_topics(stack: ExitStack) -> None:
    view = feed.Feed.view

    def shared(self: feed.Feed, framing: Any, topics: Any) -> feed.View:
        made = (each for (known, _), each in self._views.items() if known is framing)
        return next(made, None) or view(self, framing, topics)

    _swap(stack, feed.Feed, "view", shared)


def text_kept_in_the_window(stack: ExitStack) -> None:
    def nothing(self: feed.Feed, offset: int, payload: bytes) -> None:
        pass

    _swap(stack, feed.Feed, "redact", nothing)


def comes_back_after_a_leave(stack: ExitStack) -> None:
    leave = ClientSession._leave  # noqa: SLF001 - where the bug goes

    def keeps_the_name(self: ClientSession, command: Any, reply: Any) -> Any:
        nickname = self.nickname
        outcomes = leave(self, command, reply)
        self.nickname = nickname
        return outcomes

    _swap(stack, ClientSession, "_leave", keeps_the_name)


MUTANTS = [
    Mutant("an answer before the append is durable", ack_before_commit, {"durable"}),
    Mutant("events published before the append is durable", published_before_commit, {"durable"}),
    Mutant("an event skipped when a feed resumes", event_skipped_on_resume, {"lost"}, seed=6),
    Mutant(
        "the epoch of a cursor ignored",
        epoch_ignored,
        {"converge", "folded", "lost", "order"},
        seed=0,
    ),
    Mutant(
        "the memory of commands left out of snapshots",
        memory_dropped_on_snapshot,
        {"replay", "once"},
        seed=3,
    ),
    Mutant("the grace of who comes back runs on", grace_not_cancelled, {"present"}, seed=3),
    Mutant(
        "an answer in the middle of a frame that was cut",
        frame_split_by_an_answer,
        {"frames"},
        seed=28,
    ),
    Mutant(
        "the rest of a frame that was cut thrown away",
        rest_of_a_cut_frame_dropped,
        {"frames"},
        seed=3,
    ),
    Mutant(
        "an append of unknown outcome taken for lost",
        uncertain_append_taken_for_lost,
        {"lost", "replay", "durable"},
        seed=7,
    ),
    Mutant(
        "a command of unknown outcome told as refused",
        unknown_told_as_refused,
        {"once", "refusal"},
        seed=5,
    ),
    Mutant(
        "an operation taken up twice after a crash", operation_driven_twice, {"operations"}, seed=1
    ),
    Mutant("a text taken back that stays on the disk", text_not_erased, {"erased"}, seed=5),
    Mutant("a gap that is not said", gap_not_said, {"gap not said"}, seed=0),
    Mutant("another command id when sent again", new_id_when_sent_again, {"once", "kept"}, seed=3),
    Mutant("a nickname given to a second holder", nickname_of_somebody_else, {"holder"}, seed=3),
    Mutant(
        "events that overlap when a client moves told twice",
        stale_events_folded_again,
        {"order"},
        seed=322,
    ),
    Mutant("topics ignored where a feed is read from the log", topics_ignored, {"topics"}),
    Mutant(
        "frames of one set of topics given to another",
        one_view_for_all_topics,
        {"topics", "lost", "converge"},
    ),
    Mutant(
        "a text taken back that stays in the window", text_kept_in_the_window, {"erased"}, seed=1189
    ),
    Mutant(
        "a client that has left joins when it comes back",
        comes_back_after_a_leave,
        {"gone"},
    ),
]


if __name__ == "__main__":
    for mutant in MUTANTS:
        found = mutant.caught(300)
        caught_by = f"seed {found.plan.seed}, {found.broken}: {found.detail[:150]}" if found else ""
        print(f"{mutant.name}: {caught_by or 'NOT CAUGHT'}", flush=True)  # noqa: T201
