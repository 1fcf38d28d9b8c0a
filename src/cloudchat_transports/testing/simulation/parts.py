"""What of a world may be somebody else's: a log, a provider, a client of your own, lived through as ours are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cloudchat_transports.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchat_engine.ports import Log, Provider


def _as_it_is_log(log: Log) -> Log:
    return log


def _as_it_is(provider: Provider) -> Provider:
    return provider


@dataclass(frozen=True)
class Parts:
    """The parts that each server process and each client is made with."""

    log: Callable[[Log], Log] = _as_it_is_log
    """Given a process's log on the simulated disk; what it returns is what the node gets."""
    provider: Callable[[Provider], Provider] = _as_it_is
    """Likewise, given a process's access to the simulated cloud."""
    client: Callable[..., Client] = Client
    """Makes clients, from the arguments that `Client` takes."""
