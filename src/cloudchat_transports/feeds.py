"""What a client asks of a feed, the same on every transport: from where, of what, in which workspace."""

from __future__ import annotations

import os
import random
from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgspec

from cloudchat_core.cursor import CURSOR_LENGTH
from cloudchat_core.errors import Code, RefusedError
from cloudchat_core.events import TOPICS

if TYPE_CHECKING:
    from collections.abc import Collection

WORKSPACE: Final = "main"
"""The workspace of those who name none."""

_MANY: Final = 32  # more parameters than any request of the protocol has


TRANSPORTS: Final = ("ws", "sse", "poll")
"""The ways in which a server offers feeds, the best first; any of them may be switched off."""


def switched_off(name: str, offered: Collection[str]) -> str:
    """Return what to tell who asks for the transport `name`, where only `offered` are on."""
    others = ", ".join(f"/v1/{other}" for other in TRANSPORTS if other in offered)
    return f"the transport {name} is switched off on this server; it has: {others}"


_NAME: Final = 12  # random bytes of a feed's name
_names: list[bytes] = []


def feed_name() -> str:
    """Return the name of a new feed: 96 random bits, which nobody guesses. (The kernel is asked for many at once.)"""
    if not _names:
        data = os.urandom(128 * _NAME)
        _names.extend(data[start : start + _NAME] for start in range(0, len(data), _NAME))
    return urlsafe_b64encode(_names.pop()).decode()


COMEBACK: Final = (0.5, 5.0)
"""Seconds after which clients come back from a planned restart: spread out, so that they do not come all at once."""


def comeback() -> float:
    """Return the `retry_after` (seconds) of one client."""
    return round(random.uniform(*COMEBACK), 2)  # noqa: S311 - spreads load, guards nothing


@lru_cache
def _topics(text: str) -> frozenset[str]:
    """Read a list of topics; there are few, and thousands of connections hold the same one."""
    return frozenset(filter(None, text.split(","))) or frozenset(TOPICS)


class FeedRequest(msgspec.Struct, frozen=True):
    """The parameters of a feed: the cursor handed in (empty: none), and the topics that are shown."""

    after: str
    topics: frozenset[str]


def parse_query(query: str) -> dict[str, str]:
    """Return the parameters of a query string; empty ones are as left out, of repeated ones the last counts.

    Raises `RefusedError` with `bad_request` where it cannot be read.
    """
    try:
        return {
            name: values[-1]
            for name, values in parse_qs(query, max_num_fields=_MANY, errors="strict").items()
        }
    except ValueError as error:
        raise RefusedError(Code.BAD_REQUEST, f"the query cannot be read: {error}") from None


def feed_request(parameters: dict[str, str]) -> FeedRequest:
    """Read the parameters of a feed; raises `RefusedError`: `bad_request`, `not_found` (topic, workspace)."""
    after = parameters.get("after", "")
    if len(after) > CURSOR_LENGTH:
        raise RefusedError(Code.BAD_REQUEST, f"`after` is longer than {CURSOR_LENGTH} characters")
    workspace = parameters.get("workspace", WORKSPACE)
    if workspace != WORKSPACE:
        raise RefusedError(Code.NOT_FOUND, f"there is no workspace {workspace!r}")
    topics = _topics(parameters.get("topics", ""))
    unknown = sorted(topics.difference(TOPICS))
    if unknown:
        raise RefusedError(
            Code.NOT_FOUND, f"there is no topic {unknown[0]!r}; there are: {', '.join(TOPICS)}"
        )
    return FeedRequest(after, topics)
