"""Feeds that are let in at the very moment at which the server begins to go away, under any ASGI server."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest

from tests.transports.web import site

pytestmark = pytest.mark.anyio


async def let_in_while_it_goes(path: str, begin: str, first: str, ended: str) -> list[Any]:
    """Open a feed whose server begins to go away while it lets it in; return what it is sent until the end."""
    sent: list[Any] = []
    over = anyio.Event()
    asked = iter(({"type": begin},))

    async def receive() -> Any:
        for message in asked:
            return message
        await over.wait()
        return {"type": ended, "code": 1012}

    async with site() as web:

        async def send(message: Any) -> None:
            sent.append(message)
            if message["type"] == first:
                web.app.wind_down()
            if message["type"] == "websocket.close":
                over.set()

        scope = {
            "type": begin.partition(".")[0],
            "method": "GET",
            "path": path,
            "headers": [(b"host", b"localhost")],
        }
        with anyio.fail_after(30):
            await web.app(scope, receive, send)
    return sent


async def test_a_websocket_that_is_let_in_while_the_server_goes_is_told_so() -> None:
    *_, closing, close = await let_in_while_it_goes(
        "/v1/ws", "websocket.connect", "websocket.accept", "websocket.disconnect"
    )
    assert msgspec.json.decode(closing["text"])["type"] == "closing"
    assert (close["type"], close["code"]) == ("websocket.close", 1012)


async def test_a_stream_that_is_let_in_while_the_server_goes_is_told_so() -> None:
    *_, closing, end = await let_in_while_it_goes(
        "/v1/sse", "http.request", "http.response.start", "http.disconnect"
    )
    assert closing["body"].startswith(b"event: closing\n")
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
