"""Processes are killed, stopped for a while and told to end, and the clock is set under them."""

from __future__ import annotations

import signal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from tests.clocks import FAKED
from tests.faults.accounts import result, tally
from tests.faults.harness import needs
from tests.faults.kill_loop import kill_loop
from tests.faults.network import HEARTBEAT
from tests.faults.scene import Scene

if TYPE_CHECKING:
    from tests.faults.accounts import Result

HOUR: Final = 3_600
CLOCKS: Final = (HOUR, -HOUR, 400 * 24 * HOUR, -400 * 24 * HOUR, 0)
"""Seconds by which the machine's clock is wrong, one after the other: a time zone's mistake, a battery's, and right."""


def kill(rounds: int, seed: int) -> Result:
    """The server is killed (`kill -9`) under load, and its log read each time."""
    with TemporaryDirectory() as directory:
        return kill_loop(Path(directory) / "log.db", rounds, seed=seed)


def crash(rounds: int, seed: int) -> Result:
    """The server is killed (`kill -9`) and started again while clients follow on every transport."""
    return _restarts(rounds, seed, signal.SIGKILL)


def terminate(rounds: int, seed: int) -> Result:
    """The server is told to end (SIGTERM), does so with exit code 0, and is started again."""
    return _restarts(rounds, seed, signal.SIGTERM)


def _restarts(rounds: int, seed: int, how: signal.Signals) -> Result:
    with Scene(seed) as it:
        crowd = it.crowd()
        for _ in range(rounds):
            crowd.wait("ack", it.chance.randrange(1, 20))
            with crowd.expecting("lost"):
                code = it.server.end(how)
            assert code == (0 if how is signal.SIGTERM else -how)
            with crowd.expecting("back"):
                it.start()
        crowd.wait("ack")
        return it.result(rounds)


def stop_server(rounds: int, seed: int) -> Result:
    """The server is stopped (SIGSTOP) and goes on (SIGCONT); every other time when all have given it up."""
    with Scene(seed, *HEARTBEAT) as it:
        crowd = it.crowd()
        for number in range(rounds):
            if number % 2:
                it.server.process.send_signal(signal.SIGSTOP)
            else:
                with crowd.expecting("lost"):
                    it.server.process.send_signal(signal.SIGSTOP)
            it.server.process.send_signal(signal.SIGCONT)
            crowd.wait("ack", it.chance.randrange(1, 20))
        return it.result(rounds)


def stop_clients(rounds: int, seed: int) -> Result:
    """Clients are stopped (SIGSTOP) until the server has given some up, and go on (SIGCONT); others go on meanwhile."""
    with Scene(seed, *HEARTBEAT, "--grace", "0") as it:
        stopped, others = it.crowd(), it.crowd()
        for number in range(rounds):
            stopped.stop()
            # A stream is given up when all buffers on its way are full, which takes longer.
            gone = {name for name in stopped.names if number % 4 == 3 or not name.startswith("sse")}
            while it.server.present() & gone:
                others.wait("ack")
            with stopped.expecting("ack", it.chance.randrange(1, 20)):
                stopped.go_on()
        return it.result(rounds)


def clock(rounds: int, seed: int) -> Result:
    """The machine's clock is set back and forth while the server runs, and is wrong when it is started again."""
    needs("faketime", "-f", "+1h", "true")
    with TemporaryDirectory() as directory:
        wrong = Path(directory) / "clock"

        def set_clock(seconds: int) -> None:
            # In one step: the server asks at any moment.
            fresh = wrong.with_name("fresh")
            fresh.write_text(f"{seconds:+d}\n", encoding="ascii")
            fresh.replace(wrong)

        set_clock(0)
        with Scene(seed, environment={**FAKED, "FAKETIME_TIMESTAMP_FILE": str(wrong)}) as it:
            crowd = it.crowd()
            for number in range(rounds):
                set_clock(CLOCKS[number % len(CLOCKS)])
                crowd.wait("ack", it.chance.randrange(1, 20))
                with crowd.expecting("lost"):
                    it.server.end(signal.SIGKILL)
                with crowd.expecting("back"):
                    it.start()
                crowd.wait("ack")
            records, accounts = it.end()
        moments = [record.at for record in records]
        assert moments == sorted(moments), "the log's time went back"
        return result(tally(records, accounts), rounds)
