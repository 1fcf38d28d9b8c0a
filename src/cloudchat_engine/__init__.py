"""The engine: runs the core over a durable log and a provider, on asyncio and trio (anyio)."""

from cloudchat_engine.node import Node
from cloudchat_engine.ports import (
    Erasure,
    Log,
    LogConflictError,
    LogDamagedError,
    LogError,
    LogLockedError,
    LogUnavailableError,
    LogUncertainError,
    Opened,
    Provider,
    ProviderError,
    Retention,
    Saved,
    Timer,
    Work,
)
from cloudchat_engine.providers import SimulatedProvider
from cloudchat_engine.timers import ManualTimer, SystemTimer

__all__ = [
    "Erasure",
    "Log",
    "LogConflictError",
    "LogDamagedError",
    "LogError",
    "LogLockedError",
    "LogUnavailableError",
    "LogUncertainError",
    "ManualTimer",
    "Node",
    "Opened",
    "Provider",
    "ProviderError",
    "Retention",
    "Saved",
    "SimulatedProvider",
    "SystemTimer",
    "Timer",
    "Work",
]
