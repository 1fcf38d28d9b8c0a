"""One server for the tests of a module, and clients that nobody else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocol.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`cloudchat serve`; a module says with `ARGUMENTS` what else it is told."""
    arguments = getattr(request.module, "ARGUMENTS", ("--grace", "0.5"))
    with Server(tmp_path_factory.mktemp("server") / "log.sqlite", *arguments) as running:
        yield running
        assert running.errors == [], "the server has nothing to complain about"
