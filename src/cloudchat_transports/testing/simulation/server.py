"""The server: one process after the other over the same disk, each of which may end between any two steps.

A process is killed by taking the world away from it: its sockets, its disk and its provider do nothing any more, from
one step to the next. What its tasks still do while they are cancelled is seen by nobody.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final
from uuid import UUID

import trio

from cloudchat_core.limits import Limits
from cloudchat_core.rates import Rates
from cloudchat_engine.node import Node
from cloudchat_engine.ports import LogError, Retention
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports._hypercorn import HttpServer
from cloudchat_transports.access import Access
from cloudchat_transports.fanout import Fanout
from cloudchat_transports.http import HttpApp
from cloudchat_transports.listener import Listener
from cloudchat_transports.testing.simulation.cloud import CloudProvider
from cloudchat_transports.testing.simulation.log import DiskLog
from cloudchat_transports.ws.server import WebSocketServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloudchat_transports.outlet import Outlet
    from cloudchat_transports.testing.simulation.clock import VirtualClock
    from cloudchat_transports.testing.simulation.cloud import Cloud
    from cloudchat_transports.testing.simulation.log import Disk, Fate, Moment
    from cloudchat_transports.testing.simulation.network import Network
    from cloudchat_transports.testing.simulation.parts import Parts
    from cloudchat_transports.testing.simulation.plan import Plan

SHUTDOWN: Final = 5.0
"""Seconds in which connections may end in order when the server is stopped."""

OPERATION: Final = 40.0
"""Seconds after its expected end at which an operation counts as failed."""


def limits(plan: Plan) -> Limits:
    """Return the limits of a plan's server: small ones, so that they are met."""
    return Limits().with_values(
        {
            "operation_time": OPERATION,
            "window": plan.window,
            "frame": plan.frame,
            "text": (plan.frame - 4_096) // 4,
            "snapshot_every": plan.snapshot_every,
            "finished_operations": 5,
            "stalled": 20,
            "feeds_per_token": 3,
        }
    )


class Life:
    """One server process."""

    def __init__(
        self,
        number: int,
        plan: Plan,
        *,
        network: Network,
        disk: Disk,
        cloud: Cloud,
        clock: VirtualClock,
        fates: dict[int, Fate],
        reached: Callable[[Moment, int], None],
        parts: Parts,
    ) -> None:
        """Be the `number`-th; `reached` is told how far its appends are."""
        chance = random.Random(f"{plan.seed} life {number}")
        self.number, self.clock = number, clock
        self.log = DiskLog(
            disk,
            number,
            fates=fates,
            delay=plan.log_delay / 1000,
            luck=chance,
            coverage=network.coverage,
            reached=reached,
        )
        self.provider = CloudProvider(cloud)
        self.node = Node(
            parts.log(self.log),
            parts.provider(self.provider),
            clock=clock,
            timer=SystemTimer(clock),
            new_id=lambda: str(UUID(int=chance.getrandbits(128))),
            new_epoch=lambda: f"{number}x{chance.getrandbits(32):x}",
            limits=limits(plan),
            grace=plan.grace,
            heartbeat=plan.heartbeat,
            keep=Retention(count=plan.keep),
        )
        self.up = False
        """Whether it serves."""
        self.dead = False
        self._network = network
        self._listener: Listener | None = None
        self._stopping = trio.Event()
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Live until `kill` or `stop`; a log that cannot be opened ends it as well."""
        with self._scope:
            try:
                await self._serve()
            except* LogError:
                if not self.dead:
                    self._network.coverage["a server that could not open its log"] += 1
        self.up = False
        if not self.dead:
            self._network.kill(silent=False)
        self.dead = True

    async def _serve(self) -> None:
        node, bounds = self.node, self.node.limits
        fanout = Fanout(node)
        rates = Rates(bounds.commands_per_second, bounds.commands_burst)
        access = Access()
        websockets = WebSocketServer(node, fanout, rates=rates, check=access.check)
        app = HttpApp(node, access, rates=rates)
        http = HttpServer(app, bounds, node.heartbeat)
        listening = self._network.listen()
        self._listener = listener = Listener(
            [listening],  # type: ignore[list-item] # any that behaves as one will do
            limits=bounds,
            websockets=websockets,
            http=http,
            fanout=fanout,
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run)
            self.log.serve()
            nursery.start_soon(fanout.run)
            nursery.start_soon(websockets.run)
            await nursery.start(listener.run)
            self.up = True
            await self._stopping.wait()
            self.up = False
            app.wind_down()
            await listener.shut_down(SHUTDOWN)
            nursery.cancel_scope.cancel()

    def outlets(self) -> list[Outlet]:
        """Return the connections that it has, as it sees them."""
        return [] if self._listener is None else list(self._listener._outlets)  # noqa: SLF001

    def kill(self, *, silent: bool, complete: bool) -> None:
        """End it here and now; see `Network.kill` and `DiskLog.die`."""
        if self.dead:
            return
        self.dead, self.up = True, False
        self._network.kill(silent=silent)
        self.log.die(complete=complete)
        self.provider.die()
        self._scope.cancel()

    def stop(self) -> None:
        """End it in order."""
        self._stopping.set()
