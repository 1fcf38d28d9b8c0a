"""Which feeds are open on this node, and which participations they keep in the chat.

Who is connected is not in the log. The pure rules are `cloudchat_core.presence`; here they meet the node: feeds
that are open, the time, and the moments at which the node has to look again.
"""

from collections.abc import Callable, Iterable

from cloudchat_core.commands import Away, Caller, ClientCommand, Join
from cloudchat_core.frames import Ack, Reply
from cloudchat_core.presence import JOIN_HOLD, Ending, Presence

TOO_MANY_FEEDS = 4001
"""The close code of a feed that ends because its participation opened too many others."""


class _OpenFeed:
    """How to end a feed (with a close code), the participations it serves, and those it would if they were back."""

    __slots__ = ("away", "end", "scopes")

    def __init__(self, end: Callable[[int], None]) -> None:
        self.end = end
        self.scopes: tuple[str, ...] = ()
        self.away: tuple[str, ...] = ()

    def has_room(self, scope: str, most: int) -> bool:
        return len(self.scopes) < most or scope in self.scopes

    def serve(self, scope: str) -> None:
        if scope not in self.scopes:
            self.scopes += (scope,)

    def release(self, scope: str) -> None:
        self.scopes = tuple(each for each in self.scopes if each != scope)


class Attendance:
    """The open feeds of one node, and what follows for presence."""

    def __init__(
        self,
        presence: Presence,
        now: Callable[[], int],
        arm: Callable[[int | None], None],
        tokens: int,
    ) -> None:
        """`arm` asks the node to look at `due` at a moment (ms since the epoch); a feed serves up to `tokens`."""
        self._presence, self._now, self._arm, self._tokens = presence, now, arm, tokens
        self._feeds: dict[str, _OpenFeed] = {}

    def open(self, feed: str, end: Callable[[int], None], scopes: Iterable[str]) -> None:
        """A feed is open and serves these participations."""
        opened = self._feeds[feed] = _OpenFeed(end)
        for scope in scopes:
            if self._presence.is_away(scope):
                opened.away += (scope,)
            else:
                self._attach(scope, feed)

    def close(self, feed: str, ending: Ending, held: int = 0) -> None:
        """A feed has ended; participations that have no other are given their grace.

        `held` (ms) is how long it counts as open all the same, at least: a poll's answer is not its client's end.
        """
        known = self._feeds.pop(feed, None)
        for scope in known.scopes if known is not None else ():
            if held:
                self._presence.hold(scope, self._now(), held)
            self._presence.closed(scope, feed, ending, self._now())
            self._arm(self._presence.deadline_of(scope))

    def following(
        self, command: ClientCommand, caller: Caller, answer: Callable[[Reply], None]
    ) -> Callable[[Reply], None]:
        """Return `answer` with what follows from `command` before it.

        From a `join` that its feed now serves the participation; from an `away` that none does. Nothing follows from a
        `leave`: the feeds stay open, and a later `join` finds them. Where the last one ends, or a hold does, while
        nobody is joined, the departure changes nothing.
        """
        if not isinstance(command, (Join, Away)):
            return answer

        def follow(reply: Reply) -> None:
            if isinstance(reply, Ack):
                if isinstance(command, Join):
                    self._come(caller.scope, command.feed or "")
                else:
                    self._detach(caller.scope)
            answer(reply)

        return follow

    def hold(self, scope: str, least: int) -> None:
        """Keep a participation without a feed for the longer of grace and `least` (ms)."""
        self._presence.hold(scope, self._now(), least)
        self._arm(self._presence.deadline_of(scope))

    def departed(self, scope: str) -> None:
        """The participation has left; nothing is to be remembered of it."""
        self._presence.back(scope)

    def _come(self, scope: str, feed: str) -> None:
        if self._presence.back(scope):
            # A page that was loaded again may have opened its feed before it joined.
            waiting = [item for item in self._feeds.items() if scope in item[1].away]
            for name, known in waiting:
                known.away = tuple(each for each in known.away if each != scope)
                self._attach(scope, name)
        self._attach(scope, feed)

    def _detach(self, scope: str) -> None:
        for feed in self._presence.away(scope, self._now()):
            self._feeds[feed].release(scope)
        self._arm(self._presence.deadline_of(scope))

    def _attach(self, scope: str, feed: str) -> None:
        known = self._feeds.get(feed)
        if known is None or not known.has_room(scope, self._tokens):
            self.hold(scope, JOIN_HOLD)
            return
        known.serve(scope)
        too_many = self._feeds.get(self._presence.opened(scope, feed) or "")
        if too_many is not None:
            too_many.release(scope)
            too_many.end(TOO_MANY_FEEDS)
