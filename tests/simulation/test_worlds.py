"""Thousands of worlds, in each of which things go wrong: no promise is broken, and nothing interesting is left out."""

from __future__ import annotations

import faulthandler
from typing import TYPE_CHECKING

import pytest

from cloudchat_transports.testing.simulation.__main__ import investigate
from cloudchat_transports.testing.simulation.coverage import MUST_HAPPEN
from cloudchat_transports.testing.simulation.night import Night, live_through_many
from tests.simulation.conftest import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Callable


def test_whatever_goes_wrong_no_promise_is_broken(
    seeds: int,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    limit = float(request.config.getini("faulthandler_timeout"))

    def go_on(_: Night) -> None:
        """Put off the moment at which this test would be taken for one that hangs: it is one that takes long."""
        faulthandler.dump_traceback_later(limit, exit=True, file=2)

    night = live_through_many(range(seeds), workers=2, progress=go_on)
    record_property("table", night.table())
    if night.broken:
        pytest.fail(investigate(night.broken[0][0]), pytrace=False)
    assert night.worlds == seeds
    if seeds >= DEFAULT:
        assert [what for what in MUST_HAPPEN if not night.coverage[what]] == []
