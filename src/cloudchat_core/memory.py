"""The memory of accepted commands: what makes "sent again" happen once.

A scope is a participation token's hash, or empty for all callers without one. Within it an id names one command: sent
again with the same content it gets the same answer. Bounded by count (the record that takes the last place names who
goes) and by age (a `forgotten` record says up to when).
"""

from collections.abc import Callable

import msgspec
from immutables import Map
from msgspec import UNSET

from cloudchat_core.clock import SECOND
from cloudchat_core.events import Forgotten, Memory
from cloudchat_core.frames import Ack
from cloudchat_core.history import OrderedMap
from cloudchat_core.limits import Limits

SHARED = ""
"""The scope of callers without a token."""

SLACK = 3_600 * SECOND
"""What is due to be forgotten may wait this long (ms), so that one record forgets many."""


class Remembered(msgspec.Struct, frozen=True, gc=False):
    """One accepted command: the hash of its content, its answer, and when (ms) it was accepted."""

    content: str
    ack: Ack
    at: int


class Scope(msgspec.Struct, frozen=True, gc=False):
    """The commands of one token, oldest first, and when (ms) the last one was accepted."""

    commands: OrderedMap[str, Remembered]
    last: int


class Memories(msgspec.Struct, frozen=True):
    """All scopes; of the tokens' that age, none has been doing so since before `since` (ms; 0: none ages).

    Who is present does not age.
    """

    scopes: Map[str, Scope] = Map()
    since: int = 0

    def get(self, scope: str, command_id: str) -> Remembered | None:
        """Return what is remembered of a command."""
        known = self.scopes.get(scope)
        return None if known is None else known.commands.get(command_id)

    def newest_join(self, scope: str) -> str | None:
        """Return the id of the last `join` of `scope`, as long as it is remembered."""
        known = self.scopes.get(scope)
        commands = () if known is None else reversed(known.commands.items())
        return next((name for name, each in commands if each.ack.resumed is not UNSET), None)

    def room(
        self, scope: str, limits: Limits, present: Callable[[str], bool]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the ids and the scopes that have to go before `scope` may remember one more command.

        Scopes that are `present` in the chat stay.
        """
        known = self.scopes.get(scope)
        if known is not None:
            full = scope != SHARED and len(known.commands) >= limits.command_ids
            return (
                known.commands.oldest(len(known.commands) - limits.command_ids + 1) if full else ()
            ), ()
        if len(self.scopes) < limits.tokens:
            return (), ()
        # Rare, and a hundredth at once, so that looking through all of them costs little per command.
        by_age = sorted(
            (held.last, name)
            for name, held in self.scopes.items()
            if name != SHARED and not present(name)
        )
        return (), tuple(name for _, name in by_age[: max(1, limits.tokens // 100)])

    def remember(self, memory: Memory, ack: Ack, at: int) -> "Memories":
        """Return a copy that knows one more command."""
        scopes = self.scopes
        for name in memory.forget_scopes:
            if name in scopes:
                scopes = scopes.delete(name)
        known = scopes.get(memory.scope)
        commands = OrderedMap[str, Remembered]() if known is None else known.commands
        remembered = Remembered(memory.content, ack, at)
        commands = commands.set(memory.id, remembered, memory.forget)
        since = self.since if memory.scope == SHARED else self.since or at
        return Memories(scopes.set(memory.scope, Scope(commands, at)), since)

    def touch(self, scope: str, at: int) -> "Memories":
        """Return a copy in which the memory of `scope` begins to age at `at`: it was present until now."""
        known = self.scopes.get(scope)
        return (
            self
            if known is None
            else Memories(self.scopes.set(scope, Scope(known.commands, at)), self.since or at)
        )

    def forget(self, what: Forgotten, present: Callable[[str], bool]) -> "Memories":
        """Return a copy without what is too old; scopes that are `present` in the chat stay."""
        kept = self.scopes.mutate()
        for name, scope in self.scopes.items():
            if name == SHARED:
                commands = scope.commands
                for command_id, remembered in commands.items():
                    if remembered.at > what.shared_before:
                        break
                    commands = commands.delete(command_id)
                if not commands:
                    del kept[name]
                elif commands is not scope.commands:
                    kept[name] = Scope(commands, scope.last)
            elif scope.last <= what.tokens_before and not present(name):
                del kept[name]
        scopes = kept.finish()
        aging = (s.last for name, s in scopes.items() if name != SHARED and not present(name))
        return Memories(scopes, min(aging, default=0))

    def deadline(self, limits: Limits) -> int | None:
        """Return when (ms) something is next due to be forgotten."""
        due = [self.since + round(limits.token_memory * SECOND)] if self.since else []
        shared = self.scopes.get(SHARED)
        oldest = None if shared is None else shared.commands.first()
        if oldest is not None:
            due.append(oldest.at + round(limits.shared_memory * SECOND))
        return min(due) + SLACK if due else None
