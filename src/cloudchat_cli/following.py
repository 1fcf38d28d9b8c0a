"""What is printed as it happens: events, the worklog, instances.

A feed that is lost is taken up again by the client; stderr says so, and what was missed comes after its cursor. Only
where the server no longer has that (`gap`) something is missing, and stderr says that too.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from cloudchat_cli.api import Api
from cloudchat_cli.output import Exit, Failure, note, rejected, unreachable
from cloudchat_cli.reading import in_order
from cloudchat_cli.shapes import EVENT, INSTANCE, Stream
from cloudchat_core.client_session import Snapshot
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.events import INSTANCES, Event, InstanceEvent, Received, Removed
from cloudchat_core.frames import Gap, Welcome
from cloudchat_core.mirror import Mirror
from cloudchat_transports.client import Client, ConnectionEndedError, Disconnected
from cloudchat_transports.client_transport import RejectedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from cloudchat_core.events import PublicEvent
    from cloudchat_core.frames import InstanceView
    from cloudchat_transports.client import Item


async def follow_events(
    server: str, transport: str, after: str, topics: Sequence[str], output: str
) -> None:
    """Print events without end: what comes after `after`, or first the newest there are."""
    async with _feed(server, transport, after, topics) as items:
        await write_events(Stream(EVENT, output), items)


async def follow_worklog(server: str, transport: str, limit: int, output: str) -> None:
    """Print the newest instance events, and go on with what happens."""
    async with Api(server) as api:
        found, head = await api.newest("worklog", limit)
    async with _feed(server, transport, head, (INSTANCES,)) as items:
        stream = Stream(EVENT, output)
        for event in found:
            stream.write(event)
        await write_events(stream, items)


async def write_events(stream: Stream, items: AsyncIterator[Item]) -> None:
    """Write the events among `items`, and those that a snapshot shows, each once."""
    parts: list[Snapshot] = []
    last = ""
    async for item in items:
        events: list[PublicEvent] = []
        if isinstance(item, Snapshot):
            parts.append(item)
            if not item.more:
                # After a gap the snapshot shows some that were printed before.
                events = [event for event in in_order(parts) if _is_after(event.cursor, last)]
                parts = []
        elif isinstance(item, Event):
            events = [item]
        for event in events:
            stream.write(event)
            last = event.cursor


def _is_after(cursor: str, last: str) -> bool:
    here, there = parse_cursor(cursor), parse_cursor(last)
    return here is None or there is None or here[0] != there[0] or here[1] > there[1]


async def watch_instances(server: str, transport: str, named: str | None, output: str) -> None:
    """Print instances, and each again when it changes; one that was named until it is removed."""
    only = None
    if named is not None:
        async with Api(server) as api:
            only = (await api.instance(await api.find(named))).id
    async with _feed(server, transport, "", (INSTANCES,)) as items:
        watch = _Watch(Stream(INSTANCE, output), only)
        async for item in items:
            watch.take(item)
            if watch.over:
                break


class _Watch:
    """Prints an instance whenever it is not as it was printed last."""

    def __init__(self, stream: Stream, only: str | None) -> None:
        self.over = False
        self._stream, self._only = stream, only
        self._mirror = Mirror()
        self._shown: dict[str, InstanceView] = {}

    def take(self, item: Item) -> None:
        if isinstance(item, Disconnected):
            return
        self._mirror.apply(item)  # type: ignore[arg-type]
        if isinstance(item, Snapshot) and not item.more:
            for gone in self._shown.keys() - self._mirror.instances.keys():
                self._show(msgspec.structs.replace(self._shown[gone], state="removed"))
            for view in self._mirror.instances.values():
                self._show(view)
        elif isinstance(item, InstanceEvent):
            self._show(self._as_it_is(item))

    def _as_it_is(self, event: InstanceEvent) -> InstanceView:
        if isinstance(event, Removed):
            return msgspec.structs.replace(event.instance, state="removed")
        if isinstance(event, Received):
            return msgspec.structs.replace(event.instance, operation=event.operation)
        return event.instance

    def _show(self, view: InstanceView) -> None:
        if self._only not in {None, view.id} or self._shown.get(view.id) == view:
            return
        self._stream.write(view)
        self._shown[view.id] = view
        if view.state == "removed":
            del self._shown[view.id]
            self.over = view.id == self._only


@asynccontextmanager
async def _feed(
    server: str, transport: str, after: str, topics: Sequence[str]
) -> AsyncIterator[AsyncIterator[Item]]:
    """Open a feed, and say on stderr what becomes of it."""
    try:
        async with Client(server, transport=transport, after=after, topics=topics) as client:
            yield _told(client)
    except UnreachableError as error:
        raise unreachable(str(error)) from None
    except RejectedError as error:
        raise rejected(error) from None
    except ConnectionEndedError as error:
        raise Failure(str(error), Exit.REFUSED) from None


async def _told(client: Client) -> AsyncIterator[Item]:
    away = False
    async for item in client:
        if isinstance(item, Disconnected):
            if not away:
                note(f"{item.why}; trying again")
            away = True
        elif isinstance(item, Welcome):
            if away:
                note("back again")
            away = False
        elif isinstance(item, Gap):
            note(f"what came after {item.after!r} cannot be had ({item.reason})")
        yield item
