"""The application behind real servers and real sockets: ours on its one port, and Hypercorn by itself."""

from __future__ import annotations

import json
import os
import socket
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import hypercorn.asyncio
import hypercorn.trio
import pytest
import trio
from hypercorn.config import Config
from trio.testing import trio_test, wait_all_tasks_blocked

from cloudchat_core.limits import Limits
from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp
from tests.transports.support import Server, connect, read_all, read_head, serving
from tests.transports.web import site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock


class Late:
    """An application that is there when its server is, and that may be slow to begin."""

    app: HttpApp

    def __init__(self) -> None:
        self.may_begin = trio.Event()
        self.may_begin.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.may_begin.wait()
        await self.app(scope, receive, send)


@asynccontextmanager
async def server(limits: Limits | None = None, late: Late | None = None) -> AsyncIterator[Server]:
    late = late or Late()
    async with serving(limits, app=late) as running:
        late.app = HttpApp(running.node, Access())
        with trio.fail_after(60):
            yield running


async def send(sock: socket.socket, data: bytes) -> None:
    while data:
        try:
            data = data[sock.send(data) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)


async def answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one response that says its length."""
    head = await read_head(sock)
    start, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    body = b""
    while len(body) < int(headers.get("content-length", "0")):
        try:
            body += sock.recv(int(headers["content-length"]) - len(body))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
    return int(start.split()[1]), headers, body


async def ask(
    running: Server, request: str, body: bytes = b""
) -> tuple[int, dict[str, str], bytes]:
    sock = await connect(running)
    await send(sock, request.replace("\n", "\r\n").encode() + b"\r\n" + body)
    return await answer(sock)


async def flood(sock: socket.socket) -> None:
    """Send chunks of a body until nobody takes them any more."""
    with suppress(BrokenPipeError, ConnectionResetError):
        while True:
            await send(sock, b"10000\r\n" + b" " * 65_536 + b"\r\n")


async def gone(running: Server) -> None:
    """Wait until the server has let go of all connections."""
    while running.listener.connections:  # noqa: ASYNC110 - the listener tells nobody
        await trio.sleep(0.01)


@trio_test
async def test_the_resources_are_served_on_the_port_of_everything() -> None:
    async with server() as running:
        status, headers, body = await ask(
            running,
            f"POST /v1/instances HTTP/1.1\nHost: localhost:{running.port}\n"
            "Content-Type: application/json\nContent-Length: 14\n",
            b'{"name":"web"}',
        )
        assert (status, json.loads(body)["status"]) == (202, "ok")
        assert "date" in headers
        assert "server" not in headers
        for method, empty in (("GET", False), ("HEAD", True)):
            sock = await connect(running)
            await send(
                sock,
                f"{method} {headers['location']} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                "Connection: close\r\n\r\n".encode(),
            )
            whole = await read_all(sock)
            head, _, rest = whole.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert (rest == b"") is empty


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /v1/instances HTTP/1.1\n", 400),
        ("GET /v1/instances HTTP/1.1\nHost: localhost\nHost: localhost\n", 400),
        ("GET /v1/instances HTTP/1.1\nHost:\n", 400),
        ("GET /v1/instances HTTP/1.0\n", 400),
        ("GET /v1/instances HTTP/1.0\nHost: localhost\n", 200),
        ("GET /v1/instances HTTP/1.1\nHost: evil.example\n", 403),
        ("GET /v1/instances HTTP/1.1\nHost: localhost\nOrigin: null\n", 403),
        ("GET http://localhost/v1/instances HTTP/1.1\nHost: localhost\n", 200),
        ("GET http://evil.example/v1/instances HTTP/1.1\nHost: localhost\n", 403),
        ("OPTIONS * HTTP/1.1\nHost: localhost\n", 204),
        ("CONNECT localhost:80 HTTP/1.1\nHost: localhost\n", 404),
        ("GET /v1/%69nstances HTTP/1.1\nHost: localhost\n", 200),
        ("GET /v1/instances/%ff HTTP/1.1\nHost: localhost\n", 404),
        ("GET /v1/instances/%zz HTTP/1.1\nHost: localhost\n", 404),
        ("GET /v1/ws HTTP/1.1\nHost: localhost\n", 426),
        ("POST /v1/commands HTTP/1.1\nHost: localhost\nContent-Length: 0\n", 400),
        ("POST /v1/commands HTTP/1.1\nHost: localhost\nContent-Length: x\n", 400),
        (
            "POST /v1/commands HTTP/1.1\nHost: localhost\nContent-Length: 1\nContent-Length: 2\n",
            400,
        ),
        ("POST /v1/commands HTTP/1.1\nHost: localhost\nTransfer-Encoding: gzip\n", 501),
        ("GET /v1/instances HTTP/1.1\nHost: localhost\nno colon\n", 400),
        ("GET /v1/instances HTTP/1.1\nHost: localhost\n folded: line\n", 400),
        (f"GET /v1/instances HTTP/1.1\nHost: localhost\nX: {'x' * 20_000}\n", 431),
        ("nonsense\n", 400),
    ],
)
@trio_test
async def test_malformed_requests_get_an_answer_and_harm_nobody(request_: str, status: int) -> None:
    async with server() as running:
        assert (await ask(running, request_))[0] == status
        good = f"GET /v1/instances HTTP/1.1\nHost: localhost:{running.port}\n"
        assert (await ask(running, good))[0] == 200


@trio_test
async def test_a_body_far_over_the_limit_is_refused_before_it_is_read_and_nothing_is_left_behind() -> (
    None
):
    async with server(Limits(body=1_000)) as running:
        for framing in ("Content-Length: 100000000", "Transfer-Encoding: chunked"):
            sock = await connect(running)
            await send(
                sock,
                "POST /v1/commands HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/json\r\n{framing}\r\n\r\n".encode(),
            )
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, sock)
                status, _, body = await answer(sock)
                nursery.cancel_scope.cancel()
            assert (status, json.loads(body)["code"]) == (413, "too_large")
            sock.close()
        await gone(running)


@trio_test
async def test_a_body_that_nobody_reads_does_not_hold_the_connection() -> None:
    late = Late()
    async with server(late=late) as running, trio.open_nursery() as nursery:
        sock = await connect(running)
        late.may_begin = trio.Event()
        await send(
            sock,
            b"GET /v1/instances HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
        )
        nursery.start_soon(flood, sock)
        await wait_all_tasks_blocked(0.05)  # the server has taken what it takes unread
        late.may_begin.set()
        assert (await answer(sock))[0] == 200
        nursery.cancel_scope.cancel()
        sock.close()
        with trio.CancelScope(shield=True):
            await gone(running)


@trio_test
async def test_a_connection_is_used_again_after_answers_of_all_kinds() -> None:
    async with server() as running:
        sock = await connect(running)
        host = "Host: localhost\r\n"
        for request, status in (
            (f"GET /v1/instances HTTP/1.1\r\n{host}\r\n", 200),
            (f"GET /v1/nothing HTTP/1.1\r\n{host}\r\n", 404),
            (f"GET /v1/instances HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\nabc", 200),
            (f"POST /v1/commands HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n[]", 415),
            (f"PUT /v1/commands HTTP/1.1\r\n{host}Content-Length: 2\r\n\r\n[]", 405),
            (f'GET /v1/instances HTTP/1.1\r\n{host}If-None-Match: "k3f9-1"\r\n\r\n', 304),
            (f"OPTIONS /v1/instances HTTP/1.1\r\n{host}\r\n", 204),
            (f"GET /healthz HTTP/1.1\r\n{host}\r\n", 200),
        ):
            await send(sock, request.encode())
            assert (await answer(sock))[0] == status


@trio_test
async def test_a_request_of_two_lengths_is_refused_and_nothing_behind_it_is_a_request() -> None:
    async with server() as running:
        sock = await connect(running)
        smuggled = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        await send(
            sock,
            b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 49\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
        )
        assert (await read_all(sock)).count(b"HTTP/1.1 ") == 1


@trio_test
async def test_a_websocket_on_a_used_connection_is_served() -> None:
    async with server() as running:
        sock = await connect(running)
        await send(sock, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await answer(sock))[0] == 200
        await send(
            sock,
            b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        assert (await answer(sock))[0] == 101
        sock.close()


@trio_test
async def test_a_body_that_never_comes_is_ended(autojump_clock: MockClock) -> None:
    async with server(Limits(body_time=5)) as running:
        for start in ("", "["):
            sock = await connect(running)
            await send(
                sock,
                b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: 2\r\n\r\n" + start.encode(),
            )
            status, _, body = await answer(sock)
            assert (status, json.loads(body)["code"]) == (408, "bad_request")
            sock.close()
        await gone(running)


@pytest.mark.anyio
async def test_the_application_runs_under_a_stock_server(anyio_backend_name: str) -> None:
    config, over = Config(), anyio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config.bind = [f"fd://{os.dup(listening.fileno())}"]
        port = listening.getsockname()[1]
        async with site() as web, anyio.create_task_group() as tasks:
            serve = (
                hypercorn.trio.serve if anyio_backend_name == "trio" else hypercorn.asyncio.serve
            )
            app: Any = web.app
            tasks.start_soon(partial(serve, app, config, shutdown_trigger=over.wait))
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                begun = await client.post("/v1/instances", json={"name": "web-1"})
                assert begun.status_code == 202
                told = await client.get(begun.headers["location"])
                assert told.json()["command"] == "create"
                assert (await client.get("/v1/nothing")).json()["code"] == "not_found"
            over.set()
