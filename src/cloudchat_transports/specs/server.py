"""Hands out the specifications: `GET /v1/openapi.json` and `GET /v1/asyncapi.json`."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from cloudchat_core.codec import encode
from cloudchat_transports.responses import JSON
from cloudchat_transports.specs.asyncapi import asyncapi, servers
from cloudchat_transports.specs.openapi import openapi
from cloudchat_transports.specs.operations import OPERATIONS
from cloudchat_transports.static import StaticFile, respond

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from cloudchat_core.limits import Limits
    from cloudchat_transports.requests import Request
    from cloudchat_transports.responses import Headers, Response

_HEADERS: Final[Headers] = (("cache-control", "no-cache"),)
_PLACE: Final = {route: place for place, route in enumerate(OPERATIONS)}
_KEPT: Final = 8
"""For how many addresses of a server its documents are kept; there are one or two."""


class Specifications:
    """The documents of one server. They are made when somebody asks, and kept."""

    def __init__(self, limits: Limits, transports: Collection[str]) -> None:
        """Tell of a server with these limits and transports."""
        self._limits, self._transports = limits, transports
        self._routes: tuple[tuple[str, str], ...] = ()
        self._openapi_at = lru_cache(_KEPT)(self._make_openapi)
        self._asyncapi_at = lru_cache(_KEPT)(self._make_asyncapi)

    def describe(self, routes: Iterable[tuple[str, str]]) -> None:
        """Note what the server serves: method and path. `KeyError` names one that `OPERATIONS` says nothing of."""
        self._routes = tuple(sorted(routes, key=_PLACE.__getitem__))

    async def openapi(self, request: Request) -> Response:
        return respond(request, self._openapi_at(quote(request.root)), _HEADERS)

    async def asyncapi(self, request: Request) -> Response:
        # Without a Host there is no request, and only hosts that may be asked for come this far.
        host = request.header("host") or ""
        found = self._asyncapi_at(host, quote(request.root), request.scheme)
        return respond(request, found, _HEADERS)

    def _make_openapi(self, root: str) -> StaticFile:
        return StaticFile.of(JSON, encode(openapi(self._limits, self._routes, root)))

    def _make_asyncapi(self, host: str, root: str, scheme: str) -> StaticFile:
        here = servers(host, root, secure=scheme == "https")
        return StaticFile.of(JSON, encode({**self._feeds, "servers": here}))

    @cached_property
    def _feeds(self) -> dict[str, Any]:
        return asyncapi(self._limits, self._transports)
