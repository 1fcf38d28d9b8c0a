"""All kinds of faults by name, and how many rounds of each show something in little time.

A kind is a function of a number of rounds and a seed that makes things go wrong, holds what clients were told against
the log (`accounts.py`), and returns what it came to. Its docstring says, in a sentence, what goes wrong. To add one,
write the function and name it here.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.faults import damage, disk, hostile, network, processes, resources, stampede
from tests.faults.accounts import Result


class Kind(NamedTuple):
    """`run(rounds, seed)`; `usual` rounds are for the table, `quick` ones are enough for a test.

    None where the tests have more to say of it than that nothing is lost or doubled (`test_disk.py`).
    """

    run: Callable[[int, int], Result]
    quick: int | None
    usual: int

    @property
    def what(self) -> str:
        """Say what goes wrong."""
        return (self.run.__doc__ or "").partition("\n")[0].removesuffix(".")


KINDS: Final[dict[str, Kind]] = {
    "kill": Kind(processes.kill, 6, 20),
    "crash": Kind(processes.crash, 2, 10),
    "terminate": Kind(processes.terminate, 1, 4),
    "restart": Kind(stampede.restart, 1, 2),
    "stop-server": Kind(processes.stop_server, 2, 10),
    "stop-clients": Kind(processes.stop_clients, 1, 3),
    "clock": Kind(processes.clock, 2, 5),
    "cut": Kind(network.cut, 1, 20),
    "stall": Kind(network.stall, 2, 6),
    "delay": Kind(network.delay, 1, 10),
    "drip": Kind(network.drip, 1, 10),
    "half-close": Kind(network.half_close, 2, 20),
    "descriptors": Kind(resources.descriptors, 1, 10),
    "churn": Kind(resources.churn, 1, 10),
    "half-open": Kind(resources.half_open, 1, 10),
    "slow": Kind(hostile.slow, 1, 5),
    "flood": Kind(hostile.flood, 1, 10),
    "oversized": Kind(hostile.oversized, 1, 10),
    "full-disk": Kind(disk.full, None, 3),
    "read-only": Kind(disk.read_only, None, 5),
    "failing-writes": Kind(disk.failing_writes, None, 5),
    "failing-syncs": Kind(disk.failing_syncs, None, 5),
    "misplaced": Kind(disk.misplaced, None, 5),
    "restored": Kind(disk.restored, None, 5),
    "lost-tail": Kind(disk.lost_tail, None, 5),
    "damaged": Kind(damage.damaged, None, 12),
}
