"""Transports of other packages are found by their name."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import anyio
import pytest

from cloudchat_transports.client import Client
from cloudchat_transports.client_transport import UnreachableError
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.registry import GROUP, registered

ROOT = Path(__file__).parents[2]

MODULE = """
from contextlib import asynccontextmanager
from cloudchat_transports.client_transport import UnreachableError

class Pigeon:
    def __init__(self, url, headers):
        self.url = url

    @asynccontextmanager
    async def connect(self, after, topics):
        raise UnreachableError(f"no pigeon flies to {self.url}")
        yield
"""


@pytest.fixture
def pigeons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with a transport."""
    (tmp_path / "pigeons.py").write_text(MODULE)
    info = tmp_path / "pigeons-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeons\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\npigeon = pigeons:Pigeon\n")
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_client_takes_a_transport_that_another_package_brings(pigeons: None) -> None:
    async def main() -> None:
        with pytest.raises(UnreachableError, match="no pigeon flies to roof:3"):
            async with Client("roof:3", transport="pigeon"):
                pytest.fail("nobody gets in")

    anyio.run(main)


def test_a_name_that_nobody_registered_is_answered_by_those_there_are(pigeons: None) -> None:
    with pytest.raises(ValueError, match=r"no transport 'owl'; there are: auto, ws, .*pigeon"):
        Client("http://127.0.0.1", transport="owl")
    with pytest.raises(ValueError, match="pigeon"):
        registered("owl")


def test_our_own_transports_are_in_the_same_list() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = project["entry-points"][GROUP]
    assert tuple(points) == TRANSPORTS
    for point in points.values():
        module, _, name = point.partition(":")
        assert hasattr(getattr(import_module(module), name), "connect")
