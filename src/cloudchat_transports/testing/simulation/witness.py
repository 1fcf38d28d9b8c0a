"""A witness: what one person was told, folded as it came, and held to what the log says at once.

No event comes twice or out of order; none is left out, but where a `gap` says so; none is of a topic that was not
asked for; and each is in the log by the time that anybody hears of it. Who comes after a text was taken back is not
told it any more. What was folded is kept at some moments, for the comparison with the log afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchat_core.client_session import Snapshot
from cloudchat_core.events import Event, Message
from cloudchat_core.frames import Gap
from cloudchat_core.mirror import Mirror
from cloudchat_transports.testing.simulation.history import ViolationError, offset_of

if TYPE_CHECKING:
    import random
    from collections import Counter
    from collections.abc import Collection

    from cloudchat_core.client_session import Frame
    from cloudchat_transports.testing.simulation.log import Disk

_OFTEN = 0.2  # part of the moments at which what is known is kept for comparison


class Witness:
    """One person's view, of `topics`. `complete`: the log has everything since its beginning, so nobody may hear of a
    gap.
    """

    def __init__(
        self,
        who: str,
        topics: Collection[str],
        disk: Disk,
        chance: random.Random,
        coverage: Counter[str],
        *,
        complete: bool,
    ) -> None:
        self.mirror = Mirror()
        self.sightings: list[Snapshot] = []
        self.topics = topics
        self.opened_at = 0.0
        """When (virtual seconds) the connection was opened that the feed comes on, or one before it."""
        self._who, self._disk, self._chance, self._coverage = who, disk, chance, coverage
        self._complete = complete
        self._lost = True

    @property
    def position(self) -> int:
        """The offset up to which this person knows everything."""
        return offset_of(self.mirror.cursor)

    def forget(self) -> None:
        """Know nothing any more."""
        self.mirror, self._lost = Mirror(), True

    def rewind(self, number: int) -> bool:
        """Know what was known at some earlier time, and no more; tell whether there is such a time."""
        if not self.sightings:
            return False
        self.mirror, self._lost = Mirror(), False
        self.mirror.apply(self.sightings[number % len(self.sightings)])
        return True

    def see(self, frame: Frame) -> None:
        """Take what the client hands on; raises `ViolationError`."""
        match frame:
            case Gap():
                self._coverage[f"a loss that was said: {frame.reason}"] += 1
                if self._complete:
                    raise ViolationError("gap", f"{self._who} was told of {frame}; nothing is lost")
                self._lost = True
            case Snapshot(more=True):
                self._coverage["a snapshot in several parts"] += 1
            case Snapshot():
                self._coverage["a feed that began with a snapshot"] += 1
                if not self._lost:
                    raise ViolationError(
                        "gap not said",
                        f"{self._who} got a snapshot at {frame.cursor} out of the blue",
                    )
                self._lost = False
            case Event():
                self._follow(frame)
        self.mirror.apply(frame)
        whole = isinstance(frame, Snapshot) and not frame.more
        if whole or (isinstance(frame, Event) and self._chance.random() < _OFTEN):
            self.sightings.append(self.mirror.snapshot())

    def _follow(self, event: Event) -> None:
        offset, here = offset_of(event.cursor), self.position
        if offset <= here:
            raise ViolationError("order", f"{self._who} at {self.mirror.cursor} was told {event}")
        before = self._disk.before.get(event.cursor)
        if before is None:
            raise ViolationError("durable", f"{self._who} was told {event}, which the log has not")
        if event.topic not in self.topics:
            raise ViolationError("topics", f"{self._who} did not ask for {event}")
        last = max(before[topic] for topic in self.topics)
        if last > here:
            raise ViolationError(
                "lost",
                f"{self._who} at {self.mirror.cursor} was told {event}, but not what is at {last}",
            )
        if len(self.topics) == 1:
            self._coverage[f"an event for who follows {event.topic} alone"] += 1
        if isinstance(event, Message):
            self._read(event)

    def _read(self, message: Message) -> None:
        since = self._disk.taken_back(message.cursor)
        if since is None or since >= self.opened_at:
            return
        if message.text:
            raise ViolationError(
                "erased",
                f"{self._who} came at {self.opened_at:.3f} and was told {message}, which was taken back at {since:.3f}",
            )
        self._coverage["a message told without the text that was taken back"] += 1
