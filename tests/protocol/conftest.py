"""One server for the tests of a module, and clients that nobody else is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.protocol.server import Feed, Server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """`cloudchat serve`; a module says with `ARGUMENTS` what else it is told.

    Whom a test loses stays, unless it is told otherwise: nobody leaves in the middle of the next test.
    """
    arguments = ("--grace", "300", *getattr(request.module, "ARGUMENTS", ()))
    with Server(tmp_path_factory.mktemp("server") / "log.sqlite", *arguments) as running:
        yield running
        assert running.errors == [], "the server has nothing to complain about"


@pytest.fixture
def watcher(server: Server) -> Iterator[Feed]:
    """Somebody who sees who comes and goes."""
    with server.feed("?topics=chat") as feed:
        feed.ready()
        yield feed
