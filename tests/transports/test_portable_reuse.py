"""A WebSocket on a connection to our own listener that has served a request before."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import trio_test

from cloudchat_core.limits import Limits
from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp
from tests.transports.support import (
    BINARY,
    TEXT,
    Client,
    Server,
    connect,
    frame,
    read_head,
    serving,
    upgrade,
)


class Later:
    """The application, which needs the node of a server that needs the application."""

    app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


async def reused(server: Server, target: str = "/v1/ws") -> tuple[Client, bytes]:
    """Ask for a resource, then for a WebSocket on the same connection; the client, and the answer's head."""
    client = Client(await connect(server))
    await client.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
    head = await read_head(client.sock)
    assert head.startswith(b"HTTP/1.1 200")
    body = b""
    while len(body) < int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
        await trio.lowlevel.wait_readable(client.sock)
        body += client.sock.recv(1)
    await client.send(upgrade(server.port, target))
    return client, await read_head(client.sock)


@trio_test
async def test_it_is_the_same_feed() -> None:
    later = Later()
    async with serving(app=later) as server:
        later.app = HttpApp(server.node, Access())
        client, head = await reused(server)
        assert head.startswith(b"HTTP/1.1 101")
        assert (await client.next())["type"] == "welcome"
        await client.until("snapshot")
        await client.join()
        await client.say("say", text="hi")
        assert (await client.until("message"))["text"] == "hi"


@pytest.mark.parametrize(
    ("sent", "code"),
    [(frame(BINARY, b"{}"), 1003), (frame(TEXT, b"x" * (Limits().frame + 1)), 1009)],
)
def test_what_costs_the_connection_is_said_by_its_close_code(sent: bytes, code: int) -> None:
    async def main() -> None:
        later = Later()
        async with serving(app=later) as server:
            later.app = HttpApp(server.node, Access())
            client, _ = await reused(server)
            await client.send(sent)
            assert await client.closed() == code

    trio.run(main)


@trio_test
async def test_a_planned_restart_closes_it_with_1012() -> None:
    later = Later()
    async with serving(app=later) as server:
        later.app = HttpApp(server.node, Access())
        client, _ = await reused(server)
        await client.until("snapshot")
        later.app.wind_down()
        await client.until("closing")
        assert await client.closed() == 1012


@trio_test
async def test_a_refused_handshake_is_answered_by_a_problem() -> None:
    later = Later()
    async with serving(app=later) as server:
        later.app = HttpApp(server.node, Access())
        _, head = await reused(server, "/v1/other")
        assert head.startswith(b"HTTP/1.1 404")
        assert b"application/problem+json" in head
