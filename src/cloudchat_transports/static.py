"""What is served as it is: files that are the same for all who ask, compressed once, and asked for again by ETag."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import msgspec

from cloudchat_transports.responses import Response

if TYPE_CHECKING:
    from cloudchat_transports.requests import Request
    from cloudchat_transports.responses import Headers


class StaticFile(msgspec.Struct, frozen=True):
    """One file in both codings; `tag` is its ETag's opaque part."""

    content_type: str
    plain: bytes
    packed: bytes
    tag: str

    @classmethod
    def of(cls, content_type: str, content: bytes) -> StaticFile:
        """Return `content` as a file of this type."""
        tag = hashlib.sha256(content).hexdigest()[:16]
        return cls(content_type, content, gzip.compress(content, mtime=0), tag)


def respond(request: Request, file: StaticFile, headers: Headers) -> Response:
    """Answer with `file` in a coding that the client takes, or with `304` where it has it already."""
    packed = _takes_gzip(request) and len(file.packed) < len(file.plain)
    # Two codings are two representations, each with a strong validator of its own (RFC 9110 §8.8.3.3).
    tag = f'"{file.tag}-gzip"' if packed else f'"{file.tag}"'
    headers = (*headers, ("etag", tag), ("vary", "Accept-Encoding, Origin"))
    known = [each.removeprefix("W/") for each in request.header_list("if-none-match")]
    if tag in known or "*" in known:
        return Response(304, headers=headers)
    if packed:
        headers = (*headers, ("content-encoding", "gzip"))
    return Response(200, file.packed if packed else file.plain, file.content_type, headers)


def _takes_gzip(request: Request) -> bool:
    """Tell whether the client said that it takes gzip (RFC 9110 §12.5.3)."""
    for member in request.header_list("accept-encoding"):
        coding, _, weight = member.lower().partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
