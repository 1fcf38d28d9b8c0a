"""Whatever the kernel takes of a write, and whoever goes meanwhile: frames stay whole, in order, everybody's own."""

from __future__ import annotations

import errno
import os
import random
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import trio_test, wait_all_tasks_blocked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from cloudchat_core.events import CHAT, INSTANCES
from cloudchat_core.feed import Entry, Feed
from cloudchat_core.limits import Limits
from cloudchat_transports.outgoing import sweep
from cloudchat_transports.outlet import Outlet
from cloudchat_transports.ws.frames import PING, close_frame, text_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Kernel:
    """Stands before `os.write`: takes so many bytes as it was told, of every descriptor's writes together."""

    def __init__(self, write: Callable[[int, bytes], int]) -> None:
        self._write = write
        self.takes: list[int] = []
        """What the next writes may take, at most each; 0: nothing, for now. Then everything."""
        self.fails: dict[int, Exception] = {}
        """Descriptors whose other end has gone."""
        self.before: Callable[[int], None] = lambda _: None

    def write(self, fd: int, data: bytes) -> int:
        self.before(fd)
        if fd in self.fails:
            raise self.fails[fd]
        most = self.takes.pop(0) if self.takes else len(data)
        if not most and data:
            raise BlockingIOError
        return self._write(fd, bytes(data)[:most])


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel(os.write)
    monkeypatch.setattr(os, "write", made.write)
    return made


class Peers:
    """Outlets, each with the socket at its other end."""

    def __init__(self, nursery: trio.Nursery, stack: ExitStack) -> None:
        self._nursery, self._stack = nursery, stack
        self.sockets: dict[Outlet, socket.socket] = {}

    def open(self) -> Outlet:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._stack.enter_context(theirs)
        outlet = Outlet(ours, start_soon=self._nursery.start_soon, limits=Limits())
        self._stack.callback(outlet.abort)
        self.sockets[outlet] = theirs
        return outlet

    async def read(self, outlet: Outlet) -> bytes:
        """Everything that has come, once the outlet has nothing left to write."""
        data = b""
        while True:
            try:
                piece = self.sockets[outlet].recv(1_000_000)
                if not piece:
                    return data
                data += piece
            except BlockingIOError:
                if not outlet.stalled:
                    return data
                await trio.lowlevel.checkpoint()
            except ConnectionResetError:
                return data


def events(data: bytes) -> Iterator[str]:
    """What stands in frames, as another implementation reads them."""
    for event in Connection(ConnectionType.CLIENT, trailing_data=data).events():
        match event:
            case TextMessage():
                assert event.message_finished, "a frame was cut"
                yield event.data
            case Ping():
                yield "ping"
            case CloseConnection():
                yield f"close {int(event.code)}"


async def nothing_older(after: int) -> tuple[bytes, int]:
    raise AssertionError(f"nobody reads the log after {after}")


SAID = ["event 1", "event 2", "ack 1", "ping", "event 3", "ack 2", "event 4"]
LENGTH = sum(2 + len(each) if each != "ping" else len(PING) for each in SAID)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("place", range(LENGTH + 1))
def test_a_write_may_be_cut_at_any_byte_and_nothing_is_split_or_overtaken(
    kernel: Kernel, place: int, at_once: bool
) -> None:
    left = place

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            with ExitStack() as stack:
                peers, feed = Peers(nursery, stack), Feed(0, 10_000)
                outlet = peers.open()
                outlet.follow(feed.view(text_frame, {CHAT}), 0, nothing_older)

                def take(_: int) -> None:
                    nonlocal left
                    left = max(0, place - _waiting(peers.sockets[outlet]))
                    kernel.takes = [left]

                kernel.before = take
                _publish(feed, "event 1", "event 2")
                sweep([outlet], 0)
                outlet.write(text_frame(b"ack 1"))
                outlet.write(PING)
                _publish(feed, "event 3")
                sweep([outlet], 0)
                outlet.write(text_frame(b"ack 2"))
                _publish(feed, "event 4")
                sweep([outlet], 0)
                assert _waiting(peers.sockets[outlet]) == place
                kernel.before = lambda _: None
                kernel.takes = []
                data = b"" if at_once else await peers.read(outlet)
                outlet.finish(close_frame(1000))
                found = list(events(data + await peers.read(outlet)))
                assert found.pop() == "close 1000"
                seen = [each for each in found if each.startswith("event")]
                assert [each for each in found if each not in seen] == ["ack 1", "ping", "ack 2"]
                # Whoever is closed at once gets no more events, but none is left out or cut either.
                assert seen == [f"event {n}" for n in range(1, 5 if not at_once else len(seen) + 1)]

    trio.run(main)


def _publish(feed: Feed, *texts: str) -> None:
    feed.publish([Entry(CHAT, text.encode()) for text in texts])


def _waiting(peer: socket.socket) -> int:
    """How many bytes there are to be read."""
    try:
        return len(peer.recv(1_000_000, socket.MSG_PEEK))
    except BlockingIOError:
        return 0


@trio_test
async def test_events_answers_pings_and_libraries_in_any_order_over_any_cuts(
    kernel: Kernel,
) -> None:
    for seed in range(150):
        chance = random.Random(seed)
        async with trio.open_nursery() as nursery:
            with ExitStack() as stack:
                peers, feed = Peers(nursery, stack), Feed(0, 1_000_000)
                outlet = peers.open()
                outlet.follow(feed.view(text_frame, {CHAT}), 0, nothing_older)
                said: dict[str, list[str]] = {"event": [], "ack": [], "library": []}
                data, pings = b"", 0
                for number in range(60):
                    kernel.takes = [chance.choice([0, 1, 2, 3, 7, 50]) for _ in range(3)]
                    text = f" {number} {'x' * chance.randrange(300)}"
                    match chance.randrange(6):
                        case 0 | 1:
                            said["event"].append("event" + text)
                            _publish(feed, "event" + text)
                            sweep([outlet], 0)
                        case 2:
                            said["ack"].append("ack" + text)
                            outlet.write(text_frame(said["ack"][-1].encode()))
                        case 3:
                            pings += 1
                            outlet.write(PING)
                        case 4:
                            said["library"].append("library" + text)
                            nursery.start_soon(
                                outlet.send_all, text_frame(said["library"][-1].encode())
                            )
                            await wait_all_tasks_blocked()
                        case _:
                            await trio.lowlevel.checkpoint()
                kernel.takes = []
                data += await peers.read(outlet)
                await wait_all_tasks_blocked()  # who waited in `send_all` is told
                outlet.finish(close_frame(1001))
                found = list(events(data + await peers.read(outlet)))
                assert found.pop() == "close 1001"
                assert found.count("ping") == pings
                for kind, texts in said.items():
                    assert [each for each in found if each.startswith(kind)] == texts


@trio_test
async def test_who_vanishes_in_mid_sweep_costs_the_others_nothing(kernel: Kernel) -> None:
    async with trio.open_nursery() as nursery:
        with ExitStack() as stack:
            peers, feed = Peers(nursery, stack), Feed(0, 10_000)
            view = feed.view(text_frame, {CHAT})
            outlets = [peers.open() for _ in range(9)]
            for outlet in outlets:
                outlet.follow(view, 0, nothing_older)
            first, fd = outlets[0], outlets[0].fd
            kernel.fails = {
                outlets[2].fd: ConnectionResetError(),
                outlets[4].fd: BrokenPipeError(),
                outlets[6].fd: OSError(errno.EBADF, "closed"),
            }

            def vanish(which: int) -> None:
                """While the first is written to, others are closed, and one stops to follow."""
                if which == fd:
                    outlets[1].abort()
                    outlets[3].finish(b"")
                    outlets[5].unfollow()

            kernel.before = vanish
            _publish(feed, "one", "two")
            assert sweep(outlets, 0) is False
            kernel.before = lambda _: None
            assert [each.closed for each in outlets] == [
                False, True, True, True, True, False, True, False, False,
            ]  # fmt: skip
            _publish(feed, "three")
            sweep(outlets, 0)
            for outlet in (first, outlets[7], outlets[8]):
                assert list(events(await peers.read(outlet))) == ["one", "two", "three"]
            assert await peers.read(outlets[5]) == b""


@trio_test
async def test_everybody_gets_the_topics_asked_for_from_where_each_stands(kernel: Kernel) -> None:
    chance = random.Random(1)
    topics = [{CHAT}, {INSTANCES}, {CHAT, INSTANCES}]
    async with trio.open_nursery() as nursery:
        with ExitStack() as stack:
            peers, feed = Peers(nursery, stack), Feed(0, 1_000_000)
            written: list[tuple[str, str]] = []
            outlets, wants = list[Outlet](), list[tuple[int, set[str]]]()
            for _ in range(40):
                for _ in range(chance.randrange(4)):
                    written.append(
                        (chance.choice([CHAT, INSTANCES, ""]), f"{len(written)} {'x' * 50}")
                    )
                    feed.publish([Entry(written[-1][0], written[-1][1].encode())])
                want, outlet = chance.choice(topics), peers.open()
                outlet.follow(feed.view(text_frame, want), feed.head, nothing_older)
                outlets.append(outlet)
                wants.append((feed.head, want))
                kernel.takes = [chance.choice([0, 5, 60, 1000]) for _ in range(10)]
                sweep(outlets, 0)
                await trio.lowlevel.checkpoint()
            kernel.takes = []
            while any(outlet.stalled for outlet in outlets) or sweep(outlets, 0):
                await trio.lowlevel.checkpoint()
            for outlet, (start, want) in zip(outlets, wants, strict=True):
                expected = [text for topic, text in written[start:] if topic in want]
                assert list(events(await peers.read(outlet))) == expected
                assert outlet.cursor == feed.head


@trio_test
async def test_twenty_thousand_messages_reach_a_stalled_reader_in_order(kernel: Kernel) -> None:
    texts = [f"message {number}" for number in range(20_000)]

    async def refill(after: int) -> tuple[bytes, int]:
        page = texts[after : after + 256]
        await trio.lowlevel.checkpoint()
        return b"".join(text_frame(text.encode()) for text in page), after + len(page)

    async with trio.open_nursery() as nursery:
        with ExitStack() as stack:
            peers, feed = Peers(nursery, stack), Feed(0, 100_000)
            view = feed.view(text_frame, {CHAT})
            slow, quick = peers.open(), peers.open()
            for outlet in (slow, quick):
                peers.sockets[outlet].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                outlet.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                outlet.follow(view, 0, refill)
            got = b""
            for start in range(0, len(texts), 20):
                _publish(feed, *texts[start : start + 20])
                sweep([slow, quick], 0)
                got += await peers.read(quick)
            assert slow.stalled
            assert slow.cursor < feed.first
            assert list(events(got)) == texts
            assert list(events(await peers.read(slow))) == texts
