"""What becomes of a WebSocket under an ASGI server that cannot get rid of what it is sent."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cloudchat_core.limits import Limits
from cloudchat_engine import LogUnavailableError
from tests.transports.web import Site, site

pytestmark = pytest.mark.anyio


class Server:
    """An ASGI server with one WebSocket, whose client takes `room` frames and then nothing more."""

    def __init__(self, room: int, said: list[str]) -> None:
        self.sent: list[dict[str, Any]] = []
        self._room, self._said = room, ["websocket.connect", *said]
        self._closed = anyio.Event()

    async def run(self, web: Site, **scope: Any) -> int:
        """Serve it to its end; the close code."""
        whole = {"type": "websocket", "path": "/v1/ws", "headers": [(b"host", b"localhost")]}
        with anyio.fail_after(30):
            await web.app({**whole, **scope}, self._receive, self._send)
        assert self.sent[-1]["type"] == "websocket.close"
        return int(self.sent[-1]["code"])

    async def _receive(self) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if not self._said:
            await self._closed.wait()
            return {"type": "websocket.disconnect", "code": 1006}
        text = self._said.pop(0)
        return (
            {"type": text} if text.startswith("w") else {"type": "websocket.receive", "text": text}
        )

    async def _send(self, message: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if message["type"] == "websocket.send":
            if not self._room:
                await anyio.sleep_forever()
            self._room -= 1
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self._closed.set()


async def test_a_reader_that_takes_nothing_is_ended() -> None:
    async with site(Limits(stalled=0.05)) as web:
        assert await Server(1, []).run(web) == 1013


async def test_who_leaves_too_many_answers_unread_is_ended() -> None:
    async with site(Limits(direct=1_000)) as web:
        assert await Server(1, ["{}"] * 50).run(web) == 1013


async def test_where_the_log_cannot_be_read_the_feed_ends_and_may_be_had_again() -> None:
    async with site(Limits(window=1)) as web:

        async def fail(*_: Any) -> None:
            raise LogUnavailableError("the disk is gone")

        cursor = web.node.state.cursor
        for text in ("one", "two"):
            await web.command("say", token="t" * 22, nickname="Script", text=text)
        web.log.read = fail  # type: ignore[method-assign, assignment]
        code = await Server(9, []).run(web, query_string=f"after={cursor}".encode())
        assert code == 1011
