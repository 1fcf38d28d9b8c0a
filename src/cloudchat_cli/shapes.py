"""How things are written: as a table, as JSON, as one JSON object a line, or by name alone."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import UNSET

from cloudchat_cli.output import emit, printable
from cloudchat_core.codec import encode
from cloudchat_core.events import Failed, InstanceEvent, Left, Message, Redacted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloudchat_core.events import PublicEvent
    from cloudchat_core.frames import OperationView


_GAP: Final = "  "
_WHOLE: Final = {"AT", "CREATED", "CURSOR", "ID", "INSTANCE", "RECEIVED", "STATE"}
"""The columns that are on one line, however narrow the terminal is; others are folded between words."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a kind of thing is called, and its columns: each a title, what it is usually wide, and what stands in it."""

    name: Callable[[Any], str]
    columns: tuple[tuple[str, int, Callable[[Any], object]], ...]

    def titles(self) -> tuple[str, ...]:
        """Return the first row."""
        return tuple(title for title, _, _ in self.columns)

    def row(self, thing: object) -> tuple[str, ...]:
        """Return the row of `thing`, with nothing in it that a terminal would obey."""
        return tuple(_cell(value(thing)) for _, _, value in self.columns)


def _cell(value: object) -> str:
    return "" if value is UNSET or value is None else printable(str(value).replace("\n", " ↵ "))


def _at(moment: object) -> str:
    """Write an RFC 3339 moment to the second."""
    return "" if moment is UNSET else f"{str(moment)[:19].replace('T', ' ')}Z"


def _outcome(one: OperationView) -> str:
    if not one.done:
        return "under way"
    return str(one.outcome) if one.error is UNSET else f"failed: {one.error.detail}"


def _who(event: PublicEvent) -> str | None:
    return event.by if isinstance(event, (InstanceEvent, Redacted)) else event.nickname


def _what(event: PublicEvent) -> str:
    match event:
        case Message():
            return "(taken back)" if event.redacted is True else event.text
        case Redacted():
            return event.message
        case Left():
            return event.reason
        case Failed():
            return f"{event.command} {event.instance.id}: {event.detail}"
        case InstanceEvent():
            return f"{event.operation.command} {event.instance.id}"
    return ""


INSTANCE: Final = Shape(
    lambda one: str(one.id),
    (
        ("ID", 36, lambda one: one.id),
        ("STATE", 7, lambda one: one.state),
        ("NAME", 16, lambda one: one.name),
        ("CREATED", 20, lambda one: _at(one.created_at)),
        ("UNDER WAY", 0, lambda one: UNSET if one.operation is UNSET else one.operation.command),
    ),
)
OPERATION: Final = Shape(
    lambda one: str(one.id),
    (
        ("ID", 36, lambda one: one.id),
        ("COMMAND", 7, lambda one: one.command),
        ("INSTANCE", 36, lambda one: one.instance),
        ("BY", 10, lambda one: one.by),
        ("RECEIVED", 20, lambda one: _at(one.received_at)),
        ("OUTCOME", 0, _outcome),
    ),
)
MESSAGE: Final = Shape(
    lambda one: str(one.cursor),
    (
        ("AT", 20, lambda one: _at(one.at)),
        ("CURSOR", 12, lambda one: one.cursor),
        ("NICKNAME", 10, lambda one: one.nickname),
        ("TEXT", 0, _what),
    ),
)
EVENT: Final = Shape(
    lambda one: str(one.cursor),
    (
        ("AT", 20, lambda one: _at(one.at)),
        ("CURSOR", 12, lambda one: one.cursor),
        ("EVENT", 8, lambda one: one.__struct_config__.tag),
        ("WHO", 10, _who),
        ("WHAT", 0, _what),
    ),
)
VERSION: Final = Shape(
    lambda one: f"cloudchat {one['cloudchat']}",
    (
        ("CLOUDCHAT", 9, lambda one: one["cloudchat"]),
        ("PYTHON", 7, lambda one: one["python"]),
        ("PLATFORM", 0, lambda one: one["platform"]),
    ),
)


LOG: Final = Shape(
    lambda one: str(one.log),
    (
        ("SOUND", 5, lambda one: "yes" if one.sound else "no"),
        ("FIRST", 5, lambda one: one.first),
        ("HEAD", 8, lambda one: one.head),
        ("EPOCH", 8, lambda one: one.epoch),
        ("EPOCHS", 6, lambda one: one.epochs),
        ("SNAPSHOT", 8, lambda one: "none" if one.snapshot is None else one.snapshot),
        ("SIZE", 8, lambda one: _bytes(one.size + one.wal)),
        ("FREE", 8, lambda one: _bytes(one.free)),
        ("CONTENT", 0, lambda one: _bytes(one.content)),
    ),
)
COMPACTED: Final = Shape(
    lambda one: str(one["log"]),
    (
        ("FIRST", 5, lambda one: one["first"]),
        ("HEAD", 8, lambda one: one["head"]),
        ("DROPPED", 8, lambda one: one["dropped"]),
        ("BEFORE", 8, lambda one: _bytes(one["before"])),
        ("AFTER", 0, lambda one: _bytes(one["after"])),
    ),
)


def _bytes(count: int) -> str:
    """Write a size to three digits."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1_000:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:,.3g} TB"


def write_list(shape: Shape, things: Iterable[object], output: str) -> None:
    """Write all `things`."""
    listed = list(things)
    if output == "json":
        emit(_json(listed))
    elif output == "table":
        _table([shape.titles(), *map(shape.row, listed)])
    else:
        for one in listed:
            emit(_line(shape, one, output))


def write_one(shape: Shape, thing: object, output: str) -> None:
    """Write one thing; as JSON it is an object."""
    if output == "json":
        emit(_json(thing))
    else:
        write_list(shape, [thing], output)


class Stream:
    """Writes things as they come."""

    def __init__(self, shape: Shape, output: str) -> None:
        self._shape, self._output = shape, output
        if output == "table":
            self._row(shape.titles())

    def write(self, thing: object) -> None:
        """Write one more."""
        if self._output == "table":
            self._row(self._shape.row(thing))
        else:
            emit(_line(self._shape, thing, self._output))

    def _row(self, cells: tuple[str, ...]) -> None:
        widths = [width for _, width, _ in self._shape.columns]
        emit(_GAP.join(map(str.ljust, cells, widths)).rstrip())


def _line(shape: Shape, thing: object, output: str) -> str:
    return shape.name(thing) if output == "name" else encode(thing).decode()


def _json(value: object) -> str:
    return msgspec.json.format(encode(value), indent=2).decode()


def _table(rows: list[tuple[str, ...]]) -> None:
    """Write columns: for a terminal with rich's, if they fit, plainly for everything else."""
    if not sys.stdout.isatty():
        _lines(rows, len)
        return
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # People are not shown a column that says nothing; programs can count on it.
    used = [
        at for at, (_, *cells) in enumerate(zip(*rows, strict=True)) if not rows[1:] or any(cells)
    ]
    shown = [tuple(row[at] for at in used) for row in rows]
    whole = [title in _WHOLE for title in shown[0]]
    least = [
        max(
            cell_len(part) for cell in column for part in ([cell] if kept else cell.split() or [""])
        )
        for kept, column in zip(whole, zip(*shown, strict=True), strict=True)
    ]
    width = shutil.get_terminal_size().columns
    if sum(least) + len(_GAP) * (len(least) - 1) > width:
        # What is cut off or in pieces cannot be copied: the terminal itself wraps a line and keeps it one.
        _lines(shown, cell_len)
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, kept, room in zip(shown[0], whole, least, strict=True):
        table.add_column(title, no_wrap=kept, min_width=room, overflow="fold")
    for row in shown[1:]:
        # Names are other people's: nothing in them is markup.
        table.add_row(*(Text(cell, style="green" if cell == "running" else "") for cell in row))
    Console(width=width).print(table)


def _lines(rows: list[tuple[str, ...]], measure: Callable[[str], int]) -> None:
    widths = [max(map(measure, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell + " " * (width - measure(cell)) for cell, width in zip(row, widths, strict=True)
        )
        emit(_GAP.join(cells).rstrip())
