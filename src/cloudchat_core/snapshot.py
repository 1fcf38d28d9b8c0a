"""Snapshots: the one that clients get, and the one that a log keeps so that a start stays fast.

Both are pure functions of the workspace. The clients' is public, made of frames no larger than the limit; the log's is
the whole state, private parts included.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import msgspec
from immutables import Map

from cloudchat_core.codec import encode
from cloudchat_core.cursor import Epoch
from cloudchat_core.errors import LocalProtocolError
from cloudchat_core.events import CHAT, INSTANCES, AnyInstanceEvent
from cloudchat_core.frames import ParticipantView
from cloudchat_core.history import OrderedMap
from cloudchat_core.instances import Instance, Operation
from cloudchat_core.memory import Memories, Remembered, Scope
from cloudchat_core.nicknames import Participation, Registry
from cloudchat_core.workspace import Authored, Workspace

_ROOM = 1_024  # bytes of a part that its own frame takes: type, cursor, names of the lists

FORMAT = 1
"""The version of the archive's format; a log with an archive of another version is replayed instead."""


def snapshot_frames(state: Workspace, topics: Collection[str], limit: int) -> list[bytes]:
    """Return the snapshot as JSON frames of at most `limit` bytes each; all but the last say `"more":true`.

    Only the lists of `topics` are in it, each oldest first; a list is the concatenation of its parts.
    """
    names = [name for topic in (CHAT, INSTANCES) if topic in topics for name in _LISTS[topic]]
    parts: list[dict[str, list[msgspec.Raw]]] = [{name: [] for name in names}]
    size = 0
    for name, item in _items(state, names):
        if size + len(item) + 1 > limit - _ROOM:
            parts.append({})
            size = 0
        parts[-1].setdefault(name, []).append(msgspec.Raw(item))
        size += len(item) + 1
    head: dict[str, Any] = {"type": "snapshot", "cursor": state.cursor}
    more = [encode({**head, **part, "more": True}) for part in parts[:-1]]
    return [*more, encode({**head, **parts[-1]})]


_LISTS = {CHAT: ("participants", "messages"), INSTANCES: ("instances", "operations", "worklog")}


def _items(state: Workspace, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    for name in names:
        for item in _list(state, name):
            yield name, encode(item)


def _list(state: Workspace, name: str) -> Iterable[object]:
    match name:
        case "participants":
            return (
                ParticipantView(held.nickname, held.since)
                for held in state.participants.participants()
            )
        case "messages":
            return (authored.message for authored in state.messages.values())
        case "instances":
            return state.listed()
        case "operations":
            return (operation.view() for operation in state.operations.values())
        case _:
            return state.worklog.values()


class _Archive(msgspec.Struct, array_like=True):
    """The whole state, as lists: maps do not survive JSON, order does."""

    format: int
    offset: int
    at: int
    epochs: list[Epoch]
    participants: list[tuple[str, Participation]]
    messages: list[tuple[int, Authored]]
    worklog: list[tuple[int, AnyInstanceEvent]]
    instances: list[Instance]
    operations: list[Operation]
    finished: list[Operation]
    scopes: list[tuple[str, int, list[tuple[str, Remembered]]]]
    since: int


_decode_archive = msgspec.json.Decoder(_Archive).decode


def archive(state: Workspace) -> bytes:
    """Encode the whole state, for a log to keep. Takes time (about 10 ms for each 1,000 participants): use a thread."""
    # Encoding holds Python's lock: piece by piece, so that nobody beside the thread has to wait for all of it.
    scopes: Any = [
        msgspec.Raw(encode((name, scope.last, scope.commands.items())))
        for name, scope in sorted(state.memories.scopes.items())
    ]
    return encode(
        _Archive(
            FORMAT,
            state.offset,
            state.at,
            list(state.epochs),
            list(state.participants.items()),
            state.messages.items(),
            state.worklog.items(),
            state.instances.values(),
            state.operations.values(),
            state.finished.values(),
            scopes,
            state.memories.since,
        )
    )


def restore(data: bytes) -> Workspace:
    """Decode what `archive` made.

    `LocalProtocolError` where it is damaged or of another format: replay the log instead.
    """
    try:
        kept = _decode_archive(data)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise LocalProtocolError(f"the snapshot cannot be read: {error}") from error
    if kept.format != FORMAT:
        raise LocalProtocolError(
            f"the snapshot has format {kept.format}, this version reads {FORMAT}"
        )
    participants = Registry()
    for scope, held in kept.participants:
        participants = participants.claim(scope, held)
    return Workspace(
        kept.offset,
        kept.at,
        tuple(kept.epochs),
        participants,
        OrderedMap(kept.messages),
        OrderedMap(kept.worklog),
        OrderedMap((instance.id, instance) for instance in kept.instances),
        OrderedMap((operation.id, operation) for operation in kept.operations),
        OrderedMap((operation.id, operation) for operation in kept.finished),
        Memories(
            Map((name, Scope(OrderedMap(commands), last)) for name, last, commands in kept.scopes),
            kept.since,
        ),
    )
