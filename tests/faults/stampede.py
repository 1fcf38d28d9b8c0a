"""A server with a thousand clients is restarted, and all of them are back without a rush."""

from __future__ import annotations

import signal
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from cloudchat_transports.feeds import COMEBACK
from tests.faults.accounts import offset, result, tally
from tests.faults.light import Lights
from tests.faults.scene import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.faults.accounts import Result

COUNT: Final = 1_000
STEP: Final = 0.1
"""Seconds in which arrivals are counted together."""


def restart(rounds: int, seed: int) -> Result:
    """A server with a thousand followers is restarted (SIGTERM): all come back, and miss nothing."""
    with Scene(seed) as it, Lights(it.server.port, COUNT) as lights:
        crowd = it.crowd(pace=0.5)
        notes = []
        for _ in range(rounds):
            began = time.monotonic()
            with crowd.expecting("back"):
                assert it.server.end(signal.SIGTERM) == 0
                ended = time.monotonic()
                it.start()
            lights.wait()
            notes.append((began, ended - began, time.monotonic() - began))
        crowd.wait("ack")
        accounts = crowd.accounts()
        last = max((one for a in accounts for one in a.acked.values()), key=offset)
        report = lights.report(last)
        # Who is between two polls just then is told nothing, and comes back at a time of its own.
        assert len(report.told) > 0.6 * rounds * COUNT, f"only {len(report.told)} were told when"
        most_told = max(_steps(report.told).values())
        # Told apart evenly it would be so many; chance alone does not make it three times that.
        assert most_told < 3 * COUNT * rounds * STEP / (COMEBACK[1] - COMEBACK[0])
        records, _ = it.end()
        began, ending, back = notes[-1]
        steps = _steps(moment - began for moment in report.arrived if moment > began)
        note = (
            f"the server ended in {ending:.1f} s; all {COUNT:,} were back after {back:.1f} s,"
            f" at most {max(steps.values())} of them within the same {STEP * 1000:.0f} ms"
        )
        return result(tally(records, [*accounts, *report.accounts]), rounds, note)


def _steps(moments: Iterable[float]) -> Counter[int]:
    return Counter(int(moment / STEP) for moment in moments)
