"""Clocks for Trio: one that stands still, and one that jumps to the next deadline when nothing else can happen.

All that the application answers in these tests is held to the specifications.
"""

from collections.abc import Iterator

import pytest
from trio.testing import MockClock

from tests.specs.watching import watch


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock()


@pytest.fixture
def autojump_clock() -> MockClock:
    # Loopback sockets need a moment that Trio cannot see.
    return MockClock(autojump_threshold=0.02)


@pytest.fixture(autouse=True)
def _what_is_answered_is_as_described(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    wrong = watch(monkeypatch)
    yield
    assert wrong == []
