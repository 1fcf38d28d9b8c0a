"""Transports that other packages bring: entry points of the group `cloudchat.transports`.

Each name stands for a maker of a client's `Transport`, called with the server's address and the headers to send. Our
own three are there as well, for who lists them; a client finds these without reading every installed package.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchat_transports.client_transport import Transport

GROUP: Final = "cloudchat.transports"

Maker: TypeAlias = "Callable[[str, Mapping[str, str] | None], Transport]"
"""Makes a transport from an address and headers; raises `ValueError` where the address is none of its kind."""


def registered(name: str, known: Sequence[str] = ()) -> Maker:
    """Return the maker that an installed package has registered as `name`.

    Raises `ValueError` where there is none; it names those there are, `known` first.
    """
    found = entry_points(group=GROUP)
    if name not in found.names:
        names = ", ".join([*known, *sorted(found.names - set(known))])
        raise ValueError(f"there is no transport {name!r}; there are: {names}")
    maker: Maker = found[name].load()
    return maker
