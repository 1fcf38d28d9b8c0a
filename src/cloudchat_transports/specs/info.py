"""What both documents begin with."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any


def info(title: str, description: str) -> dict[str, Any]:
    """Return the `info` of a document; `version` is the server's own."""
    return {
        "title": title,
        "version": version("cloudchat"),
        "description": description,
        "license": {"name": "MIT"},
    }
