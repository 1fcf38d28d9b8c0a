"""The head of a request to GET something over HTTP/1.1, read strictly: nothing folded, nothing left over (RFC 9112).

For the two kinds of requests that thousands of connections begin with, and that go no further than that: a WebSocket's
handshake and an event stream's. Whatever else comes is Hypercorn's.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_HEAD: Final = re.compile(
    # A method, a target, fields: a name, a colon, a value without control characters (RFC 9110 §5.5).
    rb"GET ([\x21-\x7e]+) HTTP/1\.1\r?\n"
    rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r?\n)+)\r?\n"
)


class Head(NamedTuple):
    """What was asked for, and the header fields in their order, their names in lower case."""

    target: str
    fields: list[tuple[bytes, bytes]]


def read_head(data: bytes) -> Head | None:
    """Read a head (with its final empty line); None where it is anything else than what is described above."""
    match = _HEAD.fullmatch(data)
    if match is None:
        return None
    fields: list[tuple[bytes, bytes]] = []
    for line in match[2].split(b"\n")[:-1]:
        name, _, value = line.partition(b":")
        fields.append((name.lower(), value.strip(b" \t\r")))
    return Head(match[1].decode(), fields)
