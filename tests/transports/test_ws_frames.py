"""The frames that we write are those that another implementation reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from cloudchat_transports.ws.frames import PING, close_frame, text_frame


def read(data: bytes) -> list[object]:
    client = Connection(ConnectionType.CLIENT, trailing_data=data)
    return list(client.events())


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536, 200_000])
def test_a_text_frame_of_any_size_is_read_as_it_was_written(size: int) -> None:
    text = "x" * size
    assert read(text_frame(text.encode())) == [TextMessage(text)]


@given(st.lists(st.text(max_size=200), max_size=5))
def test_frames_one_after_another_stay_apart(texts: list[str]) -> None:
    data = b"".join(text_frame(text.encode()) for text in texts) + PING
    assert read(data) == [*map(TextMessage, texts), Ping(b"")]


@given(st.integers(3000, 4999), st.text(max_size=200))
def test_a_close_frame_says_its_code_and_as_much_of_the_reason_as_fits(
    code: int, reason: str
) -> None:
    (event,) = read(close_frame(code, reason))
    assert isinstance(event, CloseConnection)
    said = event.reason or ""
    assert event.code == code
    assert reason.startswith(said)
    assert said == reason or len(said.encode()) > 119
