"""Who may call: the one check of `Host` and `Origin`, the same for WebSocket and HTTP, for reads and for writes.

Theory of operation. A server on a loopback or private address is within reach of every web page that its user visits.
Two things keep such pages out:

* `Origin`. A page's script is known by the origin that the browser sends along. It must be this very server, or one
  that the server was told. An opaque origin (`null`: a sandboxed frame, a file) is nobody in particular, and never is.
* `Host`. With DNS rebinding a page makes its own name resolve to our address, and is of the same origin as us from
  then on. But the browser still sends the name that it asked for. An IP literal cannot be rebound, and `localhost`
  (RFC 6761 §6.3) is resolved by nobody else; any other name has to be one that the server was told.

Origins are compared as RFC 6454 §5 has it: scheme, host and port. Behind a proxy that ends TLS the request's scheme is
not known for certain, so its own origin is its host and port alone; a missing port is that of the origin's scheme.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_NAME: Final = re.compile(r"[^][:/?#@\\%\s\x00-\x20\x7f]+", re.ASCII)
_AUTHORITY: Final = re.compile(rf"(\[[0-9A-Fa-f:.]+\]|{_NAME.pattern})(?::(\d{{0,5}}))?", re.ASCII)
_ORIGIN: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.+)", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
_KNOWN: Final = 128  # names that are not read again: all callers of a server use the same few


class Authority(NamedTuple):
    """A host as it can be compared (lower case, no final dot, ASCII), and the port where one was written."""

    host: str
    port: int | None


@lru_cache(maxsize=_KNOWN)
def parse_authority(text: str) -> Authority | None:
    """Read `host[:port]` (RFC 9110 §7.2); None where it is none."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        return None
    port = int(match[2]) if match[2] else None
    host = _comparable(match[1])
    return None if host is None or (port or 0) > 65_535 else Authority(host, port)


def _comparable(host: str) -> str | None:
    if host.startswith("["):
        try:
            return f"[{IPv6Address(host[1:-1])}]"
        except AddressValueError:
            return None
    try:
        name = host.encode("ascii" if host.isascii() else "idna").decode()
    except UnicodeError:
        return None
    name = name.lower().removesuffix(".")
    # IDNA evens out characters, and some of them become what no name may have in it.
    return name if _NAME.fullmatch(name) and not name.endswith(".") else None


@lru_cache(maxsize=_KNOWN)
def _is_literal(host: str) -> bool:
    try:
        return host.startswith("[") or bool(IPv4Address(host).packed)
    except AddressValueError:
        return False


class Origin(NamedTuple):
    """An origin as it can be compared; `port` is None where the scheme has no port of its own."""

    scheme: str
    host: str
    port: int | None


def parse_origin(text: str) -> Origin | None:
    """Read `scheme://host[:port]` (RFC 6454 §6.2); None where it is none, as `null` is."""
    match = _ORIGIN.fullmatch(text)
    authority = None if match is None else parse_authority(match[2])
    if match is None or authority is None:
        return None
    scheme = match[1].lower()
    port = _PORTS.get(scheme) if authority.port is None else authority.port
    return Origin(scheme, authority.host, port)


class Access:
    """Which hosts and origins a server lets in, besides loopback names, IP literals, and the server's own origin."""

    def __init__(self, allow_hosts: Iterable[str] = (), allow_origins: Iterable[str] = ()) -> None:
        """`allow_hosts` are names (`chat.example.org`, on any port), `allow_origins` `https://example.org[:port]`.

        Raises `ValueError` where one of them is no such thing.
        """
        self._hosts = frozenset(map(_named_host, allow_hosts))
        self._origins = frozenset(map(_named_origin, allow_origins))

    def check(self, host: str, origin: str | None) -> str | None:
        """Return why a request with these headers may not come in (None: it may); `origin` None: it has none."""
        asked = parse_authority(host)
        if asked is None:
            return "the Host header names no host"
        if not self._knows(asked.host):
            return f"this server does not go by the name {asked.host!r}; --allow-host tells it to"
        if origin is None:
            return None
        named = parse_origin(origin)
        if named is None or not (named in self._origins or _is_own(named, asked)):
            return (
                f"pages of the origin {origin!r} may not use this server; --allow-origin lets them"
            )
        return None

    def _knows(self, host: str) -> bool:
        return (
            host == "localhost"
            or host.endswith(".localhost")
            or host in self._hosts
            or _is_literal(host)
        )


def _is_own(origin: Origin, asked: Authority) -> bool:
    default = _PORTS.get(origin.scheme)
    port = default if asked.port is None else asked.port
    return default is not None and (origin.host, origin.port) == (asked.host, port)


def _named_host(text: str) -> str:
    authority = parse_authority(text)
    if authority is None or "*" in text:
        raise ValueError(f"{text!r} is no host to allow; write a name such as chat.example.org")
    return authority.host


def _named_origin(text: str) -> Origin:
    origin = parse_origin(text.removesuffix("/"))
    if origin is None or "*" in text:
        raise ValueError(f"{text!r} is no origin to allow; write one such as https://example.org")
    return origin
