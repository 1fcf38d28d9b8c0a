"""Kits that tell whether a log, a provider or a timer of your own keeps what `cloudchat_engine.ports` promises.

They need what `pip install cloudchat[testing]` adds: Hypothesis, and pytest (anyio brings the plugin that runs them).
"""

from cloudchat_engine.testing.durable_logs import CheckedLogContract, DurableLogContract
from cloudchat_engine.testing.log_machine import DurableLogMachine, LogMachine
from cloudchat_engine.testing.logs import LogContract
from cloudchat_engine.testing.providers import ProviderContract, ProviderFactory
from cloudchat_engine.testing.records import LogFactory, example, examples, redaction
from cloudchat_engine.testing.timers import Timed, TimerContract, TimerFactory

__all__ = [
    "CheckedLogContract",
    "DurableLogContract",
    "DurableLogMachine",
    "LogContract",
    "LogFactory",
    "LogMachine",
    "ProviderContract",
    "ProviderFactory",
    "Timed",
    "TimerContract",
    "TimerFactory",
    "example",
    "examples",
    "redaction",
]
