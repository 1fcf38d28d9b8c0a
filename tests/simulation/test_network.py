"""The simulated network does to its sockets what a kernel and a bad network do."""

from __future__ import annotations

import socket
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import trio

from cloudchat_transports.testing.simulation import scheduler
from cloudchat_transports.testing.simulation.network import Line, Network

if TYPE_CHECKING:
    from cloudchat_transports.testing.simulation.sockets import Socket


def connected(body: Any, **how: Any) -> None:
    """Run `body` with a network, its one line, and both ends of a connection on it: the client's, the server's."""

    async def main() -> None:
        network = Network(1, Counter(), lambda _: None)
        line = network.lines["c"] = Line("c", **how)
        listening = network.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.run)
            client = await network.connect("c")
            with trio.fail_after(1_000):
                await body(network, line, client, listening.accept()[0])
            nursery.cancel_scope.cancel()

    scheduler.run(main, 1)


async def read(sock: Socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        try:
            data += sock.recv(size)
        except BlockingIOError:
            await sock.wait_readable()
    return data


def test_a_write_is_taken_as_far_as_there_is_room_and_then_refused() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        network.stall(line, "down", True)
        assert network.write(server.fileno(), b"x" * 150) == 100
        with pytest.raises(BlockingIOError):
            server.send(b"y")
        network.stall(line, "down", False)
        await server.wait_writable()
        assert server.send(b"y" * 150) == 100
        assert await read(client, 200) == b"x" * 100 + b"y" * 100

    connected(body, buffer=100)


def test_what_comes_in_pieces_and_late_comes_whole_and_in_order() -> None:
    said = bytes(range(256)) * 4

    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        begun = trio.current_time()
        client.send(said)
        with pytest.raises(BlockingIOError):
            server.recv(1)
        await server.wait_readable()
        first = server.recv(1_000_000)
        assert 1 <= len(first) <= 7
        assert first + await read(server, len(said) - len(first)) == said
        assert trio.current_time() > begun

    connected(body, delay=0.1, piece=7)


def test_a_connection_that_is_cut_gives_out_what_had_come_and_then_an_error_at_both_ends() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        server.send(b"hello")
        assert network.cut(line) == 1
        assert client.recv(100) == b"hello"
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(100)
            with pytest.raises(ConnectionResetError):
                end.send(b"x")
        assert network.cut(line) == 0

    connected(body)


def test_a_connection_that_is_half_cut_is_silent_at_the_other_end() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        network.cut(line, ("client",))
        assert server.send(b"are you there?") > 0
        with trio.move_on_after(500) as waiting:
            await server.wait_readable()
        assert waiting.cancelled_caught
        with pytest.raises(ConnectionResetError):
            client.recv(100)

    connected(body)


def test_a_kernel_that_was_told_to_gives_up_on_a_peer_that_takes_nothing() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000)
        network.cut(line, ("client",))
        server.send(b"are you there?")
        await server.wait_readable()
        assert trio.current_time() == 30
        with pytest.raises(ConnectionResetError):
            server.recv(100)

    connected(body)


def test_an_end_in_order_comes_behind_the_last_byte_and_one_with_unread_bytes_is_a_reset() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        client.send(b"goodbye")
        client.close()
        assert await read(server, 7) == b"goodbye"
        assert server.recv(100) == b""

    async def rude(network: Network, line: Line, client: Socket, server: Socket) -> None:
        server.send(b"but")
        client.close()
        with pytest.raises(ConnectionResetError):
            server.recv(100)

    connected(body)
    connected(rude)


def test_a_line_collapses_in_the_middle_of_what_is_sent() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        line.cut_after = 3
        server.send(b"hello")
        assert client.recv(100) == b"hel"
        with pytest.raises(ConnectionResetError):
            client.recv(100)

    connected(body)


def test_of_a_process_that_was_killed_nothing_is_heard_any_more() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        network.kill(silent=True)
        with pytest.raises(ConnectionResetError):
            server.send(b"last words")
        with pytest.raises(BlockingIOError):
            client.recv(100)
        with pytest.raises(ConnectionRefusedError):
            await network.connect("c")

    connected(body)


def test_what_is_sent_on_a_line_that_doubles_arrives_again_later_on_another_connection() -> None:
    async def main() -> None:
        network = Network(1, Counter(), lambda _: None)
        network.lines["c"] = Line("c", doubling=True)
        listening = network.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(network.run)
            client = await network.connect("c")
            client.send(b"POST /v1/commands HTTP/1.1\r\n")
            first, second = listening.accept()[0], listening.accept()[0]
            assert first.recv(4) == b"POST"
            with pytest.raises(BlockingIOError):
                second.recv(4)
            await second.wait_readable()
            assert second.recv(4) == b"POST"
            second.send(b"HTTP/1.1 200 OK\r\n")
            with pytest.raises(BlockingIOError):
                client.recv(4)
            nursery.cancel_scope.cancel()

    scheduler.run(main, 1)


def test_a_socket_that_two_tasks_wait_for_is_a_bug_as_it_is_to_trio() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.wait_readable)
            await trio.lowlevel.checkpoint()
            with pytest.raises(trio.BusyResourceError):
                await server.wait_readable()
            nursery.cancel_scope.cancel()

    connected(body)


def test_who_waits_for_a_socket_that_is_closed_is_told_so() -> None:
    async def body(network: Network, line: Line, client: Socket, server: Socket) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed, server)
            await trio.lowlevel.checkpoint()
            server.close()
        with pytest.raises(OSError, match="closed"):
            server.recv(1)

    connected(body)


async def closed(sock: Socket) -> None:
    with pytest.raises(trio.ClosedResourceError):
        await sock.wait_readable()
