"""What all targets share."""

from __future__ import annotations

import random
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def pieces(data: bytes) -> Iterator[list[bytes]]:
    """Ways to cut `data`: every byte for itself, and a few places that are the same in every run."""
    yield [data[at : at + 1] for at in range(len(data))]
    chance = random.Random(zlib.crc32(data))
    places = sorted(chance.randrange(len(data) + 1) for _ in range(3))
    yield [data[start:end] for start, end in pairwise([0, *places, len(data)])]


def text_of(data: bytes) -> str:
    """Any text at all: UTF-8, and where it is none, lone surrogates, as JSON can write them and decoders refuse."""
    return data.decode(errors="surrogateescape")
