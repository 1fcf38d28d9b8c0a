"""Kits that tell whether a log or a provider of your own keeps what `cloudchat_engine.ports` promises.

They need what `pip install cloudchat[testing]` adds: Hypothesis, and pytest (anyio brings the plugin that runs them).
"""

from cloudchat_engine.testing.log_machine import DurableLogMachine, LogMachine
from cloudchat_engine.testing.logs import DurableLogContract, LogContract
from cloudchat_engine.testing.providers import ProviderContract, ProviderFactory
from cloudchat_engine.testing.records import LogFactory, example, examples, redaction

__all__ = [
    "DurableLogContract",
    "DurableLogMachine",
    "LogContract",
    "LogFactory",
    "LogMachine",
    "ProviderContract",
    "ProviderFactory",
    "example",
    "examples",
    "redaction",
]
