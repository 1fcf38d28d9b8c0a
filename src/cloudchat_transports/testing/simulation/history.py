"""What was asked and answered, and what was wrong with it: the notes that the checks work from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchat_core.errors import CloudchatError

if TYPE_CHECKING:
    from cloudchat_core.frames import Ack, Refusal


class ViolationError(CloudchatError):
    """The world did what it must not: `check` names the promise that was broken."""

    def __init__(self, check: str, detail: str) -> None:
        super().__init__(f"{check}: {detail}")
        self.check, self.detail = check, detail


@dataclass
class Operation:
    """A command of one person, from when it was asked to when it was answered (virtual seconds, and the log's head)."""

    who: str
    verb: str
    scope: str
    text: str
    asked_at: float
    asked_head: int
    answered_at: float = 0.0
    answered_head: int = 0
    reply: Ack | Refusal | None = None
    """None: whether it happened is not known."""


def offset_of(cursor: str) -> int:
    """Return the offset in a cursor; 0 for an empty one."""
    return int(cursor.rpartition("-")[2] or 0)
