"""Cursors: where a reader stands in the log.

A cursor is written `<epoch>-<offset>`. Every opening of a log begins a new epoch, so that a cursor from before a
restored backup, a lost tail or a reset is recognised: its epoch is unknown, or it lies past its epoch's end. A plain
restart is no gap: the old epoch is on record, and its cursors go on being served.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence

import msgspec

CURSOR_LENGTH = 128
"""The longest string (characters) that is taken for a cursor at all."""

_CURSOR = re.compile(r"([a-z0-9]{1,16})-(0|[1-9][0-9]{0,18})\Z", re.ASCII)
_LARGEST = 2**63 - 1


class Epoch(msgspec.Struct, frozen=True):
    """One opening of the log: its random name and the offset of its first record."""

    name: str
    first: int


class Position(msgspec.Struct, frozen=True):
    """A cursor that can be served: everything after `offset`."""

    offset: int


class Lost(msgspec.Struct, frozen=True):
    """A cursor that cannot be served, and why: `retention`, `epoch`, `future` or `invalid`."""

    reason: str


def format_cursor(epoch: str, offset: int) -> str:
    """Write a cursor."""
    return f"{epoch}-{offset}"


def parse_cursor(text: str) -> tuple[str, int] | None:
    """Split a cursor into epoch and offset; None where it is none."""
    match = _CURSOR.match(text)
    if match is None or (offset := int(match[2])) > _LARGEST:
        return None
    return match[1], offset


def epoch_at(epochs: Sequence[Epoch], offset: int) -> str:
    """Return the name of the epoch that `offset` was appended in (the first one known for older offsets)."""
    index = bisect_right(epochs, offset, key=lambda epoch: epoch.first) - 1
    return epochs[max(index, 0)].name


def locate(text: str, epochs: Sequence[Epoch], first: int, head: int) -> Position | Lost:
    """Find where the cursor `text` stands in a log that still has the offsets `first` to `head`.

    It can be served when its epoch is on record and its offset lies inside it: from the offset before the epoch's first
    record to its last one (for the newest epoch, to the head).
    """
    parsed = parse_cursor(text)
    if parsed is None:
        return Lost("invalid")
    name, offset = parsed
    index = next((index for index, epoch in enumerate(epochs) if epoch.name == name), None)
    if index is None:
        return Lost("epoch")
    newest = index == len(epochs) - 1
    if offset > (head if newest else epochs[index + 1].first - 1):
        return Lost("future" if newest else "epoch")
    if offset < epochs[index].first - 1:
        return Lost("epoch")
    return Position(offset) if offset >= first - 1 else Lost("retention")
