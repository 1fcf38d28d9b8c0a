"""Logs: where the records are kept. Each fulfils `cloudchat_engine.ports.Log`."""

from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.logs.sqlite import SqliteLog

__all__ = ["MemoryLog", "SqliteLog"]
