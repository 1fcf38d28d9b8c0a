"""A simulated world: clients, servers, their network, log and cloud in one process, under virtual time and a seed.

    from cloudchat_transports.testing.simulation import draw, live_through

    outcome = live_through(draw(123))
    assert not outcome.broken, outcome.detail

A seed is drawn into a `Plan`; a plan is lived through and becomes an `Outcome`, always the same one. The code of the
core, the node, the transports and the client is the real one. Simulated are the edges: sockets, the disk, the cloud,
clocks and chance. `docs/simulation.md` says how to read a trace, and how to test code of your own (`Parts`).

The parts: `scheduler` (virtual time, turns of tasks), `edges` (where the real world is replaced), `network` and
`sockets`, `log`, `cloud`, `clock`, `server` (one process after the other), `person` (a client and what it does), `plan`
and `faults` (what goes wrong, and when), `witness`, `presence`, `buffers` and `checks` (what has to hold), `world`
(all of it), `shrink`, `night` (many worlds), `coverage` (what has to happen in them).
"""

from cloudchat_transports.testing.simulation.coverage import MUST_HAPPEN
from cloudchat_transports.testing.simulation.night import Night, live_through_many, smallest
from cloudchat_transports.testing.simulation.parts import Parts
from cloudchat_transports.testing.simulation.plan import Act, Fault, Person, Plan, draw
from cloudchat_transports.testing.simulation.shrink import shrink
from cloudchat_transports.testing.simulation.world import Outcome, live_through

__all__ = [
    "MUST_HAPPEN",
    "Act",
    "Fault",
    "Night",
    "Outcome",
    "Parts",
    "Person",
    "Plan",
    "draw",
    "live_through",
    "live_through_many",
    "shrink",
    "smallest",
]
