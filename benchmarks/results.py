"""What was measured, as it came: kept between runs, so that a section can be measured again without the others."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple, Self

from benchmarks.tools import BUILD

FILE: Final = BUILD / "results.json"

Record = dict[str, Any]
"""One phase: its `server`, `transport`, `round` and `phase`, and the figures of the load generator."""


class Spread(NamedTuple):
    """The median of some figures, and the least and greatest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """Return the spread of the values; None where there are none."""
        sorted_values = sorted(values)
        if not sorted_values:
            return None
        return cls(median(sorted_values), sorted_values[0], sorted_values[-1])


class Results:
    """The records of all sections, and under which circumstances each was measured."""

    def __init__(self, sections: dict[str, dict[str, Any]] | None = None) -> None:
        """Begin with `sections`, each with its `records` and what `add_section` was told."""
        self.sections = sections or {}

    @classmethod
    def read(cls, path: Path = FILE) -> Self:
        """Return what was kept; nothing, where nothing was."""
        return cls(json.loads(path.read_text(encoding="utf-8")) if path.exists() else {})

    def keep(self, path: Path = FILE) -> None:
        """Keep it for later."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.sections, indent=0), encoding="utf-8")

    def add_section(self, name: str, records: Iterable[Record], **circumstances: object) -> None:
        """Take in what a section measured, instead of what it had measured before."""
        at = datetime.now(UTC).date().isoformat()
        self.sections[name] = {"at": at, **circumstances, "records": list(records)}

    def records(self, section: str, **where: object) -> list[Record]:
        """Return the records of a section whose fields have the values named."""
        kept: list[Record] = self.sections.get(section, {}).get("records", [])
        return [one for one in kept if all(one.get(name) == value for name, value in where.items())]

    def values(self, section: str, figure: str, **where: object) -> Mapping[int, float]:
        """Return one figure of the records that fit, by their round."""
        found = self.records(section, **where)
        return {one["round"]: one[figure] for one in found if one.get(figure) is not None}

    def spread(self, section: str, figure: str, **where: object) -> Spread | None:
        """Return the spread of one figure over all records that fit."""
        found = self.records(section, **where)
        return Spread.of(one[figure] for one in found if one.get(figure) is not None)

    def ratio(
        self, section: str, figure: str, ours: Mapping[str, object], theirs: Mapping[str, object]
    ) -> Spread | None:
        """Return the spread of the ratios that were made within a round each."""
        mine = self.values(section, figure, **ours)
        others = self.values(section, figure, **theirs)
        rounds = [one for one in mine if others.get(one)]
        return Spread.of(mine[one] / others[one] for one in rounds)
