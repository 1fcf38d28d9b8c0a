"""Which transports a client uses: those of an URL by name, the best first, or those that were handed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cloudchat_transports.feeds import TRANSPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloudchat_transports.client_transport import Transport

AUTO: Final = "auto"
"""The best transport that works."""


def choose(
    server: str | Transport | Sequence[Transport], wanted: str, headers: Mapping[str, str] | None
) -> tuple[list[str], list[Transport]]:
    """Return the transports to use, the best first, and their names; `ValueError` where there is none of that name."""
    if not isinstance(server, str):
        given: list[Transport] = [*server] if isinstance(server, Sequence) else [server]
        return [type(each).__name__ for each in given], given
    names = list(TRANSPORTS) if wanted == AUTO else [wanted]
    return names, [_transport(name, server, headers) for name in names]


def _transport(name: str, url: str, headers: Mapping[str, str] | None) -> Transport:
    match name:
        case "ws":
            from cloudchat_transports.ws.client import WebSocketTransport  # noqa: PLC0415

            return WebSocketTransport(url, headers)
        case "sse":
            from cloudchat_transports.sse.client import SseTransport  # noqa: PLC0415

            return SseTransport(url, headers)
        case "poll":
            from cloudchat_transports.poll.client import PollTransport  # noqa: PLC0415

            return PollTransport(url, headers)
        case _:
            from cloudchat_transports.registry import registered  # noqa: PLC0415 - it reads files

            return registered(name, (AUTO, *TRANSPORTS))(url, headers)
