"""Thousands of worlds, in each of which things go wrong: no promise is broken, and nothing interesting is left out."""

from __future__ import annotations

import faulthandler
import os
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
import pytest

from cloudchat_transports.testing.simulation.__main__ import investigate
from cloudchat_transports.testing.simulation.coverage import MUST_HAPPEN
from cloudchat_transports.testing.simulation.night import Night, live_through_many
from tests.simulation.conftest import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PARTS = 10
"""So that processes which run the tests share the worlds."""


@pytest.fixture
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of this run of the tests, the same in each of its processes."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if hasattr(request.config, "workerinput") else base


def read(path: Path) -> Night:
    """Return what a part was: its only type that is not JSON's is the counter."""
    return msgspec.json.decode(
        path.read_bytes(), type=Night, dec_hook=lambda _, value: Counter(value)
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_whatever_goes_wrong_no_promise_is_broken(
    part: int,
    seeds: int,
    shared: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    limit = float(request.config.getini("faulthandler_timeout"))

    def go_on(_: Night) -> None:
        """Put off the moment at which this test would be taken for one that hangs: it is one that takes long."""
        faulthandler.dump_traceback_later(limit, exit=True, file=2)

    # Beside others that run tests, one process; else one a core.
    workers = 1 if hasattr(request.config, "workerinput") else os.cpu_count() or 1
    night = live_through_many(range(part, seeds, PARTS), workers, progress=go_on)
    if night.broken:
        pytest.fail(investigate(night.broken[0][0]), pytrace=False)
    assert night.worlds == len(range(part, seeds, PARTS))
    written = shared / f"part of worlds {part}"
    written.write_bytes(msgspec.json.encode(night))
    written.rename(shared / f"worlds {part}")
    # Whoever comes last looks at what happened in all of them.
    parts = [read(each) for each in shared.glob("worlds *")]
    if len(parts) < PARTS:
        return
    whole = Night()
    for each in parts:
        whole.add(each)
    record_property("table", whole.table())
    if seeds >= DEFAULT:
        assert [what for what in MUST_HAPPEN if not whole.coverage[what]] == []
