"""A whole server as one ASGI application: a node and its HTTP side, to be run or mounted as any other application.

Served by itself, the application runs its node between the two ends of ASGI's lifespan. Mounted in somebody's site it
hears nothing of these, so the site's own lifespan enters `running`.
"""

from __future__ import annotations

import logging
import secrets
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import anyio

from cloudchat_core.clock import SystemClock
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports.access import Access
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.http import HttpApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from cloudchat_core.limits import Limits
    from cloudchat_engine.ports import Log, Provider, Retention
    from cloudchat_transports.requests import Receive, Scope, Send

DURATION: Final = 20.0
"""Seconds that an operation takes where there is no provider but the simulated one."""

_log = logging.getLogger(__name__)


class CloudchatApp:
    """A server of a workspace as an ASGI application, on asyncio and Trio; `node` is what it serves.

    It has to be the only one that writes to its log: one process, one worker.
    """

    def __init__(
        self,
        log: Log,
        provider: Provider | None = None,
        *,
        access: Access | None = None,
        transports: Collection[str] = TRANSPORTS,
        limits: Limits | None = None,
        keep: Retention | None = None,
        grace: float = 5,
        heartbeat: float = 15,
    ) -> None:
        """Keep records in `log`; `provider` does the work (None: it is simulated), `access` says who may call.

        `grace` and `heartbeat` are in seconds.
        """
        clock = SystemClock()
        timer = SystemTimer(clock)
        self.node = Node(
            log,
            provider or SimulatedProvider(timer, DURATION),
            clock=clock,
            timer=timer,
            new_id=lambda: str(uuid.uuid4()),
            new_epoch=lambda: secrets.token_hex(4),
            limits=limits,
            keep=keep,
            grace=grace,
            heartbeat=heartbeat,
        )
        self._app = HttpApp(self.node, access or Access(), transports=transports)
        self._serving = 0
        self._idle = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a request, a WebSocket, or the lifespan of a server that serves nothing else."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        self._serving += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._serving -= 1
            if not self._serving:
                self._idle.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the node while the body does; what it serves meanwhile ends with it.

        Entering raises an exception group around a `LogError` where the log cannot be opened.
        """
        async with anyio.create_task_group() as tasks:
            await tasks.start(self.node.run)
            try:
                yield
            finally:
                self._app.wind_down()
                tasks.cancel_scope.cancel()

    async def wind_down(self, within: float = 5) -> None:
        """Tell all clients that the server restarts, and wait up to `within` seconds until they are gone.

        To be called before the ASGI server stops: it would wait for event streams, which have no end of their own.
        """
        self._app.wind_down()
        with anyio.move_on_after(within):
            while self._serving:
                self._idle = anyio.Event()
                await self._idle.wait()

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        stage = "startup"
        try:
            async with self.running():
                await send({"type": "lifespan.startup.complete"})
                stage = "shutdown"
                await receive()
        except Exception as error:  # noqa: BLE001 - the server is told, and decides
            _log.exception("the node could not be run")
            await send({"type": f"lifespan.{stage}.failed", "message": str(_first(error))})
        else:
            await send({"type": "lifespan.shutdown.complete"})


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
