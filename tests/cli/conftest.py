"""A server that the commands talk to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.program import Server

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = ("--provider", "simulated:?duration=0.2")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server("--log", "memory:", *QUICK, "--grace", "0.2") as server:
        yield server
