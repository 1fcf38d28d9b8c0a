"""What is compared and judged: fan-out beside the peers, and what the goals ask of ours besides."""

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.load import Figures, LoadError, load
from benchmarks.results import Record
from benchmarks.servers import (
    ALL,
    CLOUDCHAT_SPEECH,
    MEMORY,
    SQLITE,
    Server,
    StartError,
    cloudchat,
    running,
    serve,
    sliced,
)
from benchmarks.tools import disturbance


@dataclass(frozen=True)
class Plan:
    """How much of everything; durations are in seconds."""

    rounds: int = 7
    clients: int = 1_000
    seconds: float = 2.0
    """A phase of a comparison, its warming up not counted."""
    rates: tuple[int, ...] = (100, 1_000)
    """Messages a second; the last one is for those servers alone that write several messages at once."""
    crowd: int = 5_000
    """Clients that are served while a bystander waits."""
    publishers: int = 50
    poll_seconds: float = 10.0
    stalled: int = 200
    stalled_seconds: float = 50.0
    stalled_rate: int = 2_000
    stalled_others: int = 100
    prefill: int = 60_000
    """Messages that more than fill the window of a server of ours."""
    curve_rounds: int = 3
    curve_clients: tuple[int, ...] = (100, 300, 1_000, 3_000, 7_000, 15_000)
    curve_events: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    curve_instances: tuple[int, ...] = (10, 100, 1_000, 10_000)
    curve_rates: tuple[int, ...] = (10, 30, 100, 200, 500, 1_000, 2_000, 3_000, 4_000)
    curve_publishers: tuple[int, ...] = (1, 3, 10, 30, 100)
    peers: frozenset[str] = frozenset(server.name for server in ALL)


QUICK: Final = Plan(
    rounds=1,
    seconds=0.4,
    crowd=1_000,
    poll_seconds=1.0,
    stalled=20,
    stalled_seconds=2.0,
    prefill=5_000,
    curve_rounds=1,
    curve_clients=(100, 300),
    curve_events=(1_000, 10_000),
    curve_instances=(10, 100),
    curve_rates=(30, 300),
    curve_publishers=(1, 10),
    peers=frozenset({"floor", "nchan", "ws", "bun"}),
)
"""A short check: whether everything works, and roughly where things stand."""

_OURS: Final = frozenset({MEMORY.name, SQLITE.name})

Section = Callable[[Plan], Iterator[Record]]


def say(text: str) -> None:
    """Tell on stderr how far it is."""
    print(text, file=sys.stderr, flush=True)


def measure(server: Server, *phases: str, number: int, **how: Any) -> Iterator[Record]:
    """Run phases against a fresh server, in round `number`; a server that cannot do it has none of these figures."""
    transport = how.setdefault("transport", "ws")
    try:
        with running(server) as it:
            figures = load(it, server.speech[transport], *phases, **how)
    except (LoadError, StartError) as error:
        say(f"  {server.name} over {transport}: {error}")
        return
    where = {"server": server.name, "transport": transport, "round": number}
    yield from ({**where, "asked": how["clients"], **one} for one in figures)


def compared(plan: Plan, transport: str, number: int) -> list[Server]:
    """Return the servers of a round, each time beginning with another one."""
    servers = [
        server
        for server in ALL
        if transport in server.speech
        and server.there
        and (server.name in plan.peers or server.name in _OURS)
    ]
    turn = number % len(servers)
    return servers[turn:] + servers[:turn]


def fan_out(plan: Plan) -> Iterator[Record]:
    """Set up, be idle, one message at a time, 64 of them, so many a second: ours and theirs, in rounds."""
    for number in range(plan.rounds):
        others = disturbance()
        say(f"fan-out, round {number + 1} of {plan.rounds}; others use {others:.0%} of the machine")
        for transport in ("ws", "sse"):
            for server in compared(plan, transport, number):
                rates = plan.rates if server.joins else plan.rates[:-1]
                phases = [f"closed:1:{plan.seconds}", f"closed:64:{plan.seconds}"]
                phases += [f"open:{rate}:{plan.seconds}" for rate in rates]
                done = measure(
                    server,
                    "idle:0.5",
                    *phases,
                    number=number,
                    transport=transport,
                    clients=plan.clients,
                )
                yield from ({**one, "disturbance": others} for one in done)


def joined(plan: Plan) -> Iterator[Record]:
    """What a client costs that has joined, and has a nickname and a token of its own."""
    for number in range(min(3, plan.rounds)):
        say(f"joined clients, round {number + 1}")
        yield from measure(MEMORY, "idle:2", number=number, clients=plan.clients, all_join=True)


def _probed(server: Server, crowd: int, seconds: float) -> list[Figures]:
    """Return how long the pings of one took while a crowd was written to."""
    speech = CLOUDCHAT_SPEECH["ws"]
    probed: list[Figures] = []
    with running(server) as it:

        def probe() -> None:
            phase = f"probe:5:{seconds}"
            probed.extend(load(it, speech, phase, clients=0, publishers=0, core=2))

        prober = threading.Thread(target=probe)

        def begin(figures: Figures) -> bool:
            if figures["phase"] == "setup":
                prober.start()
            return True

        load(it, speech, f"closed:1:{seconds + 1}", clients=crowd, watch=begin)
        prober.join()
    return probed


def bystander(plan: Plan) -> Iterator[Record]:
    """How long a ping takes while thousands are written to, with the sweep cut finely and coarsely."""
    for number in range(plan.rounds):
        say(f"bystander, round {number + 1} of {plan.rounds}")
        for server in (MEMORY, sliced(500)):
            for one in _probed(server, plan.crowd, max(1.0, 2 * plan.seconds)):
                yield {"server": server.name, "transport": "ws", "round": number, **one}


def commands(plan: Plan) -> Iterator[Record]:
    """Durable commands a second from many publishers, one after the other each, and pipelined."""
    for number in range(plan.rounds):
        say(f"commands, round {number + 1} of {plan.rounds}")
        for server in (MEMORY, SQLITE):
            yield from measure(
                server,
                f"pipelined:1:{plan.seconds}",
                f"pipelined:10:{plan.seconds}",
                number=number,
                clients=1,
                publishers=plan.publishers,
            )


def polls(plan: Plan) -> Iterator[Record]:
    """Long-pollers: whether each gets everything once, and what it costs."""
    for number in range(min(3, plan.rounds)):
        say(f"long-polls, round {number + 1}")
        yield from measure(
            SQLITE,
            f"open:10:{plan.poll_seconds}",
            number=number,
            transport="poll",
            clients=plan.clients,
        )


def stalled(plan: Plan) -> Iterator[Record]:
    """Readers that do not read, while the others go on; and whether they get everything in the end."""
    say("stalled readers")
    # They are to stall for longer than a server would otherwise wait, and to answer no ping.
    command = serve("sqlite:", "--limit", "stalled=3600", "--heartbeat", "3600")
    server = cloudchat("cloudchat-sqlite", "", command)
    load_of = f"{plan.stalled_rate}:{plan.stalled_seconds}"
    yield from measure(
        server,
        f"fill:64:{plan.prefill}",
        f"open:{load_of}",
        f"stalled:{plan.stalled}:{load_of}:{6 * plan.stalled_seconds}",
        number=0,
        clients=plan.stalled_others,
        limit=900,
    )


SECTIONS: Final[dict[str, Section]] = {
    "fan-out": fan_out,
    "joined": joined,
    "bystander": bystander,
    "commands": commands,
    "polls": polls,
    "stalled": stalled,
}
