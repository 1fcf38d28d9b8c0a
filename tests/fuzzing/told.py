"""What the operator tells a server: configuration files, and the small languages of its options."""

from __future__ import annotations

import tomllib
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cloudchat_cli.config import read
from cloudchat_cli.options import known_keys
from cloudchat_cli.settings import make_log, make_provider, read_limits, read_retention
from cloudchat_core.clock import ManualClock
from cloudchat_engine.timers import ManualTimer
from tests.fuzzing.pieces import text_of

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
U = TypeVar("U")


class _File(type(Path())):  # type: ignore[misc]
    """A file that is nowhere, with this content."""

    content = b""

    def read_text(self, *_: object, **__: object) -> str:
        return self.content.decode()


KNOWN = known_keys()


def config_file(data: bytes) -> None:
    """A file is read without an exception: each of its keys is taken, with its line, or told with its line."""
    file = _File("cloudchat.toml")
    file.content = data
    config = read([file], lambda: KNOWN)
    assert config.files == (file,)
    lines = data.count(b"\n") + 1
    for (section, key), found in config.found.items():
        assert key in KNOWN[section]
        assert 1 <= int(found.origin.removeprefix("cloudchat.toml:")) <= lines
    for problem in config.problems:
        assert problem.startswith("cloudchat.toml:")
    try:
        table = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        assert len(config.problems) == 1
        assert not config.found
        return
    keys = sum(
        len(part) if isinstance(part, dict) and name in KNOWN else 1 for name, part in table.items()
    )
    assert len(config.found) + len(config.problems) == keys


def options(data: bytes) -> None:
    """What stands in an option is taken, within bounds, or refused by `ValueError` in words."""
    text = text_of(data)
    words = text.split(" ")
    log = _taken(make_log, text)
    assert log is None or text == "memory:" or text.startswith("sqlite:")
    provider = _taken(make_provider, text)
    if provider is not None:
        assert text.startswith("simulated:")
        provider(ManualTimer(ManualClock()))
    kept = _taken(read_retention, words)
    if kept is not None:
        assert all(
            isfinite(bound) and 0 <= bound < 2**63 for bound in (kept.count, kept.age, kept.size)
        )
        assert kept.count or kept.age or kept.size
    limits = _taken(read_limits, words)
    if limits is not None:
        assert limits.frame >= 4 * limits.text
        assert limits.command_ids >= limits.unanswered
        read_limits([f"{name}={getattr(limits, name)}" for name in ("text", "frame")])


def _taken(read: Callable[[T], U], text: T) -> U | None:
    try:
        return read(text)
    except ValueError as error:
        assert str(error)
        return None
