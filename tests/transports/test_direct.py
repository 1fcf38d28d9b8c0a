"""A feed that is served without an HTTP library is answered as one that is served with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h11
import pytest
import trio
from trio.testing import trio_test, wait_all_tasks_blocked

from cloudchat_transports.direct import plain_request
from cloudchat_transports.outlet import RECEIVE
from tests.transports.support import Client, connect
from tests.transports.test_sse_server import Stream, server

if TYPE_CHECKING:
    import socket

    from tests.transports.support import Server

HOST = "Host: localhost\r\n"


@pytest.mark.parametrize(
    ("head", "plain"),
    [
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}\r\n", True),
        (f"GET /v1/sse?topics=chat HTTP/1.1\n{HOST}\n", True),
        (f"GET /v1/poll?wait=5 HTTP/1.1\r\n{HOST}Connection: keep-alive\r\n\r\n", True),
        (f"GET /v1/poll HTTP/1.1\r\n{HOST}Connection: Close\r\n\r\n", False),
        (f"GET /v1/polls HTTP/1.1\r\n{HOST}\r\n", False),
        (f"GET /v1/sse HTTP/1.0\r\n{HOST}\r\n", False),
        (f"HEAD /v1/sse HTTP/1.1\r\n{HOST}\r\n", False),
        (f"GET /v1/sses HTTP/1.1\r\n{HOST}\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}Content-Length: 0\r\n\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}Expect: 100-continue\r\n\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}Name : value\r\n\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST} folded\r\n\r\n", False),
        (f"GET /v1/sse HTTP/1.1\r\n{HOST}\r\nGET / HTTP/1.1\r\n", False),
    ],
)
def test_only_a_plain_request_for_a_feed_is_served_so(head: str, plain: bool) -> None:
    assert (plain_request(head.encode()) is not None) is plain


async def heads(running: Server, path: str, headers: str) -> list[tuple[int, set[bytes]]]:
    """Status and header names of the answer, without and with the library."""
    found = []
    for more in ("", "Content-Length: 0\r\n"):
        sock = await connect(running)
        sock.send(f"GET {path} HTTP/1.1\r\n{HOST}{headers}{more}\r\n".encode())
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="GET", target="/", headers=[("host", "localhost")]))
        while (event := parser.next_event()) is h11.NEED_DATA:
            try:
                parser.receive_data(sock.recv(65_536))
            except BlockingIOError:
                await trio.lowlevel.wait_readable(sock)
        assert isinstance(event, h11.Response)
        found.append((event.status_code, {name for name, _ in event.headers}))
        sock.close()
    return found


@trio_test
async def test_its_answers_have_the_same_status_and_headers() -> None:
    async with server() as (running, _):
        for path, headers in (
            ("/v1/sse", ""),
            ("/v1/sse?topics=weather", ""),
            ("/v1/sse", "Origin: http://evil.example\r\n"),
            ("/v1/sse", "Cloudchat-Token: short\r\n"),
            ("/v1/poll?wait=0", ""),
            ("/v1/poll?wait=soon", ""),
        ):
            direct, library = await heads(running, path, headers)
            assert direct == library


@trio_test
async def test_a_request_that_comes_during_a_stream_is_answered_after_it() -> None:
    async with server() as (running, app):
        stream = await Stream.open(running)
        stream.sock.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
        await stream.until("snapshot")
        app.wind_down()
        await stream.until("closing")
        stream.sock.send(b"\r\n")
        data = b""
        while b"HTTP/1.1 200" not in data:
            try:
                data += stream.sock.recv(65_536)
            except BlockingIOError:
                await trio.lowlevel.wait_readable(stream.sock)


LARGE = b'[{"type":"ping","id":"1"}]'.ljust(3 * RECEIVE)
POST = (
    f"POST /v1/commands HTTP/1.1\r\n{HOST}Content-Type: application/json\r\n"
    f"Connection: close\r\nContent-Length: {len(LARGE)}\r\n\r\n"
).encode() + LARGE
"""A request of more bytes than are read before its turn."""


@trio_test
async def test_a_large_request_that_comes_early_waits_and_is_answered_after_a_stream() -> None:
    async with server() as (running, app):
        stream = await Stream.open(running)
        await stream.until("snapshot")
        client = Client(stream.sock)
        await client.send(POST)
        await wait_all_tasks_blocked(0.05)
        await (await Client.open(running)).join()
        await stream.until("joined")
        app.wind_down()
        await stream.until("closing")
        assert b'[{"type":"ack"' in await everything(stream.sock)


@trio_test
async def test_a_large_request_that_comes_early_is_answered_after_a_poll() -> None:
    async with server() as (running, _):
        sock = await connect(running)
        sock.send(f"GET /v1/poll?wait=0 HTTP/1.1\r\n{HOST}\r\n".encode())
        cursor = (await until(sock, b'"cursor":"k3f9-1"}'))[-8:-2].decode()
        await Client(sock).send(
            f"GET /v1/poll?wait=55&after={cursor} HTTP/1.1\r\n{HOST}\r\n".encode()
        )
        await wait_all_tasks_blocked(0.05)
        await Client(sock).send(POST)
        await wait_all_tasks_blocked(0.05)
        await (await Client.open(running)).join()
        data = await everything(sock)
        assert data.index(b'"type":"joined"') < data.index(b'[{"type":"ack"')


@trio_test
async def test_a_client_that_talks_and_then_vanishes_during_a_stream_is_let_go() -> None:
    async with server() as (running, _):
        stream = await Stream.open(running)
        await stream.until("snapshot")
        client = Client(stream.sock)
        await client.send(b"x" * (RECEIVE + 1))
        await wait_all_tasks_blocked(0.05)
        client.vanish()
        await (await Client.open(running)).join()
        with trio.fail_after(30):
            while running.listener.connections > 1:
                await trio.lowlevel.checkpoint()


@trio_test
async def test_a_connection_is_polled_on_again_and_again_and_then_used_for_anything_else() -> None:
    async with server() as (running, _):
        sock = await connect(running)
        polls = 3 * f"GET /v1/poll?wait=0 HTTP/1.1\r\n{HOST}\r\n"
        sock.send(f"{polls}GET /healthz HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
        data = await everything(sock)
        assert data.count(b"HTTP/1.1 200") == 4
        assert data.count(b'"type":"snapshot"') == 3


@trio_test
async def test_a_poll_that_asks_for_the_connection_to_end_gets_that() -> None:
    async with server() as (running, _):
        sock = await connect(running)
        sock.send(f"GET /v1/poll?wait=0 HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n".encode())
        assert b'"type":"snapshot"' in await everything(sock)


@trio_test
async def test_a_connection_that_idles_between_polls_is_closed_at_once_in_a_planned_restart() -> (
    None
):
    async with server() as (running, _):
        sock = await connect(running)
        sock.send(f"GET /v1/poll?wait=0 HTTP/1.1\r\n{HOST}\r\n".encode())
        await until(sock, b'"cursor"')
        with trio.fail_after(30):
            await running.listener.shut_down(600)


async def until(sock: socket.socket, words: bytes) -> bytes:
    """What came, up to `words`, or to the end of the connection."""
    data = b""
    while words not in data:
        try:
            more = sock.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
        else:
            data += more
            if not more:
                break
    return data


async def everything(sock: socket.socket) -> bytes:
    """What came until the server closed the connection."""
    return await until(sock, b"nothing that is ever sent")
