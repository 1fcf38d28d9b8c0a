"""What the tests of the transport kit hold in their hands: a node that is served, and connections to it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import msgspec

from cloudchat_core.client_session import decode_frame
from cloudchat_core.codec import token_hash
from cloudchat_core.commands import Caller, Say
from cloudchat_engine.node import Node

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from cloudchat_core.clock import ManualClock
    from cloudchat_core.presence import Ending
    from cloudchat_transports.client_transport import Connection, Transport


@dataclass(frozen=True)
class Served:
    """A node that is served: the client half that reaches it, and how to tell all clients of a planned restart."""

    transport: Transport
    wind_down: Callable[[], Awaitable[None]]


ServerFactory: TypeAlias = "Callable[[Node], AbstractAsyncContextManager[Served]]"
"""Serves a running node for the time of a context."""


class Peer:
    """A connection in the hands of a test."""

    def __init__(self, connection: Connection, new_id: Callable[[], str]) -> None:
        """`new_id` makes command ids; those of one token are never used twice."""
        self.connection = connection
        self._new_id = new_id

    async def send(self, kind: str, **fields: Any) -> str:
        """Send a command and return its id."""
        command_id = str(fields.pop("id", "") or self._new_id())
        await self.connection.send(msgspec.json.encode({"type": kind, "id": command_id, **fields}))
        return command_id

    async def next(self) -> dict[str, Any]:
        """Return the next frame; it is one that a client can read."""
        data = await self.connection.receive()
        assert data is not None, f"the connection ended with {self.connection.close_code}"
        assert decode_frame(data) is not None, f"a server does not say {data}"
        frame: dict[str, Any] = msgspec.json.decode(data)
        return frame

    async def until(self, *kinds: str, **fields: Any) -> dict[str, Any]:
        """Read on to the first frame of one of these types with these fields."""
        while True:
            frame = await self.next()
            if frame["type"] in kinds and fields.items() <= frame.items():
                return frame

    async def answer(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command and return the answer to it; what comes before that is dropped."""
        return await self.until("ack", "error", id=await self.send(kind, **fields))

    async def join(self, nickname: str) -> str:
        """Take part, with a token made of the nickname; the cursor of `joined`."""
        ack = await self.answer("join", nickname=nickname, token=token_of(nickname))
        assert ack["type"] == "ack", ack
        return str(ack["cursor"])

    async def ended(self) -> int:
        """Read on to the end and return the close code."""
        while await self.connection.receive() is not None:
            pass
        return self.connection.close_code


def token_of(nickname: str) -> str:
    """Return a token for a nickname of the tests."""
    return f"{nickname.lower():_<22}"


class AttendedNode(Node):
    """A node that tells how many feeds are open."""

    _open: frozenset[str] = frozenset()

    def open_feed(self, feed: str, end: Callable[[int], None], scopes: Iterable[str] = ()) -> None:
        self._open |= {feed}
        super().open_feed(feed, end, scopes)

    def close_feed(self, feed: str, ending: Ending, held: int = 0) -> None:
        self._open -= {feed}
        super().close_feed(feed, ending, held)

    async def attended_by(self, count: int) -> None:
        """Return when so many feeds are open; a poll is one while it waits."""
        while len(self._open) != count:  # noqa: ASYNC110 - between polls there is nobody to tell
            await anyio.sleep(0.01)


class World:
    """A node that is served, and connections to it."""

    def __init__(self, node: AttendedNode, clock: ManualClock, served: Served) -> None:
        self.node, self.clock, self.served = node, clock, served
        self._ids = count(1)

    def new_id(self) -> str:
        """Return a command id."""
        return f"c{next(self._ids)}"

    @asynccontextmanager
    async def connected(self, after: str = "", topics: Sequence[str] = ()) -> AsyncIterator[Peer]:
        """Open a connection; leaving drops it without a word."""
        async with self.served.transport.connect(after, topics) as connection:
            yield Peer(connection, self.new_id)

    async def publish(self, text: str) -> str:
        """Publish a message beside all transports; its cursor."""
        scope = token_hash(token_of("Script"))
        assert scope is not None
        reply = await self.node.execute(Say(self.new_id(), text, "Script"), Caller(scope))
        return str(msgspec.to_builtins(reply)["cursor"])

    async def after_a_while(self, peer: Peer, kind: str, **fields: Any) -> dict[str, Any]:
        """Let time pass until `peer` is told this."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pass_time)
            frame = await peer.until(kind, **fields)
            tasks.cancel_scope.cancel()
        return frame

    async def _pass_time(self) -> None:
        while True:
            await anyio.sleep(0.01)
            self.clock.advance(1)
