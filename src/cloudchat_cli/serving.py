"""Wires a server: the one place where a node, its log and provider, and the transports meet."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import string
import sys
import uuid
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import trio

from cloudchat_cli.collecting import collect_when_quiet
from cloudchat_cli.output import Failure
from cloudchat_core.clock import SystemClock
from cloudchat_core.errors import CloudchatError
from cloudchat_core.rates import Rates
from cloudchat_engine.logs.sqlite import SqliteLog
from cloudchat_engine.node import Node
from cloudchat_engine.ports import LogDamagedError
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.http import HttpApp
from cloudchat_transports.listener import Listener, bind
from cloudchat_transports.metrics import gauge
from cloudchat_transports.ws.server import WebSocketServer

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Collection, Sequence

    from cloudchat_core.limits import Limits
    from cloudchat_engine.ports import Log, Provider, Retention, Timer
    from cloudchat_transports.access import Access

SHUTDOWN: Final = 5.0
"""Seconds in which connections may end in order when the server stops."""

_EPOCH: Final = string.ascii_lowercase + string.digits
_OPEN: Final = {"0.0.0.0", "::", ""}  # noqa: S104 - compared with, not bound to


def new_id() -> str:
    """Return the id of a new instance or operation."""
    return str(uuid.uuid4())


def new_epoch() -> str:
    """Return the name of a new epoch."""
    return "".join(secrets.choice(_EPOCH) for _ in range(8))


@dataclass(frozen=True, slots=True)
class Settings:
    """What `cloudchat serve` was told; durations are in seconds."""

    transports: Collection[str]
    host: str
    port: int
    log: Log
    provider: Callable[[Timer], Provider]
    access: Access
    limits: Limits
    keep: Retention
    grace: float
    heartbeat: float


@asynccontextmanager
async def serving(
    node: Node,
    sockets: Sequence[socket.socket],
    access: Access,
    transports: Collection[str] = TRANSPORTS,
) -> AsyncIterator[Listener]:
    """Run `node` and serve it on `sockets`; leaving lets all clients go in order and closes the log."""
    limits = node.limits
    rates = Rates(limits.commands_per_second, limits.commands_burst, limits.rates_per_address)
    fanout = Fanout(node)
    websockets = WebSocketServer(
        node, fanout, rates=rates, check=access.check, transports=transports
    )
    connections = gauge(
        "cloudchat_connections", "Connections that are open", lambda: listener.connections
    )
    app = HttpApp(node, access, rates=rates, metrics=[connections], transports=transports)
    http = HttpServer(app, limits, node.heartbeat)
    listener = Listener(sockets, limits=limits, websockets=websockets, http=http, fanout=fanout)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run)
        nursery.start_soon(fanout.run)
        nursery.start_soon(websockets.run)
        await nursery.start(listener.run)
        try:
            yield listener
        finally:
            with trio.CancelScope(shield=True):
                app.wind_down()
                await listener.shut_down(SHUTDOWN)
            nursery.cancel_scope.cancel()


def run(settings: Settings, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `ready` is called with the server's URL. Raises `Failure`."""
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    _raise_file_limit()
    try:
        trio.run(_serve, settings, ready)
    except* CloudchatError as group:
        raise Failure(_first(group, settings.log)) from None


async def _serve(settings: Settings, ready: Callable[[str], None]) -> None:
    # Before the log is opened: a port that is taken must leave no trace in it.
    sockets = bind(settings.host, settings.port)
    clock = SystemClock()
    timer = SystemTimer(clock)
    node = Node(
        settings.log,
        settings.provider(timer),
        clock=clock,
        timer=timer,
        new_id=new_id,
        new_epoch=new_epoch,
        limits=settings.limits,
        grace=settings.grace,
        heartbeat=settings.heartbeat,
        keep=settings.keep,
    )
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with serving(node, sockets, settings.access, settings.transports) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    collect_when_quiet, lambda: (listener.accepted, node.state.offset)
                )
                ready(_url(settings.host, listener.port))
                await anext(signals)
                nursery.cancel_scope.cancel()
            logging.getLogger(__name__).info("stopping")
            trio.lowlevel.spawn_system_task(_impatient, signals)


async def _impatient(signals: AsyncIterator[int]) -> None:
    """A second signal ends the process at once: what was acknowledged is durable."""
    os._exit(128 + await anext(signals))


def _url(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in _OPEN else f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}"


def _first(group: BaseExceptionGroup[CloudchatError], log: Log) -> str:
    """Return the text of the first error in a group of groups; where the log is damaged, with its file."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error)
    if isinstance(error, LogDamagedError) and isinstance(log, SqliteLog):
        return text if str(log.path) in text else f"{log.path}: {text}"
    return text


def _raise_file_limit() -> None:
    """Every connection takes a file descriptor; the soft limit (often 1,024) is there for programs that use select."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # noqa: PLC0415 - not everywhere

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
