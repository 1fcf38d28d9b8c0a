"""The inputs that are kept: those that people named, and of those that the fuzzer found as few as reach as much."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

    Trace = Callable[[FrameType, str, Any], Any]

CORPUS: Final = Path(__file__).with_name("corpus")

FOLLOWED: Final = (
    *("cloudchat_core", "cloudchat_engine", "cloudchat_transports", "cloudchat_cli"),
    # Other implementations of the same: where they branch, inputs differ.
    *("h11", "ipaddress", "json", "precis_i18n", "tomllib", "wsproto"),
)
"""The packages whose branches the fuzzer follows."""

_FOUND: Final = re.compile(r"[0-9a-f]{16}")
Arcs = frozenset[tuple[str, int, int]]


def inputs(target: str) -> list[Path]:
    """Return the files of a target's corpus."""
    return sorted((CORPUS / target).iterdir()) if (CORPUS / target).is_dir() else []


def reached(check: Callable[[bytes], None], data: bytes) -> Arcs:
    """Run `check` and return from which line to which it went, in the packages that are followed."""
    arcs: set[tuple[str, int, int]] = set()

    def enter(frame: FrameType, event: str, _: Any) -> Trace | None:
        module = str(frame.f_globals.get("__name__"))
        if module.partition(".")[0] not in FOLLOWED:
            return None
        last = -frame.f_code.co_firstlineno

        def line(frame: FrameType, event: str, _: Any) -> Trace:
            nonlocal last
            if event == "line":
                arcs.add((module, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return frozenset(arcs)


def keep(target: str, check: Callable[[bytes], None], found: Iterable[bytes]) -> tuple[int, int]:
    """Make of what is in the corpus and what was `found` the new corpus; return its files and its bytes.

    Files with a name of their own stay. Of the others those stay that reach something more: what was there before what
    is new, and the small before the large.
    """
    place = CORPUS / target
    place.mkdir(parents=True, exist_ok=True)
    named = [path for path in inputs(target) if not _FOUND.fullmatch(path.name)]
    before = {path.read_bytes() for path in inputs(target) if path not in named}
    known: set[tuple[str, int, int]] = set()
    for path in named:
        known |= reached(check, path.read_bytes())
    chosen: dict[str, bytes] = {}
    for data in sorted(before | set(found), key=lambda data: (data not in before, len(data), data)):
        arcs = reached(check, data)
        if not arcs <= known:
            known |= arcs
            chosen[hashlib.sha256(data).hexdigest()[:16]] = data
    for path in inputs(target):
        if path not in named and path.name not in chosen:
            path.unlink()
    for name, data in chosen.items():
        (place / name).write_bytes(data)
    files = inputs(target)
    return len(files), sum(path.stat().st_size for path in files)
