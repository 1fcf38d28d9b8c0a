"""The one place that touches Hypercorn's insides: its HTTP server for a connection that somebody else accepted.

`hypercorn.trio.serve` opens its own sockets; we have one port for everything. `TCPServer` is what Hypercorn itself runs
for each connection. It is not documented, and its signature has changed between releases: hence the narrow pin, and a
test that holds the signature.

HTTP/1.1 is all that is spoken here. Hypercorn would also take HTTP/2 without TLS, which no browser speaks, and in which
a client that leaves its flow-control windows shut keeps whole answers in memory for ever: a hundred a connection, and
the deadline of stalled readers never sees it, since the socket itself takes everything.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import h11
import trio
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import LifespanState
from hypercorn.utils import wrap_app

from cloudchat_transports.outlet import RECEIVE

if TYPE_CHECKING:
    from hypercorn.events import Event
    from hypercorn.protocol import ProtocolWrapper

    from cloudchat_core.limits import Limits
    from cloudchat_transports.outlet import Outlet

_log = logging.getLogger(__name__)

KEEP_ALIVE = 75.0
"""Seconds that an idle connection is kept (nginx 75 s): Hypercorn's 5 s end just when a client sends its next POST."""


FAIR = 1_024
"""Bytes taken from a WebSocket until the others have their turn: up to 170 frames, each of which costs as any other."""


class _Http1(H11Protocol):
    """Hypercorn's HTTP/1.1, which stays what it is: a server may ignore `Upgrade` (RFC 9110 §7.8)."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Neither `Upgrade: h2c` nor HTTP/2's preface means anything here."""


class _Connection(TCPServer):
    """Hypercorn's server of one connection, with `_Http1` for whatever comes, and an end when the client has gone.

    Hypercorn begins to wait for the next request when an answer is out, also where the client closed in the same
    moment, as curl does. It would then keep the connection for the whole of `KEEP_ALIVE`.
    """

    _gone = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._reading = trio.CancelScope()

    @property
    def protocol(self) -> ProtocolWrapper:
        return self._wrapper

    @protocol.setter
    def protocol(self, made: ProtocolWrapper) -> None:
        made.protocol = _Http1(
            made.app,
            made.config,
            made.context,
            made.task_group,
            made.state,
            made.ssl,
            made.client,
            made.server,
            made.send,
        )
        self._wrapper = made

    async def protocol_send(self, event: Event) -> None:
        if not (self._gone and isinstance(event, Updated)):
            await super().protocol_send(event)
        if isinstance(event, Closed):
            # Else who reads waits for ever for the turn of a request that came before the last answer was out.
            self._reading.cancel()

    async def _read_data(self) -> None:
        with self._reading, suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            data = b"something"
            while data:
                data = bytes(await self.stream.receive_some(self._turn()))
                await self.protocol.handle(RawData(data))
        await self.protocol.handle(Closed())
        self._gone = True
        await self.idle_task.stop()

    def _turn(self) -> int:
        """Return how many bytes may be taken until the others have their turn."""
        http1 = self.protocol.protocol
        is_websocket = isinstance(http1, H11Protocol) and isinstance(
            http1.connection, H11WSConnection
        )
        return FAIR if is_websocket else RECEIVE


class HttpServer:
    """Serves one ASGI application on connections that are handed to it."""

    def __init__(self, app: Any, limits: Limits, heartbeat: float) -> None:
        """Serve `app`; `heartbeat` (seconds) is how often Hypercorn pings a WebSocket on a re-used connection."""
        config = Config()
        config.accesslog = None
        config.errorlog = logging.getLogger("cloudchat.http")
        config.h11_max_incomplete_size = limits.head
        config.include_server_header = False
        config.keep_alive_timeout = KEEP_ALIVE
        config.websocket_max_message_size = limits.frame
        config.websocket_ping_interval = heartbeat
        self._config = config
        self.app = app
        """The application, as it is."""
        self._app = wrap_app(app, config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)

    async def serve(self, outlet: Outlet, state: dict[str, object]) -> None:
        """Serve the requests of one connection until it ends; `state` is the ASGI `state` of each."""
        stream = cast(
            "Any", outlet
        )  # it is annotated as a TLS stream, but takes any stream that has a `socket`
        try:
            await _Connection(self._app, self._config, self._context, LifespanState(state), stream)
        except* (h11.LocalProtocolError, UnicodeError) as errors:
            # What Hypercorn makes of a WebSocket's client that does not wait for the answer to its handshake, or of a
            # field that is not ASCII. The connection has ended; whoever sends such things should not fill the log.
            _log.debug("the connection of %s ended", outlet.peer, exc_info=errors)

    async def wind_down(self) -> None:
        """Close idle connections now, and the others after the response that they are at."""
        await self._context.terminated.set()
