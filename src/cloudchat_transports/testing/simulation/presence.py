"""Who is connected is here: nobody is said to be lost whose feed the server has open all the while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchat_core.clock import parse_rfc3339
from cloudchat_core.events import Left, Opened
from cloudchat_core.presence import JOIN_HOLD
from cloudchat_transports.testing.simulation.history import ViolationError

if TYPE_CHECKING:
    from cloudchat_transports.testing.simulation.world import World


class Presences:
    """Looks at every `left` that is published."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._seen = 0

    def look(self) -> None:
        """Raise `ViolationError` where somebody was said to be lost who is not."""
        branch = self._world.disk.branch
        begin, self._seen = min(self._seen, len(branch)), len(branch)
        for offset in range(begin + 1, self._seen + 1):
            record = branch[offset].record
            if isinstance(record.event, Left) and record.event.reason == "disconnected":
                self._judge(offset, record.private.holder, record.event)

    def _judge(self, offset: int, scope: str, event: Left) -> None:
        world, life = self._world, self._world.life
        joined = self._joined_at(offset, scope)
        if life is None or joined is None:
            return
        for outlet in life.outlets():
            connection = outlet.socket.connection  # type: ignore[attr-defined]
            ours = any(p.scope == scope and p.line is connection.line for p in world.people)
            follows = outlet.source is not None and not outlet.closed
            # Of one that only the server has still open nobody can tell which participation it was for.
            whole = not (connection.sink or connection.client.gone)
            # A feed that was open when the participation joined last, and still is.
            lasts = connection.kind in {"ws", "sse"} and connection.opened_at < joined
            if ours and follows and whole and lasts:
                raise ViolationError(
                    "present",
                    f"{event}, but connection {connection.number} is open since it joined",
                )

    def _joined_at(self, before: int, scope: str) -> float | None:
        """Return when (virtual seconds) this participation joined last in the life that says that it left."""
        branch = self._world.disk.branch
        for offset in range(before - 1, 0, -1):
            memory = branch[offset].record.private.memory
            if branch[offset].life != branch[before].life:
                return None
            ack = memory.ack if memory is not None and memory.scope == scope else None
            if ack is not None and isinstance(ack.resumed, bool):
                forsaken = self._is_unknown(offset) and self._apart(offset, before) >= JOIN_HOLD
                return None if forsaken else branch[offset].at
        return None

    def _is_unknown(self, offset: int) -> bool:
        """Tell whether the append that wrote this record had an outcome that the server did not know.

        Then it opened the log again, next. Nobody was told of a `join` in it, and no feed was found for it: its
        participation has the time that any feed has to come, by the server's clock, which may jump meanwhile.
        """
        branch = self._world.disk.branch
        for later in range(offset + 1, len(branch) + 1):
            if branch[later].life != branch[offset].life:
                return False
            if isinstance(branch[later].record.event, Opened):
                return True
            if branch[later].at != branch[offset].at:
                return False
        return False

    def _apart(self, first: int, second: int) -> int:
        """Return how long (ms) after the first of these records the second one was, by the clocks of their servers."""
        branch = self._world.disk.branch
        began, ended = branch[first].record.event.at, branch[second].record.event.at
        return parse_rfc3339(ended) - parse_rfc3339(began)
