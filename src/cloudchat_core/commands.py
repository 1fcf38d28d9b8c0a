"""What clients ask for, and what the server asks of itself.

A command is a frozen value; `id` is the client's own name for it (empty: it wants no memory of it). Who sends it is not
part of it but stands beside it, as the `Caller`.
"""

import msgspec

from cloudchat_core.fields import (
    CommandId,
    CursorText,
    FeedName,
    InstanceId,
    InstanceName,
    Spec,
    Token,
    WantedNickname,
    WantedText,
)


class Command(msgspec.Struct, frozen=True, gc=False, tag_field="type", tag=str.lower):
    """A client's wish; `id` is 1 to 64 of `A-Za-z0-9._:-`, or empty where no answer needs to be remembered."""

    id: CommandId


class Join(Command, frozen=True):
    """Enter the chat as `nickname`, or take a participation up again."""

    nickname: WantedNickname
    token: Token | None = None
    feed: FeedName | None = None


class Leave(Command, frozen=True):
    """Give the nickname back."""


class Away(Command, frozen=True):
    """The page that sent the command `join` goes away; nothing is remembered of it.

    What close 1001 says on a WebSocket, for those who have no connection of their own to close.
    """

    join: CommandId


class Say(Command, frozen=True):
    """Publish `text`; with `nickname` also without being present."""

    text: WantedText
    nickname: WantedNickname | None = None


class Redact(Command, frozen=True):
    """Take back the text of one's own message, named by its cursor."""

    message: CursorText


class Create(Command, frozen=True):
    """Create an instance; `spec` is the provider's own parameters."""

    name: InstanceName | None = None
    spec: Spec | None = None


class Start(Command, frozen=True):
    """Start a stopped instance."""

    instance: InstanceId


class Stop(Command, frozen=True):
    """Stop a running instance."""

    instance: InstanceId


class Remove(Command, frozen=True):
    """Remove an instance, running or stopped."""

    instance: InstanceId


class Ping(Command, frozen=True):
    """Ask for the log's head; nothing is remembered of it."""


ClientCommand = Join | Leave | Away | Say | Redact | Create | Start | Stop | Remove | Ping
"""Everything that may come over the wire."""


class Open(msgspec.Struct, frozen=True):
    """The server opened the log: a new `epoch` begins (1 to 16 of `a-z0-9`)."""

    epoch: str


class Depart(msgspec.Struct, frozen=True):
    """The participation of `scope` has no feed any more: `reason` is `left` or `disconnected`."""

    scope: str
    reason: str


class Report(msgspec.Struct, frozen=True):
    """A provider's word on an operation: done, or (with `reason`) failed."""

    operation: str
    reason: str = ""
    detail: str = ""


class Tick(msgspec.Struct, frozen=True):
    """A deadline of `next_deadline` has come."""


ServerCommand = Open | Depart | Report | Tick
"""What only the server itself issues."""


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Who sends a command.

    `scope` is the SHA-256 of the participation token (base64url), or empty for callers without one: they share a scope.
    `identity` is who the caller is known to be by access rights, where there are any.
    `content` replaces the hash of the command's own content where the request was not a command (a resource's method,
    path and body).
    """

    scope: str = ""
    identity: str | None = None
    content: str = ""


NOBODY = Caller()
"""A caller of whom nothing is known."""
