"""What may come from outside and what a log may hold, good, bad and hostile."""

import json
from typing import Any

from hypothesis import strategies as st
from msgspec import UNSET

from cloudchat_core.clock import rfc3339
from cloudchat_core.commands import (
    Away,
    Caller,
    ClientCommand,
    Create,
    Join,
    Leave,
    Ping,
    Redact,
    Remove,
    Say,
    Start,
    Stop,
)
from cloudchat_core.cursor import format_cursor
from cloudchat_core.events import (
    Accepted,
    AnyEvent,
    Created,
    Failed,
    Forgotten,
    Joined,
    Left,
    Memory,
    Message,
    Opened,
    Private,
    Received,
    Record,
    Redacted,
    Removed,
    Started,
    Stopped,
)
from cloudchat_core.frames import Ack, InstanceView, OperationRef
from cloudchat_core.testing.nicknames import bad_nicknames, nicknames

_ID = "ABCXYZabcxyz0189._:-"
_TOKEN = "ABCXYZabcxyz0189_-"  # noqa: S105 - an alphabet
_MOMENT = 1_700_000_000_000


def command_ids() -> st.SearchStrategy[str]:
    """Give what may stand as a command's `id`."""
    return st.text(_ID, min_size=1, max_size=64)


def tokens() -> st.SearchStrategy[str]:
    """Give well-formed participation tokens."""
    return st.text(_TOKEN, min_size=22, max_size=128)


def callers(count: int = 5) -> st.SearchStrategy[Caller]:
    """Give one of `count` callers with tokens of their own, or one without."""
    return st.sampled_from([Caller(), *(Caller(f"{number:064x}") for number in range(count))])


def texts(limit: int = 4_096) -> st.SearchStrategy[str]:
    """Give texts that a `say` accepts, of at most `limit` code points; they may have spaces around them."""
    inner = st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])
        | st.sampled_from('\t\n"\\é😀'),
        min_size=1,
        max_size=min(limit, 40),
    ).filter(lambda text: 1 <= len(text.strip()) <= limit)
    return st.builds(str.__add__, st.sampled_from(["", " ", "\n\t"]), inner)


def bad_texts(limit: int = 4_096) -> st.SearchStrategy[str]:
    """Give texts that a `say` refuses: empty, too long, or with a control character."""
    control = st.sampled_from("\x00\x07\x0b\x1b\x7f\x80\x9f")
    return st.one_of(
        st.text(" \n\t\u3000", max_size=5),
        st.builds(lambda char: char * (limit + 1), st.sampled_from("aЖ😀")),
        st.builds(lambda char: f"a{char}b", control),
    )


def cursors(epochs: tuple[str, ...] = ("k3f9", "zz"), most: int = 100) -> st.SearchStrategy[str]:
    """Give strings that clients may hand back as cursors: of these epochs, of others, and some that are none."""
    names = st.sampled_from(epochs) | st.text("abz019", min_size=1, max_size=16)
    offsets = st.integers(0, most) | st.integers(0, 2**63 - 1)
    return st.one_of(
        st.builds(format_cursor, names, offsets),
        st.builds(format_cursor, names, st.integers(2**63, 2**80)),
        st.sampled_from(
            ["", "-", "k3f9", "k3f9-", "-1", "k3f9-01", "k3f9--1", "K3F9-1", "k3f9-1\n", "k3f9-１"]
        ),
        st.text(max_size=128),
    )


def json_values() -> st.SearchStrategy[Any]:
    """Give any JSON value."""
    leaves = (
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    )
    words = st.text(st.characters(codec="utf-8"), max_size=8)
    return st.recursive(
        leaves | words,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
        max_leaves=12,
    )


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """Give a provider's parameters: any JSON object."""
    return st.dictionaries(st.text("abc", max_size=3), json_values(), max_size=3)


def commands() -> st.SearchStrategy[ClientCommand]:
    """Give commands of every type that are well formed; what they ask for may be refused."""
    ids, names = command_ids(), nicknames() | bad_nicknames().filter(_encodes)
    said = texts() | bad_texts()
    instances = st.uuids().map(str) | st.text(st.characters(codec="utf-8"), max_size=8)
    return st.one_of(
        st.builds(Join, ids, names, st.none() | tokens(), st.none() | st.text(_TOKEN, max_size=8)),
        st.builds(Leave, ids),
        st.builds(Away, ids, ids),
        st.builds(Say, ids, said, st.none() | names),
        st.builds(Redact, ids, cursors()),
        st.builds(Create, ids, st.none() | said, st.none() | specs()),
        *(st.builds(kind, ids, instances) for kind in (Start, Stop, Remove)),
        st.builds(Ping, ids),
    )


def _encodes(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def hostile_frames() -> st.SearchStrategy[bytes | str]:
    """Give what no honest client sends: noise, broken UTF-8, JSON that is no command, or nearly one; deep nesting."""
    almost = st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(
                ["join", "leave", "away", "say", "redact", "create", "start", "ping", "auth", ""]
            )
            | json_values(),
            "id": command_ids() | json_values(),
            **{
                name: json_values() | st.text(max_size=8)
                for name in ("nickname", "token", "text", "message", "instance", "name", "spec")
            },
        },
    )
    # Python's own encoder writes what JSON forbids: NaN, Infinity and lone surrogates.
    loose = st.recursive(
        st.floats() | st.text(max_size=4) | st.integers(-(2**70), 2**70),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=4,
    )
    objects = almost | json_values() | st.fixed_dictionaries({"type": st.just("ping"), "x": loose})
    whole = objects.map(json.dumps) | objects.map(
        lambda value: json.dumps(value, ensure_ascii=False)
    )
    return st.one_of(
        st.binary(max_size=64),
        st.text(max_size=32),
        whole,
        whole.map(lambda text: text.encode("utf-8", "surrogatepass")),
        st.builds(
            lambda data, at, byte: data[:at] + bytes([byte]) + data[at + 1 :],
            whole.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.integers(0, 60),
            st.integers(0, 255),
        ),
        st.builds(
            _nested,
            st.sampled_from([50, 64, 65, 500, 5_000, 100_000]),
            st.sampled_from(["[", '{"a":']),
        ),
    )


def _nested(depth: int, opening: str) -> str:
    closing = "]" if opening == "[" else "}"
    inner = opening * depth + "1" + closing * depth
    return f'{{"type":"create","id":"deep","spec":{{"a":{inner}}}}}'


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Give records of every type as a log may hold them; each by itself, not a history."""
    words = st.text(st.characters(codec="utf-8"), max_size=8)
    offset = draw(st.integers(1, 2**63 - 1))
    moment = draw(st.integers(0, 2 * _MOMENT))
    cursor, at = (
        format_cursor(draw(st.text("az09", min_size=1, max_size=16)), offset),
        rfc3339(moment),
    )
    maybe = st.just(UNSET) | words
    refs = st.builds(OperationRef, words, words, words, maybe)
    views = st.builds(InstanceView, words, maybe, maybe, st.just(UNSET) | refs, maybe)
    around = (st.just(cursor), st.just(at))
    about = (*around, views, refs, st.none() | words)
    events: st.SearchStrategy[AnyEvent] = st.one_of(
        st.builds(Joined, *around, words),
        st.builds(Left, *around, words, st.sampled_from(["left", "disconnected", "kicked"])),
        st.builds(Message, *around, words, words, words, st.just(UNSET) | st.booleans()),
        st.builds(Redacted, *around, words, st.none() | words),
        st.builds(Received, *about, words, maybe),
        st.builds(Failed, *about, words, words, words),
        *(st.builds(kind, *about) for kind in (Created, Started, Stopped, Removed)),
        st.builds(Opened, *around, words),
        st.builds(Accepted, *around),
        st.builds(Forgotten, *around, st.integers(0, _MOMENT), st.integers(0, _MOMENT)),
    )
    acks = st.builds(Ack, words, words, maybe, st.just(UNSET) | st.booleans())
    several = st.lists(words, max_size=2).map(tuple)
    memories = st.builds(Memory, words, words, words, st.none() | acks, several, several)
    numbers = st.integers(0, _MOMENT)
    private = st.builds(
        Private, st.none() | memories, words, words, numbers, numbers, st.none() | specs(), several
    )
    return Record(offset, moment, draw(events), draw(private))
