"""Where the simulated world replaces the real one: the few doors through which our code reaches the machine.

* sockets: a descriptor of the simulated network is written to by `os.write`, and waited for by Trio's `wait_readable`,
  `wait_writable` and `notify_closing`, as any other;
* chance: `os.urandom`, `secrets`, `uuid` and `random` draw from the world's seed;
* time: `time.monotonic` is the world's (httpx asks it how old a connection is);
* threads: what is handed to a thread is done at once, as nobody can say when a thread is done.

All of it ends with the context. What does not belong to the simulated network goes to the real functions.
"""

from __future__ import annotations

import os
import random
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import anyio.to_thread
import trio

# The clients are here so that nothing is imported for the first time within a world: that draws numbers.
import cloudchat_transports.poll.client
import cloudchat_transports.sse.client
import cloudchat_transports.ws.client_trio  # noqa: F401
from cloudchat_transports import feeds
from cloudchat_transports.testing.simulation.network import FIRST_FD
from cloudchat_transports.testing.simulation.sockets import Socket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudchat_transports.testing.simulation.network import Network


@contextmanager
def replaced(network: Network, seed: int) -> Iterator[None]:
    """Have everything that runs meanwhile live in the world of `network`."""
    chance = random.Random(f"{seed} chance")
    before = random.getstate()
    random.seed(f"{seed} random")
    feeds._names.clear()  # noqa: SLF001 - a store of names that the last world has drawn
    with ExitStack() as stack:
        swap = _Swap(stack)
        swap(os, "write", _write(network))
        swap(trio.lowlevel, "wait_readable", _wait_readable)
        swap(trio.lowlevel, "wait_writable", _wait_writable)
        swap(trio.lowlevel, "notify_closing", _notify_closing)
        swap(os, "urandom", chance.randbytes)
        swap(random, "_urandom", chance.randbytes)  # what `secrets` draws from
        swap(time, "monotonic", _monotonic)
        swap(anyio.to_thread, "run_sync", _at_once)
        try:
            yield
        finally:
            feeds._names.clear()  # noqa: SLF001
            random.setstate(before)


class _Swap:
    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def __call__(self, module: Any, name: str, other: Any) -> None:
        self._stack.enter_context(mock.patch.object(module, name, other))


def _write(network: Network) -> Callable[[int, Any], int]:
    real = os.write

    def write(fd: int, data: Any) -> int:
        return network.write(fd, data) if fd >= FIRST_FD else real(fd, data)

    return write


_wait_readable_really = trio.lowlevel.wait_readable
_wait_writable_really = trio.lowlevel.wait_writable
_notify_closing_really = trio.lowlevel.notify_closing


async def _wait_readable(sock: Any) -> None:
    await (sock.wait_readable() if isinstance(sock, Socket) else _wait_readable_really(sock))


async def _wait_writable(sock: Any) -> None:
    await (sock.wait_writable() if isinstance(sock, Socket) else _wait_writable_really(sock))


def _notify_closing(sock: Any) -> None:
    if isinstance(sock, Socket):
        sock.notify_closing()
    else:
        _notify_closing_really(sock)


def _monotonic() -> float:
    return trio.current_time()


async def _at_once(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
    await trio.lowlevel.checkpoint()
    return function(*args)
