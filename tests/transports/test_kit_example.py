"""The example of a third party's transport keeps what every transport promises."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import pytest

from cloudchat_transports.testing import Served, ServerFactory, TransportContract
from examples.tcp_transport import TcpServer, TcpTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudchat_engine.node import Node


@asynccontextmanager
async def tcp(node: Node) -> AsyncIterator[Served]:
    server = TcpServer(node)
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port: int = listeners.extra(anyio.abc.SocketAttribute.local_port)

    async def wind_down() -> None:
        await listeners.aclose()
        server.wind_down()

    async with listeners, anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, listeners.listeners[0])
        yield Served(TcpTransport("127.0.0.1", port), wind_down)
        tasks.cancel_scope.cancel()


class TestTcp(TransportContract):
    @pytest.fixture
    def serve(self) -> ServerFactory:
        return tcp
