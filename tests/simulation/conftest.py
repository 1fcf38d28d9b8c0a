"""`pytest tests/simulation --seeds 100000` goes on for a night."""

from __future__ import annotations

import pytest

DEFAULT = 2_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--seeds", type=int, default=DEFAULT, help="how many simulated worlds are lived through"
    )


@pytest.fixture
def seeds(request: pytest.FixtureRequest) -> int:
    """The number of worlds; the default where the option is not known, as this file was not among the first read."""
    return int(request.config.getoption("--seeds", DEFAULT))
