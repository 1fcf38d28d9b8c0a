"""What must never grow beyond its limit, looked at while a world runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloudchat_transports.client import BACKLOG
from cloudchat_transports.follower import PAGE
from cloudchat_transports.testing.simulation.history import ViolationError

if TYPE_CHECKING:
    from cloudchat_transports.testing.simulation.world import World

LOOK: Final = 0.5
"""Virtual seconds between two looks at a world."""

_REST: Final = 2 * PAGE
"""Bytes: a page from the log, or a snapshot, of which a part was taken."""


def look(world: World) -> None:
    """Raise `ViolationError` where something is larger than it may be. It looks where no other program could."""
    for person in world.people:
        if person.client is not None:
            waiting = len(person.client._items)  # noqa: SLF001
            _hold(f"frames that wait for {person.name}", waiting, BACKLOG + 100)
    life = world.life
    if life is None or life.dead:
        return
    node, limits = life.node, life.node.limits
    _hold("commands that wait", len(node._queue), limits.waiting)  # noqa: SLF001
    _hold("finished operations", len(node.state.finished), limits.finished_operations)
    for name, scope in node.state.memories.scopes.items():
        _hold(f"commands remembered of {name}", len(scope.commands), limits.command_ids)
    feed = node.feed
    newest = feed._batches[-1] if feed._batches else []  # noqa: SLF001
    slack = limits.window // 4 + sum(len(entry.payload) + 64 for entry in newest)
    _hold("bytes of the window", feed._size, limits.window + slack)  # noqa: SLF001
    for outlet in life.outlets():
        _hold("bytes of answers that are not read", outlet._direct, limits.direct)  # noqa: SLF001
        _hold("bytes of a frame that was cut", len(outlet._rest), _REST)  # noqa: SLF001


def _hold(what: str, size: int, most: int) -> None:
    if size > most:
        raise ViolationError("buffers", f"{what}: {size}, of at most {most}")
