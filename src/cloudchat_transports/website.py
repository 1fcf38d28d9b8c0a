"""The web client, as this server hands it out: the page at `/`, and its files at `/assets/DIGEST/`.

Theory of operation. The files are those of `web/`, read once and compressed once. `DIGEST` names all of them together,
so a browser may keep each for ever and none is ever of another version than its page; the page itself is asked for
again each time, and is answered `304` while it is the same. In the page's source every file is named `./FILE`; that is
what it is called where no server rewrites it.

What is meant for who reads the sources is not sent: comments of scripts and styles, and the indentation of their lines.
That would be a third of a first visit. Each line stays where it was, so that what a browser says of it holds for the
sources. This is no parser, so the tests compare what is sent with the sources, token by token.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from cloudchat_core.errors import Code
from cloudchat_transports.responses import ProblemError
from cloudchat_transports.static import StaticFile, respond

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from cloudchat_transports.requests import Request
    from cloudchat_transports.responses import Headers, Response

ASSETS: Final = "/assets/"
"""Where the files are served."""

CSP: Final = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The page's Content-Security-Policy (CSP level 3): its own files, nothing inline, and no text ever becomes code."""

_PAGE: Final = "index.html"
_LOCAL: Final = b'="./'
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",  # RFC 9239
    "svg": "image/svg+xml",
}
_ASIDE: Final = re.compile(rb"^[ \t]*//.*$|/\*(?:(?!\*/)[\s\S])*\*/|^[ \t]+", re.MULTILINE)
_WRITTEN: Final = (".css", ".js")
_PAGE_HEADERS: Final[Headers] = (
    ("cache-control", "no-cache"),
    ("content-security-policy", CSP),
    ("cross-origin-opener-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
)
_ASSET_HEADERS: Final[Headers] = (
    # RFC 8246: the content of this address never changes.
    ("cache-control", "public, max-age=31536000, immutable"),
)


class _Website(msgspec.Struct, frozen=True):
    """All files by name; `digest` names them together."""

    files: dict[str, StaticFile]
    digest: str


async def page(request: Request) -> Response:
    """Answer with the page, whose files are found below the place where the application is mounted."""
    return respond(request, _page(quote(request.root)), _PAGE_HEADERS)


async def asset(request: Request) -> Response:
    """Answer with a file of the page; of another version's there is none, and the page itself is at `/` alone.

    Elsewhere it would be without the headers that forbid what it does not need.
    """
    digest, _, name = request.path.removeprefix(ASSETS).partition("/")
    website = _website()
    found = website.files.get(name) if digest == website.digest and name != _PAGE else None
    if found is None:
        raise ProblemError(Code.NOT_FOUND, "the web client has no such file (any more)")
    return respond(request, found, _ASSET_HEADERS)


@cache
def _website() -> _Website:
    found = dict(_walk(files("cloudchat_transports") / "web", ""))
    digest = hashlib.sha256()
    for name, content in sorted(found.items()):
        digest.update(b"%b\0%d\0%b" % (name.encode(), len(content), content))
    return _Website(
        {name: _file(name, content) for name, content in found.items()}, digest.hexdigest()[:16]
    )


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in _TYPES:
            yield prefix + entry.name, _bare(entry.name, entry.read_bytes())


def _bare(name: str, content: bytes) -> bytes:
    if not name.endswith(_WRITTEN):
        return content
    return _ASIDE.sub(lambda aside: b"\n" * aside[0].count(b"\n"), content)


def _file(name: str, content: bytes) -> StaticFile:
    return StaticFile.of(_TYPES[name.rpartition(".")[2]], content)


@lru_cache(maxsize=8)
def _page(root: str) -> StaticFile:
    """Return the page of a server that is mounted at `root` (quoted; empty, or without a slash at its end)."""
    website = _website()
    place = f'="{escape(root)}{ASSETS}{website.digest}/'.encode()
    return _file(_PAGE, website.files[_PAGE].plain.replace(_LOCAL, place))
