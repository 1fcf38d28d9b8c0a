"""Our own transports keep what every transport promises: under our listener, and under other ASGI servers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import anyio.lowlevel
import pytest
import trio

from cloudchat_core.rates import Rates
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.access import Access
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.http import HttpApp
from cloudchat_transports.listener import Listener, bind
from cloudchat_transports.poll.client import PollTransport
from cloudchat_transports.sse.client import SseTransport
from cloudchat_transports.testing import Served, ServerFactory, TransportContract
from cloudchat_transports.ws.client import WebSocketTransport
from cloudchat_transports.ws.server import WebSocketServer
from tests.transports.portable import PLACES, Place, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudchat_engine.node import Node


@asynccontextmanager
async def native(client: Any, node: Node) -> AsyncIterator[Served]:
    """Serve a node by our own listener."""
    fanout, rates = Fanout(node), Rates(0, 1)
    websockets = WebSocketServer(node, fanout, rates=rates, check=Access().check)
    app = HttpApp(node, Access(), rates=rates)
    listener = Listener(
        bind("127.0.0.1", 0),
        limits=node.limits,
        websockets=websockets,
        http=HttpServer(app, node.limits, node.heartbeat),
        fanout=fanout,
    )

    async def wind_down() -> None:
        app.wind_down()
        await listener.shut_down(5)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fanout.run)
        nursery.start_soon(websockets.run)
        await nursery.start(listener.run)
        yield Served(client(f"http://127.0.0.1:{listener.port}"), wind_down)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def portable(client: Any, place: Place, node: Node) -> AsyncIterator[Served]:
    """Serve a node under another ASGI server."""
    app = HttpApp(node, Access())

    async def wind_down() -> None:
        app.wind_down()
        await anyio.lowlevel.checkpoint()

    async with listening(place, app) as url:
        yield Served(client(url), wind_down)


class Native(TransportContract):
    client: ClassVar[Any]

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"

    @pytest.fixture
    def serve(self) -> ServerFactory:
        return partial(native, self.client)


class TestWebSocket(Native):
    client = WebSocketTransport


class TestEventStream(Native):
    client = SseTransport
    close_codes = False


class TestPoll(Native):
    client = PollTransport
    close_codes = False


class Portable(TransportContract):
    client: ClassVar[Any]

    @pytest.fixture(params=PLACES, ids=str)
    def place(self, request: pytest.FixtureRequest) -> Place:
        place: Place = request.param
        return place

    @pytest.fixture
    def anyio_backend(self, place: Place) -> str:
        return place.backend

    @pytest.fixture
    def serve(self, place: Place) -> ServerFactory:
        return partial(portable, self.client, place)


class TestPortableEventStream(Portable):
    client = SseTransport
    close_codes = False


class TestPortablePoll(Portable):
    client = PollTransport
    close_codes = False


class TestPortableWebSocket(Portable):
    client = WebSocketTransport

    @pytest.fixture(params=[place for place in PLACES if place.server == "uvicorn"], ids=str)
    def place(self, request: pytest.FixtureRequest) -> Place:
        place: Place = request.param
        return place


class TestWebSocketUnderHypercorn(Portable):
    """Hypercorn 0.18 does not tell its application with which code a client has closed."""

    client = WebSocketTransport
    partings = False

    @pytest.fixture(params=[place for place in PLACES if place.server == "hypercorn"], ids=str)
    def place(self, request: pytest.FixtureRequest) -> Place:
        place: Place = request.param
        return place
