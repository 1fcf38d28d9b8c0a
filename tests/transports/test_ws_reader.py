"""However a client's bytes are cut, they are read as the same frames, and as another implementation reads them."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason

from cloudchat_core.errors import RemoteProtocolError
from cloudchat_transports.ws.reader import CLOSE, NO_CODE, PART, PING, PONG, TEXT, FrameReader
from cloudchat_transports.ws.reader import close_code as read_close_code
from tests.transports.support import frame

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT = 100_000
UNKNOWN_TO_IT = (1014).to_bytes(2, "big")  # the newest of the registered close codes


def read(data: bytes, cuts: list[int], limit: int = LIMIT) -> tuple[list[tuple[int, bytes]], int]:
    """Read `data`, cut at these places; what was read, and the code of what was wrong (0: nothing)."""
    reader, found = FrameReader(limit), list[tuple[int, bytes]]()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    try:
        for start, end in itertools.pairwise(places):
            for kind, payload in reader.read(data[start:end]):
                found.append((kind, payload))
                if kind == CLOSE:
                    read_close_code(payload)
                    return found, 0
    except RemoteProtocolError as error:
        return found, error.close_code
    return found, 0


payloads = st.one_of(
    st.text(max_size=200).map(str.encode),
    st.integers(120, 135).map(lambda size: b"x" * size),
    st.sampled_from([65_535, 65_536, 70_000]).map(lambda size: b"x" * size),
)
messages = payloads.map(lambda payload: frame(TEXT, payload))
pieces = st.lists(st.text(max_size=9).map(str.encode), min_size=2, max_size=4).map(
    lambda parts: b"".join(
        frame((0x01 if place == 0 else 0x00) | (0x80 if place == len(parts) - 1 else 0), part)
        for place, part in enumerate(parts)
    )
)
controls = st.builds(frame, st.sampled_from([PING, PONG]), st.binary(max_size=125))
closes = st.integers(0, 5100).map(lambda code: frame(CLOSE, code.to_bytes(2, "big")))
honest = st.lists(st.one_of(messages, pieces, controls), max_size=6).map(b"".join)
cuts = st.lists(st.integers(0, 2**20), max_size=8)


@given(honest, cuts)
def test_it_does_not_matter_how_the_bytes_are_cut(data: bytes, cuts: list[int]) -> None:
    assert read(data, cuts) == read(data, [])


@given(honest)
def test_every_cut_between_two_bytes_reads_the_same(data: bytes) -> None:
    data = data[:600]
    assert read(data, list(range(len(data)))) == read(data, [])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.lists(st.one_of(honest, closes), max_size=3).map(b"".join)))
    for place, byte in draw(st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=3)):
        if data:
            data[place % len(data)] = byte
    return bytes(data)


def peers(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """What wsproto makes of the same bytes: whole messages and control frames, and the code of what was wrong."""
    engine, found, message = Connection(ConnectionType.SERVER), list[tuple[int, bytes]](), b""
    engine.receive_data(data)
    for event in engine.events():
        match event:
            case Message():
                if isinstance(event.data, bytes | bytearray):
                    return found, 1003
                message += event.data.encode()
                if event.message_finished:
                    found.append((TEXT, message))
                    message = b""
            case Ping():
                found.append((PING, bytes(event.payload)))
            case Pong():
                found.append((PONG, bytes(event.payload)))
            case CloseConnection():
                if event.reason and engine.state.name == "OPEN":
                    return found, event.code
                empty = event.code is CloseReason.NO_STATUS_RCVD
                said = b"" if empty else int(event.code).to_bytes(2, "big")
                return [*found, (CLOSE, said + (event.reason or "").encode())], 0
    return found, 0


Read = tuple[list[tuple[int, bytes]], int]


def agree(data: bytes, reads: Callable[[bytes], Read]) -> bool:
    """Whether another implementation makes the same of the same bytes as what `reads` them."""
    (said, code), (theirs, their_code) = reads(data), peers(data)
    if code and not their_code and code != 1009:
        # It looks at a head when all of it is there.
        theirs, their_code = peers(data + bytes(20))
    if their_code == 1007:
        # It looks at characters as they come, we at those of whole messages: so let this one be whole.
        said, _ = reads(data + bytes(LIMIT))
    ours = [each for each in said if each[0] != PART]
    if their_code == 1007:
        return ours[: len(theirs)] == theirs and TEXT not in dict(ours[len(theirs) :])
    if code == 1009:  # a head that announces too much; the other waits for it
        return theirs[: len(ours)] == ours
    if ours and ours[-1][0] == CLOSE and (code or ours[-1][1][:2] == UNKNOWN_TO_IT):
        code, ours = code or 1002, ours[:-1]
    # A frame may be wrong in two ways: binary, and longer than any.
    return ours == theirs and (code == their_code or {code, their_code} == {1002, 1003})


@given(damaged())
def test_what_comes_is_read_as_another_implementation_reads_it(data: bytes) -> None:
    assert agree(data, lambda data: read(data, []))


@pytest.mark.parametrize("code", [1000, 1003, 1007, 1014, 3000, 4999])
def test_a_close_may_have_any_code_that_may_be_sent(code: int) -> None:
    assert read_close_code(code.to_bytes(2, "big") + "ä".encode()) == code
    assert read_close_code(b"") == NO_CODE


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000])
def test_a_close_with_a_code_that_may_not_be_sent_breaks_the_protocol(code: int) -> None:
    assert read(frame(CLOSE, code.to_bytes(2, "big")), [])[1] == 1002


@pytest.mark.parametrize(
    "head",
    [
        bytes((TEXT, 0xFE)) + (125).to_bytes(2, "big"),
        bytes((TEXT, 0xFF)) + (65_535).to_bytes(8, "big"),
        bytes((TEXT, 0xFF)) + (2**63).to_bytes(8, "big"),
    ],
)
def test_a_length_is_written_in_as_few_bytes_as_it_takes(head: bytes) -> None:
    assert read(head, [])[1] == 1002


def test_a_frame_that_announces_too_much_is_refused_by_its_head_alone() -> None:
    head = frame(TEXT, b"x" * 1001)[:4]
    assert read(head, [], limit=1000) == ([], 1009)
    assert read(head, [], limit=1001) == ([], 0)
    assert read(frame(0x01, b"x" * 600) + frame(0x80, b"x" * 401)[:4], [], limit=1000)[1] == 1009


def test_what_is_in_order_is_read_before_what_is_not() -> None:
    found, code = read(frame(TEXT, b"{}") + frame(PING, b"?") + frame(0x83, b""), [])
    assert (found, code) == ([(TEXT, b"{}"), (PING, b"?")], 1002)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 65_536])
def test_masks_are_undone_at_any_size(size: int) -> None:
    payload = os.urandom(size).hex()[:size].encode()
    assert read(frame(TEXT, payload), []) == ([(TEXT, payload)], 0)
