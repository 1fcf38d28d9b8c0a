"""What cloudchat means to reach, and whether it does: judged by medians of ratios that were made within a round."""

from collections.abc import Callable
from typing import Final, NamedTuple

from benchmarks.results import Results, Spread

MEMORY: Final = "cloudchat-memory"
SQLITE: Final = "cloudchat-sqlite"


class Reached(NamedTuple):
    """What a goal asks, what was measured, and whether that is enough."""

    goal: str
    reached: str
    met: bool | None
    """None: it is told for what it is."""


class Goal(NamedTuple):
    """One goal; `judge` returns None where nothing was measured that tells."""

    name: str
    judge: Callable[[Results], list[Reached] | None]


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    size = abs(value)
    if size >= 1_000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def spread(value: Spread, unit: str = "") -> str:
    """Write a median, and what it lies between."""
    text = f"{number(value.median)}{unit}"
    if value.low == value.high:
        return text
    return f"{text} ({number(value.low)} to {number(value.high)})"


def at_most(what: str, value: Spread | None, bound: float, unit: str = "") -> list[Reached]:
    """Judge one figure that is to be small."""
    if value is None:
        return []
    return [Reached(f"{what} ≤ {number(bound)}{unit}", spread(value, unit), value.median <= bound)]


def at_least(what: str, value: Spread | None, bound: float, unit: str = "") -> list[Reached]:
    """Judge one figure that is to be large."""
    if value is None:
        return []
    return [Reached(f"{what} ≥ {number(bound)}{unit}", spread(value, unit), value.median >= bound)]


def nothing(what: str, value: Spread | None) -> list[Reached]:
    """Judge what is never to happen."""
    if value is None:
        return []
    return [Reached(f"no {what}", f"{value.high:,.0f}", value.high == 0)]


def _beside(
    results: Results, figure: str, phase: str, ours: tuple[str, str], theirs: tuple[str, str]
) -> Spread | None:
    """Return the ratio of ours to theirs; each is a server's name and a transport."""
    wanted = [
        {"server": server, "transport": transport, "phase": phase}
        for server, transport in (ours, theirs)
    ]
    return results.ratio("fan-out", figure, wanted[0], wanted[1])


def _alone(transport: str) -> Callable[[Results], list[Reached]]:
    peers = {"ws": ("nchan", "ws"), "sse": ("nchan", "node-sse")}[transport]

    def judge(results: Results) -> list[Reached]:
        ours = (MEMORY, transport)
        floor = _beside(results, "cpu_us", "closed:1", ours, ("floor", "ws"))
        found = at_most("CPU a delivery, in that of the floor", floor, 1.25)
        for peer in peers:
            ratio = _beside(results, "cpu_us", "closed:1", ours, (peer, transport))
            found += at_most(f"in that of {peer}", ratio, 1.0)
        return found

    return judge


def _loaded(server: str, transport: str, **parts: float) -> Callable[[Results], list[Reached]]:
    """Judge the CPU of a delivery with 64 messages outstanding: the peer's has to be `parts` times ours."""

    def judge(results: Results) -> list[Reached]:
        found: list[Reached] = []
        for peer, part in parts.items():
            name = peer.replace("_", "-")
            ratio = _beside(results, "cpu_us", "closed:64", (name, transport), (server, transport))
            found += at_least(f"CPU a delivery of {name}, in ours", ratio, part, " ×")
        return found

    return judge


def _heavy(results: Results) -> list[Reached]:
    where = {"server": SQLITE, "transport": "ws", "phase": "open:1000"}
    ratio = _beside(results, "latency_p99_ms", "open:1000", (SQLITE, "ws"), ("bun", "ws"))
    found = at_least("messages a second", results.spread("fan-out", "messages_s", **where), 990)
    found += nothing("message missed", results.spread("fan-out", "missed", **where))
    found += at_most("behind at the end", results.spread("fan-out", "late_ms", **where), 100, " ms")
    found += at_most("p99, in bun's", ratio, 1.3)
    own = results.spread("fan-out", "latency_p99_ms", **where)
    commit = results.spread("fan-out", "answer_p99_ms", **where)
    if own and commit:
        text = f"{spread(own, ' ms')}; {spread(commit, ' ms')}"
        found.append(Reached("p99 until delivered; until acknowledged", text, met=None))
    return found


def _light(transport: str) -> Callable[[Results], list[Reached]]:
    peers = {"ws": ("nchan", "ws"), "sse": ("nchan", "node-sse")}[transport]

    def judge(results: Results) -> list[Reached]:
        found: list[Reached] = []
        for server in (MEMORY, SQLITE):
            for peer in peers:
                for part in ("p50", "p99"):
                    figure = f"latency_{part}_ms"
                    ours, theirs = (server, transport), (peer, transport)
                    ratio = _beside(results, figure, "open:100", ours, theirs)
                    found += at_most(f"{part} of {server}, in that of {peer}", ratio, 1.0)
        return found

    return judge


def _bystander(results: Results) -> list[Reached]:
    fine = {"server": MEMORY, "phase": "probe"}
    coarse = {"server": "slices-500", "phase": "probe"}
    ratio = results.ratio("bystander", "trip_p99_ms", fine, coarse)
    own = results.spread("bystander", "trip_p99_ms", **fine)
    return [
        *at_most("p99, in that of slices of 500", ratio, 0.5),
        *at_most("p99 (stretch)", own, 15, " ms"),
    ]


def _memory(results: Results) -> list[Reached]:
    held = results.spread("joined", "memory_client", phase="idle")
    if held is None:
        return []
    kilobytes = Spread(*(value / 1e3 for value in held))
    return [
        *at_most("a joined client", kilobytes, 10, " kB"),
        *at_most("a joined client (stretch)", kilobytes, 4, " kB"),
    ]


def _set_up(results: Results) -> list[Reached]:
    ratio = _beside(results, "connections_s", "setup", (MEMORY, "ws"), ("ws", "ws"))
    return at_least("connections a second, in those of ws", ratio, 2.0)


def _commands(results: Results) -> list[Reached]:
    one = results.spread("commands", "answers_s", server=SQLITE, phase="pipelined:1")
    many = results.spread("commands", "answers_s", server=SQLITE, phase="pipelined:10")
    return [
        *at_least("one outstanding each", one, 10_000, "/s"),
        *at_least("pipelined", many, 25_000, "/s"),
    ]


def _polls(results: Results) -> list[Reached]:
    found = nothing("missed frame", results.spread("polls", "missed", phase="open:10"))
    found += nothing("doubled frame", results.spread("polls", "doubled", phase="open:10"))
    cpu = results.spread("polls", "cpu_us", phase="open:10")
    if cpu:
        found.append(Reached("CPU a delivery", spread(cpu, " µs"), met=None))
    return found


def _stalled(results: Results) -> list[Reached]:
    without = results.records("stalled", phase="open:2000")
    with_them = results.records("stalled", phase="stalled")
    if not without or not with_them:
        return []
    before, after = without[-1], with_them[-1]
    more = (after["most_memory_kb"] - before["most_memory_kb"]) / 1024
    slower = after["latency_p99_ms"] / before["latency_p99_ms"]
    whole = after["caught_up"] + after["told_gap"]
    return [
        *at_most("more memory than without them", Spread(more, more, more), 5, " MB"),
        *at_most("p99 of the others, in that without them", Spread(slower, slower, slower), 1.2),
        Reached(
            "everything in order in the end, or a gap",
            f"{whole} of {after['stalled']}, {after['disordered']} frames out of order",
            whole == after["stalled"] and not after["disordered"] and not after["stalled_missed"],
        ),
    ]


GOALS: Final = (
    Goal("nothing to join, `memory:`", _alone("ws")),
    Goal("64 outstanding, `memory:`", _loaded(MEMORY, "ws", nchan=15, ws=30, socketio=40, bun=1)),
    Goal("64 outstanding, `sqlite:`", _loaded(SQLITE, "ws", nchan=12, bun=1 / 1.1)),
    Goal("1,000 messages a second, `sqlite:`", _heavy),
    Goal("100 messages a second", _light("ws")),
    Goal("SSE, nothing to join", _alone("sse")),
    Goal("SSE, 64 outstanding, `memory:`", _loaded(MEMORY, "sse", nchan=15, node_sse=30)),
    Goal("SSE, 64 outstanding, `sqlite:`", _loaded(SQLITE, "sse", nchan=12)),
    Goal("SSE, 100 messages a second", _light("sse")),
    Goal("a bystander's round trip", _bystander),
    Goal("memory", _memory),
    Goal("setting up", _set_up),
    Goal("durable commands", _commands),
    Goal("long-polls", _polls),
    Goal("stalled readers", _stalled),
)


def judged(results: Results) -> list[tuple[str, Reached]]:
    """Return every goal that something was measured for, with its name."""
    return [(goal.name, one) for goal in GOALS for one in goal.judge(results) or []]
