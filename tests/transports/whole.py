"""A server with everything that `cloudchat serve` has, whose log is in memory and whose clock stands still."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING

from cloudchat_cli.serving import serving
from cloudchat_core.clock import ManualClock
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import ManualTimer
from cloudchat_transports.access import Access
from cloudchat_transports.listener import bind
from tests.transports.web import uuid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from cloudchat_core.limits import Limits
    from cloudchat_transports.listener import Listener


@asynccontextmanager
async def whole_server(limits: Limits, heartbeat: float = 60) -> AsyncIterator[Listener]:
    """A server on a free port of the loopback interface; on trio."""
    clock, ids = ManualClock(), count(1)
    timer = ManualTimer(clock)
    node = Node(
        MemoryLog(),
        SimulatedProvider(timer, 20),
        clock=clock,
        timer=timer,
        new_id=lambda: uuid(next(ids)),
        new_epoch=lambda: "k3f9",
        limits=limits,
        heartbeat=heartbeat,
    )
    async with serving(node, bind("127.0.0.1", 0), Access()) as listener:
        yield listener
