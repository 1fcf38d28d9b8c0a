"""Who is connected: which feeds each participation has, and until when it may be without one.

Not in the log, because connections are not facts about the workspace; a restart gives everybody one fresh grace. The
node asks `due` for who has been away too long and issues the `left` for them as an ordinary command.
Moments are milliseconds since the epoch. The caller tells what happened; nothing here reads a clock.
"""

from collections.abc import Iterable
from typing import Final, Literal

from cloudchat_core.clock import SECOND

Ending = Literal["left", "away", "lost"]
"""How a feed ended: closed for good (WebSocket 1000), a page that went away (1001), or lost."""

AWAY: Final = 2 * SECOND
"""Longest grace (ms) after a page went away: long enough for a reload."""

JOIN_HOLD: Final = 15 * SECOND
"""How long (ms) a `join` by POST counts as an open feed, at least."""

POLL_HOLD: Final = 5 * SECOND
"""How long (ms) a poll counts as open after its answer, at least."""


class Presence:
    """Feeds per participation (its token's hash), and the deadlines of those that have none.

    `grace` (ms) is how long a participation stays without a feed after a loss.
    """

    def __init__(self, grace: int, feeds: int) -> None:
        """Allow each participation `feeds` open feeds."""
        self._grace = grace
        self._limit = feeds
        self._feeds: dict[str, dict[str, None]] = {}
        self._until: dict[str, int] = {}
        self._ending: dict[str, Ending] = {}
        self._held: dict[str, int] = {}
        self._away: set[str] = set()

    def opened(self, scope: str, feed: str) -> str | None:
        """A feed of the participation is open. Returns the feed that has to end for it: the oldest of too many."""
        feeds = self._feeds.setdefault(scope, {})
        feeds[feed] = None
        self._until.pop(scope, None)
        self._ending.pop(scope, None)
        if len(feeds) <= self._limit:
            return None
        oldest = next(iter(feeds))
        del feeds[oldest]
        return oldest

    def closed(self, scope: str, feed: str, ending: Ending, now: int) -> None:
        """A feed of the participation has ended; where it was the last one, its time begins to run."""
        feeds = self._feeds.get(scope)
        if feeds is None or feed not in feeds:
            return
        del feeds[feed]
        if feeds:
            return
        del self._feeds[scope]
        wait = {"left": 0, "away": min(self._grace, AWAY), "lost": self._grace}[ending]
        self._leaves(scope, now + wait, ending)
        held = self._held.get(scope, 0)
        if held > now + wait:
            self._leaves(scope, held, "lost")

    def away(self, scope: str, now: int) -> tuple[str, ...]:
        """The page of the participation goes away. Returns its feeds, which are its own no more.

        Until it is `back`, no feed is: one that other pages share may still name it, or have been on its way.
        """
        self._away.add(scope)
        feeds = self._feeds.pop(scope, {})
        self._held.pop(scope, None)
        self._leaves(scope, now + min(self._grace, AWAY), "away")
        return tuple(feeds)

    def is_away(self, scope: str) -> bool:
        """Tell whether the page of the participation went away, and no other has come back."""
        return scope in self._away

    def back(self, scope: str) -> bool:
        """The participation has joined again, or has left; tell whether it was away."""
        was = scope in self._away
        self._away.discard(scope)
        return was

    def hold(self, scope: str, now: int, least: int) -> None:
        """Let a feed count as open for the longer of grace and `least` (ms): a poll's, or one that is on its way.

        Others that end meanwhile are not the last one.
        """
        held = self._held[scope] = max(self._held.get(scope, 0), now + max(self._grace, least))
        if scope not in self._feeds:
            self._leaves(scope, max(self._until.get(scope, 0), held), "lost")

    def restarted(self, scopes: Iterable[str], now: int) -> None:
        """The server was away, not they: each of `scopes` gets one fresh grace."""
        for scope in scopes:
            if scope not in self._feeds:
                self._leaves(scope, now + self._grace, "lost")

    def _leaves(self, scope: str, moment: int, ending: Ending) -> None:
        self._until[scope], self._ending[scope] = moment, ending

    def is_present(self, scope: str) -> bool:
        """Tell whether a feed of the participation is open."""
        return scope in self._feeds

    def knows(self, scope: str) -> bool:
        """Tell whether the participation is counted as here: with a feed, or within its grace."""
        return scope in self._feeds or scope in self._until

    def deadline_of(self, scope: str) -> int | None:
        """Return until when (ms) the participation may be without a feed; None: it has one, or is not known."""
        return self._until.get(scope)

    def forget(self, scope: str) -> None:
        """The participation has left; its feeds, if any, go on without a nickname."""
        self._feeds.pop(scope, None)
        self._until.pop(scope, None)
        self._ending.pop(scope, None)
        self._held.pop(scope, None)

    def next_deadline(self) -> int | None:
        """Return when `due` will next have something to say; None: not before something else happens."""
        return min(self._until.values(), default=None)

    def due(self, now: int) -> list[tuple[str, str]]:
        """Return whose time is over, each with the reason of its `left`: `left` or `disconnected`. Says it once."""
        over = [scope for scope, until in self._until.items() if until <= now]
        said = [
            (scope, "left" if self._ending[scope] == "left" else "disconnected") for scope in over
        ]
        for scope in over:
            self.forget(scope)
        return said
