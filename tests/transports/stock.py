"""Our application under our own listener and other people's servers, and a network that fails when it is told to."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.abc
import hypercorn.asyncio
import hypercorn.trio
import sniffio
import trio
import uvicorn
from hypercorn.config import Config

from cloudchat_core.rates import Rates
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.access import Access
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.listener import Listener, bind
from cloudchat_transports.ws.server import WebSocketServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from cloudchat_engine.node import Node


@asynccontextmanager
async def hypercorn_serves(app: Any, node: Node | None = None) -> AsyncIterator[int]:
    """Serve `app` by Hypercorn, on whatever runs the test; the port."""
    config, over = Config(), anyio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config.bind = [f"fd://{os.dup(listening.fileno())}"]
        config.graceful_timeout = 0.1
        on_trio = sniffio.current_async_library() == "trio"
        serve = hypercorn.trio.serve if on_trio else hypercorn.asyncio.serve
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, app, config, shutdown_trigger=over.wait))
            yield listening.getsockname()[1]
            over.set()


@asynccontextmanager
async def listener_serves(
    app: Any, node: Node, transports: Collection[str] = TRANSPORTS
) -> AsyncIterator[int]:
    """Serve `app` by our own listener, which needs Trio; the port."""
    limits, fanout = node.limits, Fanout(node)
    rates = Rates(limits.commands_per_second, limits.commands_burst)
    websockets = WebSocketServer(
        node, fanout, rates=rates, check=Access().check, transports=transports
    )
    http = HttpServer(app, limits, node.heartbeat)
    sockets = bind("127.0.0.1", 0)
    listener = Listener(sockets, limits=limits, websockets=websockets, http=http, fanout=fanout)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        await nursery.start(listener.run)
        yield listener.port
        await listener.shut_down(1)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def uvicorn_serves(app: Any, node: Node | None = None) -> AsyncIterator[int]:
    """Serve `app` by uvicorn, which needs asyncio; the port."""
    config = uvicorn.Config(
        app, lifespan="off", log_config=None, ws="wsproto", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(server.serve, sockets=[listening]))
            yield listening.getsockname()[1]
            server.should_exit = server.force_exit = True


async def quiet() -> None:
    """Wait until every task waits for something.

    On asyncio AnyIO looks every 0.1 s, and uvicorn's own task wakes as often: in step, the two never end. So it is
    begun anew, out of step.
    """
    while True:
        with anyio.move_on_after(0.15):
            await anyio.wait_all_tasks_blocked()
            return


@dataclass
class Recorder:
    """Notes the requests that come to an application."""

    app: Any
    requests: list[dict[str, Any]] = field(default_factory=list)
    news: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            self.requests.append({**scope, "headers": headers})
            self.news.set()
        await self.app(scope, receive, send)

    async def seen(self, path: str, **headers: str) -> None:
        """Wait for a request of `path` with these headers."""
        wanted = {name.replace("_", "-"): value for name, value in headers.items()}.items()
        while not any(
            request["path"] == path and wanted <= request["headers"].items()
            for request in self.requests
        ):
            self.news = anyio.Event()
            await self.news.wait()


class Line:
    """A TCP connection in between, to be cut."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.cuts = 0
        self._target = port
        self._open: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """Cut all connections, wherever they are."""
        self.cuts += 1
        for scope in tuple(self._open):
            scope.cancel()

    async def serve(self, stream: anyio.abc.SocketStream) -> None:
        with anyio.CancelScope() as scope:
            self._open.add(scope)
            try:
                async with (
                    stream,
                    await anyio.connect_tcp("127.0.0.1", self._target) as other,
                    anyio.create_task_group() as tasks,
                ):
                    tasks.start_soon(_carry, stream, other, tasks.cancel_scope)
                    tasks.start_soon(_carry, other, stream, tasks.cancel_scope)
            except OSError:
                pass
            finally:
                self._open.discard(scope)


async def _carry(
    source: anyio.abc.SocketStream, target: anyio.abc.SocketStream, both: anyio.CancelScope
) -> None:
    try:
        async for data in source:
            await target.send(data)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass
    both.cancel()


@asynccontextmanager
async def line(port: int) -> AsyncIterator[Line]:
    """A line to `port` of this machine."""
    multi = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with multi, anyio.create_task_group() as tasks:
        between = Line(port)
        between.port = multi.extra(anyio.abc.SocketAttribute.local_port)
        tasks.start_soon(multi.serve, between.serve)
        yield between
        tasks.cancel_scope.cancel()
