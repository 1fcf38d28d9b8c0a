"""Clocks for Trio: one that stands still, and one that jumps to the next deadline when nothing else can happen."""

import pytest
from trio.testing import MockClock


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock()


@pytest.fixture
def autojump_clock() -> MockClock:
    # Loopback sockets need a moment that Trio cannot see.
    return MockClock(autojump_threshold=0.02)
