"""The life of an instance, as one table.

All legal moves stand in `TRANSITIONS`; nothing else knows one. The diagram in the documentation is drawn from it.
Work takes its time: a command is received at once, begins an operation, and the operation's outcome makes the move.
While one is under way no other begins.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET

from cloudchat_core.clock import rfc3339
from cloudchat_core.frames import InstanceView, OperationRef, OperationView, Problem

ABSENT: Final = "absent"
RUNNING: Final = "running"
STOPPED: Final = "stopped"

TRANSITIONS: Final[dict[tuple[str, str], tuple[str, str]]] = {
    (ABSENT, "create"): (STOPPED, "created"),
    (STOPPED, "start"): (RUNNING, "started"),
    (RUNNING, "stop"): (STOPPED, "stopped"),
    (STOPPED, "remove"): (ABSENT, "removed"),
    (RUNNING, "remove"): (ABSENT, "removed"),
}
"""(state, command) to (the state afterwards, the type of the event that tells it). A failure moves nothing."""


class Instance(msgspec.Struct, frozen=True, gc=False):
    """An instance as the workspace keeps it: `state` is `absent` until it is created."""

    id: str
    state: str = ABSENT
    name: str | None = None
    created_at: str | None = None
    operation: str | None = None

    @classmethod
    def from_view(cls, view: InstanceView) -> "Instance":
        """Return the instance that `view` shows, as an event has it, without the operation under way."""
        name = None if view.name is UNSET else view.name
        created_at = None if view.created_at is UNSET else view.created_at
        return cls(view.id, ABSENT if view.state is UNSET else view.state, name, created_at)

    def view(self, operation: OperationRef | None = None) -> InstanceView:
        """Return what everybody may see, with the operation under way."""
        return InstanceView(
            self.id,
            UNSET if self.state == ABSENT else self.state,
            UNSET if self.name is None else self.name,
            UNSET if operation is None else operation,
            UNSET if self.created_at is None else self.created_at,
        )


class Operation(msgspec.Struct, frozen=True, gc=False):
    """Work on an instance: under way, or finished with an `outcome` (the type of the event that told it).

    Moments are milliseconds since the epoch; `expected` is 0 where the provider gives no time. After `deadline` it
    counts as failed. `spec` is for the provider alone.
    """

    id: str
    command: str
    instance: str
    by: str | None
    received_at: int
    deadline: int
    expected: int = 0
    spec: dict[str, Any] | None = None
    outcome: str = ""
    reason: str = ""
    detail: str = ""
    done_at: int = 0

    def ref(self) -> OperationRef:
        """Return the operation as events name it."""
        return OperationRef(
            self.id,
            self.command,
            rfc3339(self.received_at),
            rfc3339(self.expected) if self.expected else UNSET,
        )

    def view(self) -> OperationView:
        """Return the operation as a resource."""
        return OperationView(
            self.id,
            self.command,
            self.instance,
            self.by,
            bool(self.outcome),
            rfc3339(self.received_at),
            rfc3339(self.expected) if self.expected else UNSET,
            self.outcome or UNSET,
            Problem(self.reason, self.detail) if self.reason else UNSET,
            rfc3339(self.done_at) if self.done_at else UNSET,
        )


def allowed(state: str, command: str) -> bool:
    """Tell whether `command` may be given to an instance in `state`."""
    return (state, command) in TRANSITIONS


def mermaid() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    names = {ABSENT: "[*]"}
    for (state, command), (after, event) in TRANSITIONS.items():
        lines.append(
            f"    {names.get(state, state)} --> {names.get(after, after)}: {command} / {event}"
        )
    return "\n".join(lines)
