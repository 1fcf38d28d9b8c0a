"""What the engine needs of the world: a log, a provider, a timer. Each promises what stands here, and no more.

The engine is one loop that decides, appends and publishes (`node.py`). Everything that can block, fail or take its time
is behind one of these three.
"""

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from cloudchat_core.codec import StoredRecord
from cloudchat_core.errors import CloudchatError


class LogError(CloudchatError):
    """Base of what a log may raise; the text says what a person can do about it."""


class LogConflictError(LogError):
    """Another node appended: the head is not where it was expected. Nothing was written; read, retry."""


class LogUnavailableError(LogError):
    """Nothing was written, certainly: no space, a read-only disk. It may be tried again later."""


class LogUncertainError(LogError):
    """Whether it was written is not known (an I/O error from commit). Call `Log.reopen` and read what is there."""


class LogLockedError(LogError):
    """Another server has this log open."""


class LogDamagedError(LogError):
    """What is in the log is not what was written to it; the text names the place."""


class Saved(msgspec.Struct, frozen=True):
    """A snapshot: the encoded workspace as of `offset`."""

    offset: int
    state: bytes


class Opened(msgspec.Struct, frozen=True):
    """What a log holds: offsets `first` to `head` (`first - 1`: it is empty), its newest snapshot."""

    first: int
    head: int
    snapshot: Saved | None


class Retention(msgspec.Struct, frozen=True):
    """What is kept at most: 0 keeps everything. `age` in seconds."""

    count: int = 0
    age: float = 0
    size: int = 0


class Erasure(msgspec.Struct, frozen=True):
    """A record whose public part is overwritten by `body`: a message whose text was taken back."""

    offset: int
    body: bytes


class Log(Protocol):
    """The truth: records in one order, each durable at its offset before anybody is told of it.

    One node drives a log. `open`, `append`, `reopen` and `aclose` come one after the other; `save` and `retain` may be
    called while an append is under way and take effect in the order of the calls; `read` and `page` beside anything.
    Records never change but by erasure; offsets are dense and start at 1. Every method may raise `LogError`.
    """

    async def open(self) -> Opened:
        """Open the log (once, first) and say what it holds. `LogLockedError`, `LogDamagedError`."""
        ...

    async def reopen(self) -> Opened:
        """After `LogUncertainError`: start over and say what the log really holds now."""
        ...

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        """Append all of `records`, whose offsets follow `expected`, and erase, in one atomic step.

        Returns when all of it is durable (survives power loss). `LogConflictError` where the head is not `expected`.
        Snapshots that hold an erased text do not survive, but where the records before them are gone: those go with the
        next `save`. Must not be cancelled: the caller shields it.
        """
        ...

    async def read(self, after: int, limit: int) -> list[StoredRecord]:
        """Return up to `limit` records that follow offset `after`, in order; fewer only at the head.

        Only what is durable. Where `after + 1` is no longer retained the list starts later: compare its first offset.
        """
        ...

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        """Return up to `limit` messages, or instance events, newest first.

        Older than offset `before` (None: from the head).
        """
        ...

    async def save(self, snapshot: Saved) -> None:
        """Keep `snapshot`, durably, as the place where the next opening begins; older ones may go."""
        ...

    async def retain(self, keep: Retention, now: int) -> int:
        """Drop what exceeds `keep`, oldest first, and return the first offset left.

        What follows the newest snapshot always stays.

        `now` is in milliseconds since the epoch. One call drops 1,000 records at most, so that appends are not held up;
        call again while it returns a larger offset.
        """
        ...

    async def aclose(self) -> None:
        """Close it; what was appended stays."""
        ...


class Work(msgspec.Struct, frozen=True):
    """An operation as a provider gets it; moments in ms since the epoch (`expected` 0: unknown)."""

    operation: str
    instance: str
    command: str
    name: str | None
    spec: dict[str, Any] | None
    received_at: int
    expected: int


class ProviderError(CloudchatError):
    """The work cannot be done: `reason` for machines (`[a-z_]+`), the text for people. It is not tried again."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Provider(Protocol):
    """Does the work. Every method is idempotent, keyed by instance and operation: after a crash it is called again.

    `ensure_*` return when the instance is as asked; they raise `ProviderError` where it cannot be. Any other exception
    counts as a failure of the operation too. They may be cancelled at any await and called again.
    """

    name: str

    def expected(self, command: str) -> float | None:
        """Return how long `command` is expected to take (seconds), None where nobody can say."""
        ...

    async def observe(self, work: Work) -> Literal["absent", "stopped", "running"] | None:
        """Return the state that the instance really is in; None where this provider cannot tell without `ensure_*`."""
        ...

    async def ensure_stopped(self, work: Work) -> None:
        """Make the instance exist and not run (`create`, `stop`)."""
        ...

    async def ensure_running(self, work: Work) -> None:
        """Make the instance run (`start`)."""
        ...

    async def ensure_absent(self, work: Work) -> None:
        """Make the instance not exist (`remove`)."""
        ...

    async def list_owned(self) -> list[str]:
        """Return the ids of all instances that exist on behalf of cloudchat; empty where the provider keeps nothing."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


class Timer(Protocol):
    """Waits for a moment of the clock it belongs to."""

    async def wait_until(self, deadline: int) -> None:
        """Return when the clock has reached `deadline` (ms since the epoch), at once where it has already."""
        ...
