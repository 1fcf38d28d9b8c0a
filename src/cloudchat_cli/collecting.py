"""When Python looks for cycles among what nobody holds any more: little at a time, and all of it when nothing happens.

Almost everything here is let go of by counting. Left to itself the collector goes through thousands of connections
again and again while thousands more come, up to 200 ms at once, during which nobody is served. So what is young is
looked through in larger helpings, what is old never by itself; and in a quiet moment everything is, and then set apart,
so that later looks pass over it.
"""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

YOUNG: Final = 5_000
"""New objects between two looks at the young ones."""

MIDDLE: Final = 20
"""Looks at the young between two at those that outlived one."""

NEVER: Final = 2**30

LOOK: Final = 5.0
"""Seconds between two questions whether nothing happens; a moment is quiet when nothing did since the last."""


def settle() -> None:
    """Look through everything, and set apart what is still in use."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()


async def collect_when_quiet(activity: Callable[[], object]) -> None:
    """Collect in quiet moments, until cancelled: when `activity` is what it was, and there is something new."""
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG, MIDDLE, NEVER)
    settle()
    try:
        before = activity()
        settled = before
        while True:
            await trio.sleep(LOOK)
            now = activity()
            if now == before and now != settled:
                settle()
                settled = now
            before = now
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
