"""What a client asks of a feed, the same on every transport: from where, of what, in which workspace."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

import msgspec

from cloudchat_core.cursor import CURSOR_LENGTH
from cloudchat_core.errors import Code, RefusedError
from cloudchat_core.events import TOPICS

WORKSPACE: Final = "main"
"""The workspace of those who name none."""

_MANY: Final = 32  # more parameters than any request of the protocol has


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
    topics = frozenset(filter(None, parameters.get("topics", "").split(","))) or frozenset(TOPICS)
    unknown = sorted(topics.difference(TOPICS))
    if unknown:
        raise RefusedError(
            Code.NOT_FOUND, f"there is no topic {unknown[0]!r}; there are: {', '.join(TOPICS)}"
        )
    return FeedRequest(after, topics)
