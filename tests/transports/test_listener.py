"""One port for WebSockets and HTTP: what it lets in, what it outlives, how it goes."""

from __future__ import annotations

import inspect
import os
import resource
import socket
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from hypercorn.trio.tcp_server import TCPServer
from trio.testing import trio_test, wait_all_tasks_blocked

from cloudchat_core.limits import Limits
from cloudchat_transports.listener import BindError, bind
from tests.specs.generated import CONTRACT
from tests.transports.support import Client, connect, hello, read_all, read_head, serving, upgrade


async def get(
    server: Any, path: str = "/", sock: socket.socket | None = None, headers: str = ""
) -> bytes:
    """Send a request and return the head of the answer."""
    sock = sock or await connect(server)
    sock.send(f"GET {path} HTTP/1.1\r\nHost: localhost:{server.port}\r\n{headers}\r\n".encode())
    return await read_head(sock)


async def body(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            data += sock.recv(size - len(data))
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
    return data


def problem(answer: bytes) -> tuple[int, str]:
    """Return status and code of an answer that is a problem, as the specification has it."""
    head, _, text = answer.partition(b"\r\n\r\n")
    assert b"\r\ncontent-type: application/problem+json\r\n" in head
    said = msgspec.json.decode(text)
    CONTRACT.resource("ProblemDetails", said)
    assert head.split()[1] == b"%d" % said["status"]
    return said["status"], said["code"]


# ---------------------------------------------------------------------- where it listens


def test_a_taken_port_is_said_in_so_many_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(
            BindError, match=f"port {port} of 127.0.0.1 is taken by another program"
        ):
            bind("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_said_in_so_many_words() -> None:
    with pytest.raises(BindError, match=r"cannot listen on port 0 of 192\.0\.2\.1"):
        bind("192.0.2.1", 0)
    with pytest.raises(BindError, match=r"cannot listen on 'no\.such\.host\.invalid'"):
        bind("no.such.host.invalid", 0)
    with pytest.raises(BindError, match="cannot listen on"):
        bind("\u202e.example", 0)


def test_all_addresses_of_a_name_have_the_same_port() -> None:
    sockets = bind("localhost", 0)
    try:
        assert len({sock.getsockname()[1] for sock in sockets}) == 1
        assert all(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for sock in sockets)
    finally:
        for sock in sockets:
            sock.close()


# ---------------------------------------------------------------------- what it serves


@trio_test
async def test_one_port_serves_requests_and_websockets() -> None:
    async with serving() as server:
        client = await Client.open(server)
        sock = await connect(server)
        for path in ("/one", "/two"):  # on one connection
            head = await get(server, path, sock)
            assert head.startswith(b"HTTP/1.1 200")
            assert b"\r\nserver:" not in head.lower()
            text = f"hello from {path}".encode()
            assert await body(sock, len(text)) == text
        assert (await client.next())["type"] == "welcome"


@trio_test
async def test_a_head_may_come_byte_by_byte_and_more_may_come_with_it() -> None:
    async with serving() as server:
        client = Client(await connect(server))
        for byte in upgrade(server.port, "/v1/ws"):
            await client.send(bytes((byte,)))
            await trio.lowlevel.checkpoint()
        assert b" 101 " in await read_head(client.sock)
        early = Client(await connect(server))
        await early.send(upgrade(server.port, "/v1/ws") + b"\x89\x82\0\0\0\0hi")
        assert b" 101 " in await read_head(early.sock)
        assert await early.ponged() == b"hi"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # a TLS client
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"x" * 20_000, 431),
        (
            b"POST /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nContent-Length: 0\r\n\r\n",
            200,
        ),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Upgrade: websocket\r\n\r\n", 200),
    ],
)
def test_what_is_no_websocket_is_answered_as_http(data: bytes, status: int) -> None:
    async def main() -> None:
        async with serving() as server:
            sock = await connect(server)
            sock.send(data)
            assert (await read_head(sock)).split()[1] == b"%d" % status

    trio.run(main)


@trio_test
async def test_a_head_that_does_not_come_in_time_ends_the_connection() -> None:
    async with serving(Limits(head_time=1)) as server:
        silent, slow = await connect(server), await connect(server)
        slow.send(b"GET / HT")
        assert await read_all(silent) == b""
        assert problem(await read_all(slow)) == (408, "bad_request")


@trio_test
async def test_more_connections_than_the_limit_are_told_to_come_back() -> None:
    async with serving(Limits(connections=2)) as server:
        clients = [await Client.open(server) for _ in range(2)]
        third = await connect(server)
        assert problem(await read_all(third)) == (503, "unavailable")
        clients[0].vanish()
        await wait_all_tasks_blocked(0.05)
        await Client.open(server)


@trio_test
async def test_an_address_has_no_more_connections_than_its_limit_and_may_have_others_later() -> (
    None
):
    async with serving(Limits(connections_per_address=2)) as server:
        clients = [await Client.open(server) for _ in range(2)]
        assert (await read_all(await connect(server))).startswith(b"HTTP/1.1 503")
        elsewhere = socket.socket()
        elsewhere.bind(("127.0.0.2", 0))  # all of 127/8 is this machine
        elsewhere.connect(("127.0.0.1", server.port))
        elsewhere.setblocking(False)
        server.clients.append(elsewhere)
        assert (await get(server, "/", elsewhere)).startswith(b"HTTP/1.1 200")
        clients[0].vanish()
        await wait_all_tasks_blocked(0.05)
        await Client.open(server)
        assert (await read_all(await connect(server))).startswith(b"HTTP/1.1 503")


@trio_test
async def test_an_event_stream_that_the_application_began_is_fed_by_the_sweep() -> None:
    def chunk(payload: bytes) -> bytes:
        event = b"data: " + payload + b"\n\n"
        return b"%x\r\n%b\r\n" % (len(event), event)

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] != "/stream":
            await hello(scope, receive, send)
            return
        outlet, fanout = scope["state"]["outlet"], scope["state"]["fanout"]
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream")],
            }
        )
        await send({"type": "http.response.body", "body": b"retry: 1000\n\n", "more_body": True})
        fanout.follow(outlet, chunk, frozenset({"chat"}), 1)
        await ended.wait()
        fanout.unfollow(outlet)
        await send({"type": "http.response.body", "body": b""})

    ended = trio.Event()
    async with serving(app=app) as server:
        sock = await connect(server)
        assert b"chunked" in await get(server, "/stream", sock)
        writer = await Client.open(server)
        await writer.join()
        await writer.answer("say", text="hi")
        ended.set()
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            data += await body(sock, 1)
        assert data.startswith(b"d\r\nretry: 1000\n\n\r\n")
        assert data.count(b"data: {") == 2
        assert (await get(server, "/again", sock)).startswith(
            b"HTTP/1.1 200"
        )  # the connection goes on


# ---------------------------------------------------------------------- what it outlives


@trio_test
async def test_an_application_that_fails_costs_one_request() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/crash":
            raise ZeroDivisionError
        await hello(scope, receive, send)

    async with serving(app=app) as server:
        client = await Client.open(server)
        assert (await get(server, "/crash")).startswith(b"HTTP/1.1 500")
        assert (await get(server, "/")).startswith(b"HTTP/1.1 200")
        assert (await client.answer("ping"))["type"] == "ack"


@trio_test
async def test_a_peer_that_resets_at_any_moment_leaves_the_others_alone() -> None:
    async with serving() as server:
        request = upgrade(server.port, "/v1/ws")
        for size in (0, 1, 10, len(request) - 1, len(request)):
            for suffix in (b"", b"\x81\xfe"):
                client = Client(await connect(server))
                await client.send(request[:size] + suffix)
                client.vanish()
        for path in ("/", "/x" * 100):
            sock = await connect(server)
            sock.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            Client(sock).vanish()
        other = await Client.open(server)
        assert (await other.answer("ping"))["type"] == "ack"
        await wait_all_tasks_blocked(0.05)
        assert server.listener.connections == 1


@trio_test
async def test_running_out_of_file_descriptors_is_a_pause_and_not_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server:
        before = await Client.open(server)
        socks = [await connect(server) for _ in range(10)]
        await wait_all_tasks_blocked(0.05)
        more = [socket.socket() for _ in range(10)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
        # Nothing may be free below the limit, or some connections would still be accepted.
        fillers = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        try:
            while True:
                try:
                    fillers.append(os.dup(0))
                except OSError:
                    break
            for sock in more:
                sock.setblocking(False)
                sock.connect_ex(("127.0.0.1", server.port))
                server.clients.append(sock)
            while "cannot accept connections for now" not in caplog.text:
                assert (await before.answer("ping"))["type"] == "ack"
                await trio.sleep(0.01)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                os.close(filler)
        for sock in (*socks, *more):
            assert (await get(server, "/", sock)).startswith(b"HTTP/1.1 200")


# ---------------------------------------------------------------------- how it goes


@trio_test
async def test_a_shutdown_lets_requests_finish_and_closes_what_is_idle() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            begun.set()
            await go_on.wait()
        await hello(scope, receive, send)

    async with serving(Limits(head_time=1000), app=app) as server:
        idle, fresh, slow = await connect(server), await connect(server), await connect(server)
        await get(server, "/", idle)
        slow.send(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await begun.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.listener.shut_down, 10)
            await read_all(idle)
            assert await read_all(fresh) == b""
            idle.close()
            fresh.close()
            with pytest.raises(ConnectionRefusedError):
                await connect(server)
            go_on.set()
            assert (await read_all(slow)).endswith(b"hello from /slow")
            slow.close()
        assert server.listener.connections == 0


@trio_test
async def test_a_shutdown_does_not_wait_for_who_has_asked_again_already() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await hello(scope, receive, send)

    async with serving(app=app) as server:
        sock = await connect(server)
        sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
        await begun.wait()
        await wait_all_tasks_blocked(0.05)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.listener.shut_down, 1_000)
            await wait_all_tasks_blocked(0.05)
            go_on.set()
            assert (await read_all(sock)).endswith(b"hello from /")
            sock.close()
        assert server.listener.connections == 0


@trio_test
async def test_a_shutdown_waits_for_nobody_longer_than_it_was_told() -> None:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    async with serving(app=app) as server:
        sock = await connect(server)
        sock.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await wait_all_tasks_blocked(0.05)
        await partial(server.listener.shut_down, 0.2)()
        assert await read_all(sock) == b""
        await wait_all_tasks_blocked(0.05)
        assert server.listener.connections == 0


def test_hypercorns_server_of_one_connection_still_takes_what_we_give_it() -> None:
    assert list(inspect.signature(TCPServer).parameters) == [
        "app",
        "config",
        "context",
        "state",
        "stream",
    ]
    assert hasattr(TCPServer, "__await__")
