"""What will happen in a world: a value, drawn from a seed, that can be written down, cut down and lived through again.

A `Plan` says who the people are and what they do, how the lines, the log and the cloud behave, and which faults strike
when. Together with its seed, which settles the turns that tasks take and all that is left to chance, it determines
every step of a world.
"""

from __future__ import annotations

import random
from typing import Final, Literal

import msgspec

from cloudchat_core.events import CHAT, INSTANCES
from cloudchat_transports.testing.simulation.log import Fate

Kind = Literal["ws", "sse", "poll", "auto"]
Verb = Literal[
    "say",
    "burst",
    "create",
    "start",
    "stop",
    "remove",
    "rename",
    "leave",
    "redact",
    "ping",
    "restart",
    "forget",
    "absent",
    "rewind",
]
"""What a person does. `restart`: the client is killed and comes back with its cursor; `forget`: without one; `absent`:
with its cursor, after more than a minute; `rewind`: with a cursor that it had some time before, and what it knew
then."""

COMEBACKS: Final[frozenset[Verb]] = frozenset({"restart", "forget", "absent", "rewind"})

Farewell = Literal["close", "leave"]
"""How a person goes in the end: its client ends in order, or says `leave` and stays to look on."""

Harm = Literal[
    "cut",
    "half",
    "deaf",
    "stall up",
    "stall down",
    "block",
    "collapse",
    "double",
    "shift",
    "crash",
    "blackout",
    "stop",
    "restore",
    "jump",
    "back up",
    "log fails",
    "reads fail",
    "saves fail",
]
"""
* to one line: `cut` breaks its connections, `half` without the server noticing, `deaf` without the client noticing;
  `stall up`, `stall down`: nothing passes, one way; `block`: the better transports do not get through; `collapse`: cut
  after so many bytes downstream; `double`: what is sent on new connections arrives twice;
* to all: `shift` cuts everybody;
* to the server: `crash` kills it, `blackout` without resetting connections, `stop` ends it in order, `restore` is a
  crash after which a backup stands in the log's place, `back up` makes one; `jump` moves its clock;
* to its disk, for a while: `log fails` (it is full, or does not know what it has written, and cannot be reopened),
  `reads fail`, `saves fail`.
"""

When = Literal["time", "step", "append", "written", "publish"]
"""At a moment (ms), after so many turns of tasks, at the n-th append begun, made durable, or published."""

LASTS: Final = 25_000
"""Milliseconds of a world in which things go wrong, about."""


class Act(msgspec.Struct, frozen=True):
    """Something that a person does, `after` milliseconds; `number` says to what, or how often."""

    after: int
    verb: Verb
    number: int = 0


class Person(msgspec.Struct, frozen=True):
    """Somebody with a client on some transport, who `arrives` after so many milliseconds, and the line that it is on
    (`delay` in ms, `piece` and `buffer` in bytes). It follows `topics` (none: all), and goes by `farewell`.
    """

    kind: Kind
    nickname: str
    acts: tuple[Act, ...]
    delay: int = 0
    piece: int = 0
    buffer: int = 65_536
    arrives: int = 0
    topics: tuple[str, ...] = ()
    farewell: Farewell = "close"


class Fault(msgspec.Struct, frozen=True):
    """One harm: `number` says to whom, `span` (ms, or bytes) how long or how far."""

    when: When
    at: int
    harm: Harm
    number: int = 0
    span: int = 0


class Plan(msgspec.Struct, frozen=True):
    """A world to be. `log_delay` is in ms, `mood` (of the cloud) in percent, `frame` and `window` in bytes, `grace` and
    `heartbeat` in seconds; `snapshot_every` and `keep` (0: all) count records. `fates` are those of appends by number.
    """

    seed: int
    people: tuple[Person, ...]
    faults: tuple[Fault, ...]
    fates: dict[int, Fate] = {}
    log_delay: int = 0
    mood: int = 0
    grace: float = 5
    heartbeat: float = 15
    window: int = 8_388_608
    snapshot_every: int = 10_000
    keep: int = 0
    frame: int = 65_536


_TO_LINES: Final[tuple[Harm, ...]] = (
    "cut",
    "cut",
    "half",
    "deaf",
    "stall up",
    "stall down",
    "block",
    "collapse",
    "collapse",
    "double",
)
_TO_SERVER: Final[tuple[Harm, ...]] = (
    "crash",
    "crash",
    "crash",
    "blackout",
    "stop",
    "restore",
    "jump",
    "log fails",
    "reads fail",
    "saves fail",
    "shift",
)
_VERBS: Final[tuple[Verb, ...]] = (
    "say",
    "say",
    "say",
    "say",
    "burst",
    "create",
    "create",
    "start",
    "start",
    "start",
    "stop",
    "stop",
    "remove",
    "rename",
    "leave",
    "redact",
    "ping",
    "restart",
    "forget",
    "rewind",
)


def draw(seed: int) -> Plan:
    """Return the plan of `seed`."""
    chance = random.Random(f"plan {seed}")
    keep = chance.choice((0, 0, 0, 0, 0, 0, 5, 15))
    people = tuple(
        _person(chance, number, keep) for number in range(chance.choice((1, 2, 2, 2, 2, 3, 3, 4)))
    )
    faults = [_fault(chance, len(people)) for _ in range(chance.choice((1, 2, 3, 4, 5, 6)))]
    if any(fault.harm == "restore" for fault in faults):
        faults.append(Fault("time", chance.randint(1, chance.choice((50, LASTS // 2))), "back up"))
    return Plan(
        seed,
        people,
        tuple(faults),
        fates={
            chance.randint(2, 25): chance.choice(("full", "written", "lost"))
            for _ in range(chance.choice((0, 0, 1, 2)))
        },
        log_delay=chance.choice((0, 0, 3, 40, 700)),
        mood=chance.choice((0, 50, 100)),
        grace=chance.choice((0, 2, 5, 5, 5)),
        heartbeat=chance.choice((5, 15, 15)),
        window=chance.choice((700, 3_000, 8_388_608)),
        snapshot_every=chance.choice((5, 20, 10_000)),
        keep=keep,
        frame=chance.choice((4_600, 65_536, 65_536)),
    )


def _person(chance: random.Random, number: int, keep: int) -> Person:
    kind: Kind = chance.choice(("ws", "ws", "ws", "sse", "sse", "poll", "auto", "auto", "auto"))
    acts = tuple(_act(chance) for _ in range(chance.randint(1, 5)))
    if keep and not number:  # where old records are dropped, somebody is to miss them
        acts = (*acts[:2], Act(0, "absent"), *acts[2:])
    # Some want the same name.
    nickname = "Alexandra" if chance.random() < 0.35 else f"Person {number}"
    # The slowest line has about 2 kB/s.
    delay, piece = (
        chance.choice(((1, 40), (20, 40), (20, 300), (150, 300), (150, 0)))
        if chance.random() < 0.2
        else (0, 0)
    )
    return Person(
        kind,
        nickname,
        acts,
        delay=delay,
        piece=piece,
        buffer=chance.choice((65_536, 65_536, 65_536, 900, 3_000)),
        arrives=chance.choice((0, 0, chance.randint(0, 8_000))),
        topics=chance.choice(((), (), (), (), (CHAT,), (CHAT,), (INSTANCES,))),
        farewell=chance.choice(("close", "leave")),
    )


def _act(chance: random.Random) -> Act:
    after = chance.choice((0, 0, 20, 500, 3_000, 8_000))
    return Act(chance.randint(after // 2, after), chance.choice(_VERBS), chance.randrange(6))


def _fault(chance: random.Random, people: int) -> Fault:
    harm = chance.choice(_TO_LINES if chance.random() < 0.55 else _TO_SERVER)
    when: When = chance.choice(("time", "time", "step", "append", "written", "publish"))
    at = {"time": LASTS, "step": 4_000}.get(when, 25)
    spans = {"collapse": (1, 3_000), "jump": (500, 30_000)}
    low, high = spans.get(harm, chance.choice(((0, 300), (300, 8_000), (8_000, 25_000))))
    return Fault(
        when, chance.randint(1, at), harm, chance.randrange(people * 2), chance.randint(low, high)
    )
