"""One connection's way out: whole frames, in order, whoever writes them, however slowly they are read."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from cloudchat_core.feed import Entry, Feed
from cloudchat_core.limits import Limits
from cloudchat_transports.outgoing import LINGER
from cloudchat_transports.outlet import Outlet

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Tape:
    """A feed of lines: line `n` stands at offset `n`."""

    def __init__(self, window: int = 100_000_000) -> None:
        self.feed = Feed(0, window)
        self.view = self.feed.view(bytes, {"chat"})
        self.lines: list[bytes] = []

    def publish(self, *lines: bytes) -> None:
        self.feed.publish([Entry("chat", entry) for entry in lines])
        self.lines += lines


async def nothing_older(after: int) -> tuple[bytes, int]:
    raise AssertionError(f"nobody reads the log after {after}")


@asynccontextmanager
async def connection(
    limits: Limits | None = None, buffers: int = 4096
) -> AsyncIterator[tuple[Outlet, socket.socket]]:
    """An outlet with small buffers, and the socket at the other end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = socket.socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
        peer.connect(listener.getsockname())
        server, _ = listener.accept()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)
    server.setblocking(False)
    peer.setblocking(False)
    async with trio.open_nursery() as nursery:
        outlet = Outlet(
            server, start_soon=nursery.start_soon, limits=limits or Limits(), peer="127.0.0.1"
        )
        with peer:
            yield outlet, peer
            outlet.abort()


async def read(peer: socket.socket, enough: Callable[[bytes], bool] = lambda _: False) -> bytes:
    """All bytes until there are enough, or until the end of the connection."""
    data = b""
    while not enough(data):
        try:
            piece = peer.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(peer)
            continue
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece
    return data


def line(name: str, size: int = 1) -> bytes:
    return f"<{name}{'.' * size}>\n".encode()


def fill(outlet: Outlet, tape: Tape, size: int = 500) -> None:
    """Publish until the kernel takes no more."""
    while not outlet.stalled:
        tape.publish(line(f"event {tape.feed.head + 1}", size))
        outlet.push(0)


def names(data: bytes) -> list[str]:
    """What stands in the lines, each of which is whole."""
    lines = data.decode().split("\n")
    assert lines.pop() == ""
    assert all(entry.startswith("<") and entry.endswith(">") for entry in lines)
    return [entry.strip("<>.") for entry in lines]


@trio_test
async def test_what_the_kernel_takes_is_written_at_once_and_starts_no_task() -> None:
    async with connection() as (outlet, peer):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        tape.publish(line("event 1"), line("event 2"))
        assert outlet.push(1.5) is False
        outlet.write(line("ack"))
        assert (outlet.cursor, outlet.stalled, outlet.wrote_at) == (2, False, 1.5)
        assert names(await read(peer, lambda data: data.count(b"\n") == 3)) == [
            "event 1",
            "event 2",
            "ack",
        ]


@trio_test
async def test_a_stalled_reader_gets_everything_in_order_and_whole_once_it_reads() -> None:
    async with connection() as (outlet, peer):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        fill(outlet, tape)
        begun = outlet.cursor
        for number in range(5):
            outlet.write(line(f"ack {number}", 100))
        tape.publish(*(line(f"event {tape.feed.head + 1 + n}", 500) for n in range(2000)))
        last = line(f"event {tape.feed.head}", 500)
        got = names(await read(peer, lambda data: data.endswith(last)))
        events = [name for name in got if name.startswith("event")]
        assert events == [f"event {number + 1}" for number in range(tape.feed.head)]
        assert [name for name in got if name.startswith("ack")] == [
            f"ack {number}" for number in range(5)
        ]
        assert got.index("ack 0") == begun  # right behind the frame that was cut
        await wait_all_tasks_blocked()
        assert not outlet.stalled


@trio_test
async def test_what_is_published_while_a_reader_is_stalled_costs_it_nothing() -> None:
    async with connection() as (outlet, _):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        fill(outlet, tape)
        await wait_all_tasks_blocked()
        fill(outlet, tape)  # the kernel may have taken more meanwhile, as it may at any time
        cursor = outlet.cursor
        tape.publish(*[line("more", 500)] * 10_000)
        assert outlet.push(0) is False
        assert outlet.cursor == cursor


@trio_test
async def test_libraries_and_direct_answers_and_the_feed_never_split_each_other() -> None:
    async with connection() as (outlet, peer):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)

        async def library(name: str) -> None:
            for number in range(20):
                await outlet.send_all(bytearray(line(f"{name} {number}", 3000)))

        async def answers() -> None:
            for number in range(200):
                outlet.write(line(f"ack {number}", 200))
                tape.publish(line(f"event {number}", 300))
                outlet.push(0)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(library, "one")
            nursery.start_soon(library, "two")
            nursery.start_soon(answers)
            got = names(await read(peer, lambda data: data.count(b"\n") == 440))
        for name, count in (("one", 20), ("two", 20), ("ack", 200), ("event", 200)):
            assert [entry for entry in got if entry.startswith(name)] == [
                f"{name} {n}" for n in range(count)
            ]


@trio_test
async def test_send_all_returns_when_the_kernel_has_the_bytes_and_not_before() -> None:
    async with connection() as (outlet, peer):
        sent = trio.Event()

        async def send() -> None:
            await outlet.send_all(b"x" * 1_000_000)
            sent.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked()
            assert outlet.stalled
            assert not sent.is_set()
            assert len(await read(peer, lambda data: len(data) == 1_000_000)) == 1_000_000
        assert sent.is_set()
        await outlet.wait_send_all_might_not_block()


@trio_test
async def test_a_cursor_out_of_the_window_is_served_from_the_log_page_by_page_and_then_live() -> (
    None
):
    tape = Tape(window=20_000)
    for number in range(1, 1001):
        tape.publish(line(f"event {number}", 200))
    asked: list[int] = []

    async def refill(after: int) -> tuple[bytes, int]:
        asked.append(after)
        page = tape.lines[after : after + 256]
        await trio.lowlevel.checkpoint()
        tape.publish(line(f"event {tape.feed.head + 1}", 200))  # the world goes on
        return b"".join(page), after + len(page)

    async with connection() as (outlet, peer):
        outlet.follow(tape.view, 0, refill)
        outlet.push(0)
        got = names(await read(peer, lambda data: data.endswith(line("event 1004", 200))))
        assert got == [f"event {number}" for number in range(1, 1005)]
        assert asked == [0, 256, 512, 768]
        await wait_all_tasks_blocked()
        assert (outlet.stalled, outlet.cursor) == (False, 1004)


@trio_test
async def test_a_page_that_comes_after_the_feed_was_left_is_not_written() -> None:
    tape, go_on = Tape(window=1), trio.Event()
    tape.publish(line("event 1"))
    tape.publish(line("event 2"))

    async def refill(after: int) -> tuple[bytes, int]:
        await go_on.wait()
        return line("too late"), after + 1

    async with connection() as (outlet, peer):
        outlet.follow(tape.view, 0, refill)
        outlet.push(0)
        await wait_all_tasks_blocked()
        outlet.unfollow()
        go_on.set()
        await outlet.send_all(line("something else"))
        await outlet.send_eof()
        assert names(await read(peer)) == ["something else"]


@trio_test
async def test_a_page_that_cannot_be_read_ends_that_connection_alone() -> None:
    tape = Tape(window=1)
    tape.publish(line("event 1"))
    tape.publish(line("event 2"))

    async def refill(after: int) -> tuple[bytes, int]:
        raise OSError(f"bad block after {after}")

    async with connection() as (outlet, peer):
        outlet.follow(tape.view, 0, refill)
        outlet.push(0)
        await outlet.wait_closed()
        assert await read(peer) == b""


@trio_test
async def test_answers_that_nobody_reads_end_the_connection_with_the_last_words_behind_the_cut_frame() -> (
    None
):
    async with connection(Limits(direct=10_000)) as (outlet, peer):
        outlet.last_words = line("too slow")
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        fill(outlet, tape)

        async def owner() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await outlet.receive_some()
            await outlet.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(owner)
            await wait_all_tasks_blocked()
            for _ in range(100):
                outlet.write(line("ack", 200))
            outlet.write(line("never"))
            got = names(await read(peer))
            peer.close()
        assert got == [*(f"event {number + 1}" for number in range(outlet.cursor)), "too slow"]
        assert outlet.fd == -1


@trio_test
async def test_pieces_of_no_size_take_memory_too() -> None:
    async with connection(Limits(direct=10_000)) as (outlet, _):
        while not outlet.stalled:
            outlet.write(line("ack", 1000))
        count = 0
        while not outlet.closed:
            outlet.write(b"\x8a\x00")  # the pong to an empty ping
            count += 1
        assert count < 100


@trio_test
async def test_answers_that_were_read_in_the_end_do_not_count_any_more() -> None:
    async with connection(Limits(direct=10_000)) as (outlet, peer):
        for _ in range(3):
            count = 0
            while not outlet.stalled:
                outlet.write(line("ack", 1000))
                count += 1
            outlet.write(line("ack", 8000))
            await read(peer, partial(lambda count, data: data.count(b"\n") == count, count + 1))
            await wait_all_tasks_blocked()
        assert not outlet.closed


@trio_test
async def test_a_reader_that_takes_nothing_is_ended_when_its_time_is_up(
    autojump_clock: MockClock,
) -> None:
    async with connection(Limits(stalled=60)) as (outlet, _):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        fill(outlet, tape)
        with pytest.raises(trio.ClosedResourceError):
            await outlet.receive_some()
        assert trio.current_time() >= 60
        await outlet.aclose()
        assert outlet.fd == -1
        with pytest.raises(trio.ClosedResourceError):
            await outlet.send_all(b"x")


@trio_test
async def test_a_library_that_waits_for_a_dead_reader_is_told(autojump_clock: MockClock) -> None:
    async with connection(Limits(stalled=60)) as (outlet, _):
        with pytest.raises(trio.BrokenResourceError), trio.CancelScope(shield=True):
            await outlet.send_all(b"x" * 1_000_000)
        assert 60 <= trio.current_time() < 61 + LINGER


@trio_test
async def test_a_slow_reader_is_not_a_stalled_one(autojump_clock: MockClock) -> None:
    size = 20_000_000
    async with connection(Limits(stalled=60), buffers=200_000) as (outlet, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.send_all, b"x" * size)
            got = 0
            while got < size:
                await trio.sleep(50)
                enough = min(2_000_000, size - got)
                got += len(
                    await read(peer, partial(lambda enough, data: len(data) >= enough, enough))
                )
        assert trio.current_time() >= 500
        assert not outlet.closed


@trio_test
async def test_closing_lets_the_last_bytes_out_even_if_the_peer_is_still_sending() -> None:
    async with connection() as (outlet, peer):
        peer.send(b"nobody reads this" * 100)
        outlet.write(line("bye"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.aclose)
            await wait_all_tasks_blocked()
            peer.send(b"nor this")
            assert names(await read(peer)) == ["bye"]
            peer.close()
        assert outlet.fd == -1


@trio_test
async def test_closing_waits_for_nobody_longer_than_the_linger(autojump_clock: MockClock) -> None:
    async with connection() as (outlet, _):
        await outlet.aclose()
        assert (outlet.fd, trio.current_time()) == (-1, LINGER)
        await outlet.aclose()


@trio_test
async def test_closing_drops_what_a_stalled_reader_does_not_take(autojump_clock: MockClock) -> None:
    async with connection() as (outlet, _):
        fill_with = line("x", 1000)
        while not outlet.stalled:
            outlet.write(fill_with)
        await outlet.aclose()
        assert (outlet.fd, trio.current_time()) == (-1, LINGER)


@trio_test
async def test_bytes_that_were_read_already_are_read_again_first() -> None:
    async with connection() as (outlet, peer):
        outlet.unread(b"GET / HTTP")
        peer.send(b"/1.1")
        assert await outlet.receive_some(4) == b"GET "
        assert await outlet.receive_some() == b"/ HTTP"
        assert await outlet.receive_some() == b"/1.1"
        peer.shutdown(socket.SHUT_WR)
        assert await outlet.receive_some() == b""


@trio_test
async def test_a_peer_that_always_has_something_to_say_lets_others_be_heard() -> None:
    async with connection(buffers=100_000) as (outlet, peer):
        peer.send(b"x" * 50_000)
        others = 0

        async def another() -> None:
            nonlocal others
            while True:
                await trio.lowlevel.checkpoint()
                others += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(another)
            for _ in range(100):
                assert len(await outlet.receive_some(1)) == 1
            nursery.cancel_scope.cancel()
        assert others > 90


@trio_test
async def test_an_end_of_sending_stands_behind_what_is_queued() -> None:
    async with connection() as (outlet, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outlet.send_all, b"x" * 1_000_000)
            await wait_all_tasks_blocked()
            nursery.start_soon(outlet.send_eof)
            await wait_all_tasks_blocked()
            assert len(await read(peer)) == 1_000_000
        with pytest.raises(trio.ClosedResourceError):
            await outlet.send_all(b"y")
        peer.send(b"still heard")
        assert await outlet.receive_some() == b"still heard"


@trio_test
async def test_a_peer_that_is_gone_is_noticed_by_readers_writers_and_the_feed() -> None:
    async with connection() as (outlet, peer):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        tape.publish(line("event 1"))
        with pytest.raises(trio.BrokenResourceError):
            await outlet.receive_some()
        outlet.push(0)
        outlet.write(line("ack"))
        await outlet.wait_closed()
        assert outlet.closed
        with pytest.raises(trio.ClosedResourceError):
            await outlet.receive_some()


@trio_test
async def test_a_connection_can_follow_another_feed_after_the_first() -> None:
    async with connection() as (outlet, peer):
        tape = Tape()
        outlet.follow(tape.view, 0, nothing_older)
        fill(outlet, tape)
        outlet.unfollow()
        begun = outlet.cursor
        await outlet.send_all(line("end of the response"))
        other = Tape()
        other.publish(line("other"))
        outlet.follow(other.view, 0, nothing_older)
        outlet.push(0)
        got = names(await read(peer, lambda data: data.endswith(b"other.>\n")))
        assert got == [*(f"event {n + 1}" for n in range(begun)), "end of the response", "other"]
