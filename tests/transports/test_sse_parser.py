"""An event stream is read as the WHATWG has it, wherever it is cut."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_transports.sse.parser import EventStreamParser, ServerEvent

LIMIT = 100_000


def read(*pieces: bytes) -> list[ServerEvent]:
    parser = EventStreamParser(LIMIT)
    return [event for piece in pieces for event in parser.feed(piece)]


def model(data: bytes) -> list[ServerEvent]:
    """The rules of HTML §9.2.5 and §9.2.6, over the whole text at once."""
    text = data.decode("utf-8", errors="replace").removeprefix("\ufeff")
    lines = re.split("\r\n|\r|\n", text)[:-1]
    events = []
    kind, buffer, last_id = "", "", ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value[1:] if value[:1] == " " else value
        if line == "":
            if buffer:
                events.append(ServerEvent(kind or "message", buffer[:-1], last_id))
            kind, buffer = "", ""
        elif field == "event":
            kind = value
        elif field == "data":
            buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


FACTS = {
    "data alone": (b"data: a\n\n", [("message", "a", "")]),
    "one space after the colon is skipped": (b"data:  a\ndata:b\n\n", [("message", " a\nb", "")]),
    "a type is for one event": (
        b"event: x\ndata: 1\n\ndata: 2\n\n",
        [("x", "1", ""), ("message", "2", "")],
    ),
    "an id stays": (
        b"id: 7\ndata: 1\n\ndata: 2\n\n",
        [("message", "1", "7"), ("message", "2", "7")],
    ),
    "an empty id takes it back": (
        b"id: 7\ndata: 1\n\nid\ndata: 2\n\n",
        [("message", "1", "7"), ("message", "2", "")],
    ),
    "an id with NUL is ignored": (b"id: a\0b\ndata: 1\n\n", [("message", "1", "")]),
    "comments are ignored": (b": hello\ndata: 1\n:\n\n", [("message", "1", "")]),
    "unknown fields are ignored": (b"foo: 1\ndata: 1\nDATA: 2\n\n", [("message", "1", "")]),
    "an event without data is none": (b"event: x\n\ndata: 1\n\n", [("message", "1", "")]),
    "empty data is data": (
        b"data\n\ndata:\ndata:\n\n",
        [("message", "", ""), ("message", "\n", "")],
    ),
    "an unfinished event is dropped": (b"data: 1\n\ndata: 2\n", [("message", "1", "")]),
    "an unfinished line is dropped": (b"data: 1\n\ndata: 2", [("message", "1", "")]),
    "CR, LF and CRLF end lines": (
        b"data: 1\r\rdata: 2\r\n\r\ndata: 3\n\n",
        [("message", "1", ""), ("message", "2", ""), ("message", "3", "")],
    ),
    "an LF after CRLF is an empty line": (
        b"data: 1\r\n\ndata: 2\n\n",
        [("message", "1", ""), ("message", "2", "")],
    ),
    "a byte order mark is skipped once": (
        b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\xef\xbb\xbfdata: 2\ndata: 3\n\n",
        [("message", "3", "")],
    ),
    "bad UTF-8 is replaced": (b"data: \xff\xc3\n\n", [("message", "\ufffd\ufffd", "")]),
}


@pytest.mark.parametrize("fact", FACTS)
def test_each_rule_of_the_standard_holds_wherever_the_stream_is_cut(fact: str) -> None:
    data, expected = FACTS[fact]
    events = [ServerEvent(*fields) for fields in expected]
    assert read(data) == events
    assert read(*(data[i : i + 1] for i in range(len(data)))) == events
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == events


_PIECES = st.lists(
    st.sampled_from(
        [
            *(b"data", b"event", b"id", b"retry", b":", b" ", b"x", b"7", b"\0"),
            *(b"\r", b"\n", b"\r\n", "\ufeff".encode(), "é".encode(), b"\xff", b"\xc3"),
        ]
    )
    | st.binary(max_size=3),
    max_size=40,
)


@given(_PIECES, st.data())
def test_any_stream_is_read_as_the_rules_have_it_however_it_is_cut(
    pieces: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    parts = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert read(*parts) == model(whole)


@pytest.mark.parametrize(
    ("line", "retry"),
    [(b"retry: 1500", 1500), (b"retry: 1.5", None), (b"retry: -1", None), (b"retry", None)],
)
def test_the_retry_time_is_digits_or_nothing(line: bytes, retry: int | None) -> None:
    parser = EventStreamParser(LIMIT)
    parser.feed(line + b"\n")
    assert parser.retry == retry


def test_what_never_ends_is_refused_instead_of_kept() -> None:
    with pytest.raises(ValueError, match="longer than"):
        EventStreamParser(10).feed(b"data: 0123456789")
    with pytest.raises(ValueError, match="longer than"):
        EventStreamParser(10).feed(b"data: 01234\n" * 2)


@pytest.mark.parametrize("line", [b": 0123456789\n\n", b"event: 0123456789\n", b"id: 0123456789\n"])
def test_a_line_that_is_too_long_is_refused_however_it_is_cut(line: bytes) -> None:
    for parts in ([line], [line[at : at + 1] for at in range(len(line))]):
        feed = EventStreamParser(10).feed
        with pytest.raises(ValueError, match="longer than 10"):
            list(map(feed, parts))


def test_a_long_line_that_comes_byte_by_byte_is_looked_through_once() -> None:
    # Looked through anew with each byte it would take minutes, in which a client does nothing else.
    data = b"data: " + b"x" * 400_000 + b"\n\n"
    parser, events, begun = EventStreamParser(1_000_000), list[ServerEvent](), time.process_time()
    for at in range(len(data)):
        events += parser.feed(data[at : at + 1])
    assert [len(event.data) for event in events] == [400_000]
    assert time.process_time() - begun < 30
