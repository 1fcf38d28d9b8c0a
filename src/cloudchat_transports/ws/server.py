"""The server half of the WebSocket transport: who may come in, how a feed begins, and who has fallen silent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

import trio

from cloudchat_core.errors import Code, RefusedError
from cloudchat_core.session import Session
from cloudchat_transports.feeds import (
    TRANSPORTS,
    feed_name,
    feed_request,
    parse_query,
    switched_off,
)
from cloudchat_transports.ws.channel import Channel
from cloudchat_transports.ws.frames import text_frame
from cloudchat_transports.ws.handshake import HandshakeError, Upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from cloudchat_core.rates import Rates
    from cloudchat_engine.node import Node
    from cloudchat_transports.fanout import Fanout
    from cloudchat_transports.feeds import FeedRequest
    from cloudchat_transports.outlet import Outlet

PATH: Final = "/v1/ws"

Check: TypeAlias = "Callable[[str, str | None], str | None]"
"""Says why a caller with this Host and Origin (None: not sent) may not come in; None: it may."""

LOOK: Final = 1 / 12
"""Part of a heartbeat's time between two looks at who is silent."""


SMALL: Final = 16_384
"""Bytes of a snapshot that is written in one piece with what comes before it."""


class _Following(NamedTuple):
    """From where a feed goes on, and what is to be written before: a large snapshot, the same object for all."""

    snapshot: bytes
    topics: frozenset[str]
    offset: int


class WebSocketServer:
    """Serves WebSockets on connections that are handed to it; `run` looks after those that have fallen silent."""

    def __init__(
        self,
        node: Node,
        fanout: Fanout,
        *,
        rates: Rates,
        check: Check,
        transports: Collection[str] = TRANSPORTS,
    ) -> None:
        """Serve `node`; `rates` are those of all transports, `check` guards the handshake.

        Where `ws` is not among the `transports` that are switched on, every handshake is refused.
        """
        self._node, self._fanout, self._rates, self._check = node, fanout, rates, check
        self._transports = transports
        # In their order, so that a simulated run can be repeated.
        self._channels: dict[Channel, None] = {}
        self._snapshots: dict[frozenset[str], tuple[Sequence[bytes], bytes]] = {}

    async def serve(self, outlet: Outlet, head: bytes) -> None:
        """Serve one connection, whose request's head was read already, until it is closed."""
        opened = self._open(outlet, head)
        del head  # what stands in a frame here is held for as long as the connection lasts
        if opened is None:
            await outlet.aclose()
            return
        channel, following = opened
        del opened
        try:
            if following.snapshot:
                await outlet.send_all(following.snapshot)
            self._fanout.follow(outlet, text_frame, following.topics, following.offset)
            del following
            await channel.read()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # lost, or ended by us from elsewhere: what follows is the same
        finally:
            self._channels.pop(channel, None)
            self._fanout.unfollow(outlet)
            self._node.close_feed(channel.feed, channel.ending)
            await outlet.aclose()

    def _open(self, outlet: Outlet, head: bytes) -> tuple[Channel, _Following] | None:
        """Answer the request and begin the feed, or refuse it and finish (None)."""
        try:
            upgrade = Upgrade(head)
        except HandshakeError as error:
            outlet.finish(error.answer)
            return None
        try:
            request = self._admit(upgrade)
        except RefusedError as error:
            outlet.finish(upgrade.reject(error.code, error.detail))
            return None
        feed = feed_name()
        session = Session(self._node.limits, self._rates, outlet.peer, feed=feed)
        channel = Channel(self._node, outlet, session, self._rates)
        beginning = self._node.begin(request.after, request.topics, feed)
        self._node.open_feed(feed, channel.close)
        self._channels[channel] = None
        first = upgrade.accept() + text_frame(beginning.welcome)
        if beginning.gap is not None:
            first += text_frame(beginning.gap)
        snapshot = self._framed(request.topics, beginning.snapshot) if beginning.snapshot else b""
        if len(snapshot) <= SMALL:
            first, snapshot = first + snapshot, b""
        outlet.write(first)
        return channel, _Following(snapshot, request.topics, beginning.offset)

    def _admit(self, upgrade: Upgrade) -> FeedRequest:
        """Return what feed is asked for; raises `RefusedError`."""
        if upgrade.path != PATH:
            raise RefusedError(Code.NOT_FOUND, f"WebSockets are served at {PATH}")
        forbidden = self._check(upgrade.host, upgrade.origin)
        if forbidden is not None:
            raise RefusedError(Code.FORBIDDEN, forbidden)
        if "ws" not in self._transports:
            raise RefusedError(Code.NOT_FOUND, switched_off("ws", self._transports))
        return feed_request(parse_query(upgrade.query))

    def _framed(self, topics: frozenset[str], parts: Sequence[bytes]) -> bytes:
        """Frame a snapshot, once for all who get it: it may be large, and not all of them read it at once."""
        known = self._snapshots.get(topics)
        if known is None or known[0] is not parts:
            known = self._snapshots[topics] = parts, b"".join(map(text_frame, parts))
        return known[1]

    async def run(self) -> None:
        """Ping silent peers and let go of those that do not answer, until cancelled."""
        heartbeat = self._node.heartbeat
        while True:
            await trio.sleep(heartbeat * LOOK)
            now = trio.current_time()
            for channel in tuple(self._channels):
                channel.look(now, heartbeat)

    def wind_down(self) -> None:
        """Tell all that the server restarts, and close with 1012."""
        for channel in tuple(self._channels):
            channel.restart()
