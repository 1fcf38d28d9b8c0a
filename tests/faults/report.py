"""Writes what faults came to into `docs/reliability.md`, between `<!-- measured: faults -->` and `<!-- end -->`."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.tools import machine
from tests.faults.accounts import Result
from tests.faults.harness import ROOT

DOCUMENT: Final = ROOT / "docs/reliability.md"
PART: Final = re.compile(r"(?<=<!-- measured: faults -->\n).*?(?=<!-- end -->)", re.DOTALL)
HEAD: Final = (
    "| kind | what goes wrong | rounds | acknowledged | events seen | lost | doubled | found |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
)


class Row(NamedTuple):
    """One kind: what goes wrong in it, what it came to, and how long it took (seconds)."""

    name: str
    what: str
    found: Result
    seconds: float


def line(row: Row) -> str:
    """Return a row as it is read on a terminal."""
    found = row.found
    counts = f"{found.acknowledged:,} acknowledged, {found.seen:,} seen, {found.lost:,} lost, {found.doubled:,} doubled"
    note = f" ({found.note})" if found.note else ""
    return f"{row.name}: {found.rounds:,} rounds in {row.seconds:.0f} s: {counts}{note}"


def cells(row: Row) -> str:
    """Return a row of the table."""
    found = row.found
    counts = (found.rounds, found.acknowledged, found.seen, found.lost, found.doubled)
    return " | ".join(
        [f"| `{row.name}`", row.what, *(f"{count:,}" for count in counts), f"{found.note} |"]
    )


def write(rows: Sequence[Row], where: str, document: Path = DOCUMENT) -> None:
    """Write the rows into the document; `where` says what was tested, for people."""
    text = document.read_text(encoding="utf-8")
    assert PART.search(text), f"{document} has no place for the table"
    at = datetime.now(UTC).date().isoformat()
    table = HEAD + "\n".join(map(cells, rows))
    body = f"{table}\n\n{at}, {where}, on: {machine()}.\n"
    document.write_text(PART.sub(lambda _: body, text), encoding="utf-8")
