"""What is asked once and printed: instances, operations, messages, events up to now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchat_cli.api import Api
from cloudchat_cli.output import Exit, Failure
from cloudchat_cli.shapes import EVENT, INSTANCE, MESSAGE, OPERATION, write_list, write_one
from cloudchat_core.client_session import Snapshot
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.events import Event
from cloudchat_core.frames import Gap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from cloudchat_core.events import PublicEvent


async def show_instances(server: str, output: str) -> None:
    """List all instances."""
    async with Api(server) as api:
        write_list(INSTANCE, await api.instances(), output)


async def show_instance(server: str, named: str, output: str) -> None:
    """Show one instance."""
    async with Api(server) as api:
        write_one(INSTANCE, await api.instance(await api.find(named)), output)


async def show_operations(server: str, output: str) -> None:
    """List the operations that the server knows."""
    async with Api(server) as api:
        write_list(OPERATION, await api.operations(), output)


async def show_operation(server: str, operation: str, output: str) -> None:
    """Show one operation."""
    async with Api(server) as api:
        write_one(OPERATION, await api.operation(operation), output)


async def show_messages(server: str, limit: int, before: str | None, output: str) -> None:
    """Print the newest messages before a cursor."""
    async with Api(server) as api:
        found, _ = await api.newest("messages", limit, before)
    write_list(MESSAGE, found, output)


async def show_worklog(server: str, limit: int, output: str) -> None:
    """Print the newest instance events."""
    async with Api(server) as api:
        found, _ = await api.newest("worklog", limit)
    write_list(EVENT, found, output)


async def show_events(server: str, after: str, topics: Sequence[str], output: str) -> None:
    """Print what comes after the cursor `after`; without one, the newest messages and instance events."""
    found: list[PublicEvent] = []
    async with Api(server) as api:
        while True:
            frames, cursor = await api.poll(after, topics)
            for frame in frames:
                if isinstance(frame, Gap):
                    lost = f"what came after {frame.after!r} cannot be had ({frame.reason})"
                    raise Failure(lost, Exit.UNKNOWN)
                if isinstance(frame, Event):
                    found.append(frame)
            if not after or not frames:
                found += in_order([frame for frame in frames if isinstance(frame, Snapshot)])
                break
            after = cursor
    write_list(EVENT, found, output)


def in_order(parts: Iterable[Snapshot]) -> list[PublicEvent]:
    """Return the events that a snapshot shows, oldest first."""
    events: list[PublicEvent] = []
    for part in parts:
        events += (*part.messages, *part.worklog)
    return sorted(events, key=offset_of)


def offset_of(event: PublicEvent) -> int:
    """Return the place of an event in the log."""
    place = parse_cursor(event.cursor)
    return 0 if place is None else place[1]
