"""A state machine of the feed: publishing, redacting, reading and cut writes, against a plain list."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cloudchat_core.events import CHAT, INSTANCES
from cloudchat_core.feed import LARGEST_READ, Entry, Feed, Framing, View

_TOPICS = ["", CHAT, INSTANCES]


def as_line(payload: bytes) -> bytes:
    """Frame an event as one line."""
    return payload + b"\n"


def as_chunk(payload: bytes) -> bytes:
    """Frame an event as an HTTP chunk of an event stream."""
    event = b"data: " + payload + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


@dataclass
class _Reader:
    """A reader: its cursor, and the topics and framing that it reads in. One that sleeps looks only when told to."""

    view: View
    framing: Framing
    topics: frozenset[str]
    cursor: int
    asleep: bool


class FeedMachine(RuleBasedStateMachine):
    """Readers with several topics and framings, at any cursor, get what a list of all events would give them.

    Override `window` (bytes), `head` (the offset before the first record) or `framings` (one function a framing).
    `TestCase` runs it: `TestFeed = FeedMachine.TestCase`.
    """

    window = 900
    head = 41
    framings: tuple[Framing, ...] = (as_line, as_chunk)

    def __init__(self) -> None:
        super().__init__()
        self.feed = Feed(self.head, self.window)
        self.entries: list[Entry] = []
        self.newest = 0
        self.readers: list[_Reader] = []

    def expected(self, reader: _Reader, after: int, until: int) -> list[bytes]:
        """Return the frames of the records after offset `after` up to `until`, from the list."""
        records = self.entries[after - self.head : until - self.head]
        return [
            reader.framing(one.payload) if one.topic in reader.topics else b"" for one in records
        ]

    @rule(
        batch=st.lists(
            st.builds(Entry, st.sampled_from(_TOPICS), st.binary(min_size=1, max_size=40)),
            max_size=6,
        )
    )
    def publish(self, batch: list[Entry]) -> None:
        """A batch of records is committed, private ones among them."""
        self.feed.publish(batch)
        self.newest = len(self.entries) if batch else self.newest
        self.entries += batch

    @rule(size=st.sampled_from([LARGEST_READ // 2, LARGEST_READ + 1]))
    def publish_much(self, size: int) -> None:
        """Events that are larger than the window, or than a read."""
        self.publish([Entry(CHAT, b"x" * size)])

    @rule(
        topics=st.sets(st.sampled_from([CHAT, INSTANCES])),
        number=st.integers(0, 7),
        behind=st.integers(0, 9),
        asleep=st.booleans(),
    )
    def arrive(self, *, topics: set[str], number: int, behind: int, asleep: bool) -> None:
        """A reader arrives with a cursor, not always a recent one."""
        framing = self.framings[number % len(self.framings)]
        view = self.feed.view(framing, topics)
        cursor = max(self.head, self.feed.head - behind)
        self.readers.append(_Reader(view, framing, frozenset(topics), cursor, asleep))

    @precondition(lambda self: self.entries)
    @rule(back=st.integers(0, 12), payload=st.binary(max_size=10))
    def redact(self, back: int, payload: bytes) -> None:
        """An event is replaced for all who read it from now on; outside of the window nothing happens."""
        offset = self.feed.head - back
        if offset > self.head:
            topic = self.entries[offset - self.head - 1].topic
            self.entries[offset - self.head - 1] = Entry(topic, payload)
        self.feed.redact(offset, payload)
        self.feed.redact(self.feed.head + 1, payload)

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A reader takes what follows its cursor; the write is cut anywhere, and it goes on from there."""
        reader = data.draw(st.sampled_from(self.readers))
        got = self._read(reader)
        if got is None:
            reader.cursor = self.feed.first - 1
            return
        written = data.draw(st.integers(0, len(got[0])))
        reader.cursor, rest = reader.view.split(reader.cursor, written)
        assert rest == b"" or written

    @precondition(lambda self: self.readers)
    @rule(data=st.data())
    def catch_up(self, data: st.DataObject) -> None:
        """A reader reads until there is nothing more."""
        reader = data.draw(st.sampled_from(self.readers))
        while reader.cursor != self.feed.head:
            got = self._read(reader)
            reader.cursor = self.feed.first - 1 if got is None else got[1]
        assert reader.view.since(reader.cursor) == (b"", reader.view.head)

    @invariant()
    def every_reader_would_get_what_the_list_has(self) -> None:
        """From its cursor each reader gets the frames of the list, and a write may be cut at any byte."""
        for reader in self.readers:
            got = None if reader.asleep else self._read(reader)
            if got is None:
                continue
            data, after = got
            again = reader.view.since(reader.cursor)
            assert again is not None
            assert again[0] is data, "all who stand there share one object"
            cuts = range(len(data) + 1) if len(data) < 300 else (0, 1, len(data) - 1, len(data))
            for written in cuts if data else ():
                self._cut(reader, data, written, after)

    def _read(self, reader: _Reader) -> tuple[bytes, int] | None:
        cursor = reader.cursor
        got = reader.view.since(cursor)
        if got is None:
            assert cursor < self.feed.first - 1, "only what fell out of the window is not there"
            return None
        data, after = got
        assert cursor >= self.feed.first - 1 or not data
        assert b"".join(self.expected(reader, cursor, after)) == data
        assert cursor < after <= self.feed.head or after == cursor == self.feed.head, (
            "a reader gets on"
        )
        return got

    def _cut(self, reader: _Reader, data: bytes, written: int, after: int) -> None:
        resumed, rest = reader.view.split(reader.cursor, written)
        assert reader.cursor <= resumed <= after
        frames = self.expected(reader, reader.cursor, resumed)
        assert b"".join(frames) == data[:written] + rest, "nothing is lost, nothing comes twice"
        assert len(rest) < len(frames[-1]) if rest else True, "the rest is of one frame"

    @invariant()
    def the_window_is_bounded(self) -> None:
        """The newest batch is always there; what is before it keeps to the window."""
        assert self.feed.head == self.head + len(self.entries)
        older = self.entries[self.feed.first - 1 - self.head : self.newest]
        assert self.feed.first - 1 - self.head <= self.newest
        # A quarter of slack, a redaction that is longer than what it replaces; private records take room as well.
        assert sum(len(one.payload) + 50 for one in older) <= self.window * 2
