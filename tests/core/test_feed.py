"""A reader is a cursor: from wherever it stands it gets what follows, once, whole and in order."""

from cloudchat_core.events import CHAT, INSTANCES
from cloudchat_core.feed import LARGEST_READ, Entry, Feed
from cloudchat_core.testing import FeedMachine

TestFeedMachine = FeedMachine.TestCase


def line(payload: bytes) -> bytes:
    return payload + b"\n"


def filled(count: int, payload: bytes = b"x", window: int = 10**7) -> Feed:
    feed = Feed(0, window)
    for number in range(count):
        feed.publish([Entry(CHAT, b"%d %b" % (number + 1, payload))])
    return feed


def test_a_view_is_one_for_all_who_ask_for_the_same() -> None:
    feed = filled(1)
    assert feed.view(line, [CHAT, INSTANCES]) is feed.view(line, {INSTANCES, CHAT})
    assert feed.view(line, [CHAT]) is not feed.view(line, [INSTANCES])


def test_a_read_is_of_limited_size_and_whole_events() -> None:
    view = filled(100, b"x" * 10_000).view(line, [CHAT])
    cursor, reads = 0, 0
    while cursor != view.head:
        got = view.since(cursor)
        assert got is not None
        assert 0 < len(got[0]) <= LARGEST_READ
        assert got[0].endswith(b"\n")
        cursor, reads = got[1], reads + 1
    assert reads == 4


def test_many_readers_at_different_places_do_not_make_the_view_keep_everything() -> None:
    feed = filled(500, b"x" * 10_000)
    view = feed.view(line, [CHAT])
    firsts = [view.since(cursor) for cursor in range(500)]
    assert [view.since(cursor) for cursor in range(500)] == firsts
    held = sum(view.since(cursor) is first for cursor, first in enumerate(firsts))
    assert held == 0


def test_private_records_do_not_fill_the_window_for_ever() -> None:
    feed = Feed(0, 100_000)
    for _ in range(10_000):
        feed.publish([Entry("", b"")])
    assert feed.head - feed.first < 3_000


def test_a_redacted_event_is_shown_redacted_to_all_who_read_it_later() -> None:
    feed = filled(3)
    view = feed.view(line, [CHAT])
    assert view.since(0) == (b"1 x\n2 x\n3 x\n", 3)
    for offset in (0, 2, 4):
        feed.redact(offset, b"gone")
    assert view.since(0) == (b"1 x\ngone\n3 x\n", 3)
    assert feed.view(line, [CHAT, INSTANCES]).since(1) == (b"gone\n3 x\n", 3)


def test_nothing_published_is_nothing_new() -> None:
    feed = Feed(7, 100)
    feed.publish([])
    view = feed.view(line, [CHAT])
    assert (feed.head, feed.first, view.since(7), view.since(6)) == (7, 8, (b"", 7), None)
    assert view.split(7, 0) == (7, b"")
