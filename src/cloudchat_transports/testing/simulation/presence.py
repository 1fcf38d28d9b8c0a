"""Who is connected is here: nobody is said to be lost whose feed the server has open all the while."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cloudchat_core.events import Left
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
                return branch[offset].at
        return None
