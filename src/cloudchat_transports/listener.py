"""One port for everything: accept, look at the first request's head, and hand the connection on.

A WebSocket upgrade goes to our own server (`ws/server.py`), a plain request for an event stream or a poll to the
application itself (`direct.py`), after which the next head is looked at; whatever else, and all that follows it on its
connection, to Hypercorn, all over the connection's `Outlet`. The bytes that were looked at are read again from the
outlet where Hypercorn takes over. (An upgrade that comes behind its requests goes through the ASGI application.)

The accept loop outlives everything: a connection's exception ends that connection, and when the process has no file
descriptors left the loop pauses until some were closed.
"""

from __future__ import annotations

import errno
import logging
import re
import socket
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from cloudchat_core.errors import CloudchatError, Code
from cloudchat_core.rates import network
from cloudchat_transports._hypercorn import KEEP_ALIVE
from cloudchat_transports.direct import plain_request, serve_plain
from cloudchat_transports.outlet import Outlet
from cloudchat_transports.responses import last_words, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from cloudchat_core.limits import Limits
    from cloudchat_transports._hypercorn import HttpServer
    from cloudchat_transports.fanout import Fanout
    from cloudchat_transports.outgoing import StartSoon
    from cloudchat_transports.ws.server import WebSocketServer

BACKLOG: Final = 1_024
"""Connections that the kernel holds for us while we are busy (the kernel's own bound, net.core.somaxconn, is 4,096)."""

ACCEPTS: Final = 64
"""Connections taken in between two checkpoints."""

LOOK: Final = 1 / 12
"""Part of the time for a request's head after which is looked for those that have not sent theirs."""

PAUSE: Final = 0.2
"""Seconds to wait when the process is out of file descriptors."""

_TASK: Final = "connection"  # of one name, instead of one each

_OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_UPGRADE: Final = re.compile(
    rb"\AGET [^\r\n]*(?:\r?\n[^\r\n]+)*?\r?\nupgrade:[ \t]*websocket[ \t]*\r?\n", re.IGNORECASE
)
_TIMEOUT: Final = last_words(
    problem(Code.BAD_REQUEST, "the request's head did not come in time", status=408)
)
_TOO_LONG: Final = last_words(problem(Code.TOO_LARGE, "the request's head is too long", status=431))
_FULL: Final = last_words(
    problem(Code.UNAVAILABLE, "the server has as many connections as it takes", retry_after=5.0)
)

_log = logging.getLogger(__name__)


class BindError(CloudchatError):
    """The server cannot listen where it was told to; the text says why."""


def bind(host: str, port: int) -> list[socket.socket]:
    """Return listening sockets for all addresses of `host` on `port` (0: any free port, the same for all).

    Raises `BindError` where there is no such address, or another program has the port.
    """
    try:
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise BindError(
            f"cannot listen on {host!r}: {getattr(error, 'strerror', None) or 'it is no name'}"
        ) from error
    sockets: list[socket.socket] = []
    for family, address in dict.fromkeys(
        (family, address[0]) for family, _, _, _, address in found
    ):
        if sockets:
            port = sockets[0].getsockname()[1]
        try:
            listening = socket.create_server((str(address), port), family=family, backlog=BACKLOG)
        except OSError as error:
            if error.errno in {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL} and len(found) > 1:
                continue  # `localhost` may have an IPv6 address on a machine without IPv6
            for other in sockets:
                other.close()
            if error.errno == errno.EADDRINUSE:
                raise BindError(
                    f"port {port} of {host} is taken by another program; choose another port"
                ) from error
            raise BindError(
                f"cannot listen on port {port} of {host}: {error.strerror or error}"
            ) from error
        listening.setblocking(False)
        listening.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # what it accepts inherits it
        sockets.append(listening)
    if not sockets:
        raise BindError(f"cannot listen on {host!r}: no address of it is this machine's")
    return sockets


class Listener:
    """Accepts connections on `sockets` (see `bind`) and serves them."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        *,
        limits: Limits,
        websockets: WebSocketServer,
        http: HttpServer,
        fanout: Fanout,
    ) -> None:
        """The sockets are the listener's from now on."""
        self._sockets, self._limits, self._websockets, self._http, self._fanout = (
            sockets,
            limits,
            websockets,
            http,
            fanout,
        )
        self._outlets: set[Outlet] = set()
        self._by_network: Counter[str] = Counter()
        # Those whose first request has not come yet: until when it may, and what they are told when it did not.
        self._unasked: dict[Outlet, tuple[float, bytes]] = {}
        self._accepting, self._serving = trio.CancelScope(), trio.CancelScope()
        self._idle = trio.Event()
        self.accepted = 0
        """How many connections were accepted, ever."""

    @property
    def port(self) -> int:
        """The port that is listened on."""
        port: int = self._sockets[0].getsockname()[1]
        return port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._outlets)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept and serve until cancelled, or until `shut_down` is through."""
        try:
            with self._serving:
                async with trio.open_nursery() as nursery:
                    with self._accepting:
                        async with trio.open_nursery() as accepting:
                            accepting.start_soon(self._hurry)
                            for listening in self._sockets:
                                accepting.start_soon(self._accept, listening, nursery)
                            task_status.started()
        finally:
            self._close_sockets()
            for outlet in tuple(self._outlets):
                outlet.abort()

    async def shut_down(self, within: float) -> None:
        """Accept nothing more, let everybody go in order, and close what is left after `within` seconds."""
        self._accepting.cancel()
        self._close_sockets()
        for outlet in tuple(self._unasked):
            outlet.finish(b"")
        self._websockets.wind_down()
        await self._http.wind_down()
        with trio.move_on_after(within):
            while self._outlets:
                self._idle = trio.Event()
                await self._idle.wait()
        for outlet in tuple(self._outlets):
            outlet.abort()
        self._serving.cancel()

    def _close_sockets(self) -> None:
        for listening in self._sockets:
            if listening.fileno() >= 0:
                trio.lowlevel.notify_closing(listening)
                listening.close()

    # ------------------------------------------------------------------ accepting

    async def _accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        start_soon = nursery.start_soon  # one for all
        while listening.fileno() >= 0:  # `shut_down` may have closed it in this very turn
            await trio.lowlevel.wait_readable(listening)
            for _ in range(ACCEPTS):
                try:
                    sock, address = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in _OUT_OF_RESOURCES:
                        _log.warning("cannot accept connections for now: %s", error.strerror)
                        await trio.sleep(PAUSE)
                        break
                    continue  # the peer was gone already, or the network had something to say (accept(2))
                sock.setblocking(False)
                self._admit(sock, str(address[0]), start_soon)

    def _admit(self, sock: socket.socket, peer: str, start_soon: StartSoon) -> None:
        most = self._limits.connections_per_address
        here = self._by_network[network(peer)]
        if len(self._outlets) >= self._limits.connections or 0 < most <= here:
            with sock, suppress(OSError):
                sock.send(_FULL)
            return
        outlet = Outlet(sock, start_soon=start_soon, limits=self._limits, peer=peer)
        self._outlets.add(outlet)
        self._by_network[network(peer)] += 1
        self.accepted += 1
        start_soon(self._serve, outlet, name=_TASK)

    async def _hurry(self) -> None:
        """Let go of those that do not ask in time. (A deadline for each would take a fifth of its start.)"""
        while True:
            await trio.sleep(self._limits.head_time * LOOK)
            now = trio.current_time()
            late = [item for item in self._unasked.items() if item[1][0] <= now]
            for outlet, (_, words) in late:
                del self._unasked[outlet]
                outlet.finish(words)

    # ------------------------------------------------------------------ one connection

    async def _serve(self, outlet: Outlet) -> None:
        try:
            patience = self._limits.head_time
            while await (await self._hand_on(outlet, patience)):
                patience = KEEP_ALIVE
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the peer is gone, or we closed it
        except* Exception:  # noqa: BLE001 - a bug costs one connection, not the server
            _log.exception("the connection of %s ended", outlet.peer)
        finally:
            outlet.abort()
            self._outlets.discard(outlet)
            self._leave(network(outlet.peer))
            if not self._outlets:
                self._idle.set()

    def _leave(self, place: str) -> None:
        self._by_network[place] -= 1
        if not self._by_network[place]:
            del self._by_network[place]

    async def _hand_on(self, outlet: Outlet, patience: float) -> Awaitable[bool | None]:
        """Read a request's head and return what serves it, however long it lasts; True from that: the next may come.

        `patience` (seconds) is for its first byte.
        """
        if self._accepting.cancel_called:
            return outlet.aclose()
        head, end = b"", None
        until = trio.current_time() + patience
        self._unasked[outlet] = until, b""
        try:
            while (
                end is None
                and len(head) <= self._limits.head
                and (data := await outlet.receive_some())
            ):
                if not head:
                    until = trio.current_time() + self._limits.head_time
                # The end may have been cut in two; the rest need not be looked at again.
                start = max(0, len(head) - 3)
                head += data
                end = _HEAD_END.search(head, start)
                self._unasked[outlet] = until, _TIMEOUT
        except trio.ClosedResourceError:
            if outlet in self._unasked:
                raise
            return outlet.aclose()  # it took too long
        finally:
            self._unasked.pop(outlet, None)
        if not head:
            return outlet.aclose()
        if (len(head) if end is None else end.end()) > self._limits.head:
            outlet.finish(_TOO_LONG)
            return outlet.aclose()
        if end is not None and _UPGRADE.match(head, 0, end.end()):
            outlet.unread(head[end.end() :])
            return self._websockets.serve(outlet, head[: end.end()])
        state: dict[str, object] = {"outlet": outlet, "fanout": self._fanout}
        plain = plain_request(head)
        if plain is not None:
            return serve_plain(self._http.app, outlet, plain, state)
        outlet.unread(head)
        return self._http.serve(outlet, state)
