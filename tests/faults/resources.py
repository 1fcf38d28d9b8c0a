"""What a server has too little of, and what it must not use up: descriptors, memory, places for connections."""

from __future__ import annotations

import select
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Final

from cloudchat_transports.listener import PAUSE
from tests.faults import raw
from tests.faults.harness import PATIENCE
from tests.faults.scene import Scene

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

    from tests.faults.accounts import Result

STARVED: Final = ("sh", "-c", 'ulimit -n 48; exec "$@"', "sh")
"""Runs a command that may have few files open: what the server itself needs, its clients, and some more."""
CROWDED: Final = "cannot accept connections for now"
THOUSAND: Final = 1_000
AT_ONCE: Final = 10
"""Thousands of connections that are half open together, at most: half of what a server takes in."""
LEAK: Final = 8 * 2**20
"""Bytes that a server may have grown by in the end. (Ten thousand connections that each left 1 kB would be more.)"""


def descriptors(rounds: int, seed: int) -> Result:
    """The server has no file descriptors left: it lets nobody in for a while, and whoever is in notices nothing."""
    with Scene(seed, wrapped=STARVED) as it:
        crowd = it.crowd()
        for _ in range(rounds):
            lost, warned, began = crowd.times("lost"), it.said().count(CROWDED), time.monotonic()
            with ExitStack() as stack:
                for _ in range(100):
                    stack.enter_context(closing(raw.opened(it.server)))
                while it.said().count(CROWDED) == warned:
                    crowd.wait("ack")
                crowd.wait("ack", it.chance.randrange(5, 20))
                looked = it.said().count(CROWDED) - warned
            # It waits between two looks; one that did not would have looked thousands of times.
            assert looked <= (time.monotonic() - began) / PAUSE + 2, "it accepts in a busy loop"
            assert it.server.present() >= crowd.names
            assert crowd.times("lost") == lost, "somebody who was in was hurt"
        return it.result(rounds, "100 connections more than there was room for, each time")


def churn(rounds: int, seed: int) -> Result:
    """Clients come and go, on each transport, in order or with a reset: the server's memory stays as it is."""
    with Scene(seed) as it:
        it.crowd(transports=("ws",))
        cycles = rounds * THOUSAND
        for _ in range(max(cycles // 5, 400)):
            _come_and_go(it)
        before = it.server.memory()
        for _ in range(cycles):
            _come_and_go(it)
        after = it.server.memory()
        assert after < before + LEAK, f"{cycles} connections left {after - before} bytes"
        note = f"memory after a warm-up {before / 2**20:.1f} MiB, in the end {after / 2**20:.1f}"
        return it.result(cycles, note)


_WAYS: Final = (
    (raw.UPGRADE, b'"welcome"'),
    (raw.get("/v1/sse"), b'"welcome"'),
    (raw.get("/v1/poll?wait=0"), b'"cursor"'),
    (raw.get("/v1/instances"), b"]"),
    (b"GET /", b""),
)
"""What is sent, and what has come when the client goes."""


def _come_and_go(it: Scene) -> None:
    request, answer = it.chance.choice(_WAYS)
    sock = raw.opened(it.server)
    sock.sendall(request)
    assert answer in raw.until(sock, answer) if answer else True
    if it.chance.random() < 0.5:
        raw.reset(sock)
    else:
        sock.close()


def half_open(rounds: int, seed: int) -> Result:
    """Thousands of connections say nothing, or half a request: the server lets them go, and answers the others."""
    most = min(rounds, AT_ONCE)
    raw.have_descriptors(most * THOUSAND)
    with Scene(seed, "--limit", f"head_time={max(2, most)}") as it:
        crowd, memory = it.crowd(), 0
        lost = crowd.times("lost")
        for begun in range(0, rounds, AT_ONCE):
            with ExitStack() as stack:
                sockets = []
                for number in range(min(most, rounds - begun) * THOUSAND):
                    sock = stack.enter_context(closing(raw.opened(it.server)))
                    sock.sendall(b"GET /v1/ws HTTP/1.1\r\nHost" if number % 2 else b"")
                    sockets.append(sock)
                memory = max(memory, it.server.memory())
                crowd.wait("ack", 5)
                _are_let_go(sockets)
        assert it.server.ask("/readyz")[0] == 200
        assert crowd.times("lost") == lost, "somebody was hurt"
        note = f"{most:,},000 at once; the server's memory with them {memory / 2**20:.1f} MiB"
        return it.result(rounds * THOUSAND, note)


def _are_let_go(sockets: Iterable[socket.socket]) -> None:
    """Wait until the server has closed every one of them."""
    poller, left = select.epoll(), {sock.fileno(): sock for sock in sockets}
    with poller:
        for number in left:
            poller.register(number, select.EPOLLIN | select.EPOLLRDHUP)
        deadline = time.monotonic() + PATIENCE
        while left:
            assert time.monotonic() < deadline, f"{len(left)} are still connected"
            for number, _ in poller.poll(1):
                try:
                    gone = not left[number].recv(65_536)
                except ConnectionResetError:
                    gone = True
                if gone:
                    poller.unregister(number)
                    del left[number]
