"""Draws what was measured: tables and charts into `docs/performance.md`, or tables alone onto the terminal.

A part of the document stands between `<!-- measured: NAME -->` and `<!-- end -->`, and is left as it is where nothing
was measured for it.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.charts import charts
from benchmarks.goals import judged, number, spread
from benchmarks.results import Results, Spread
from benchmarks.servers import ALL, TRANSPORTS, title
from benchmarks.tools import HERE

DOCUMENT: Final = HERE.parent / "docs/performance.md"
PART: Final = re.compile(r"<!-- measured: ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table; the first column is text, the others are figures."""
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: Spread | None, scale: float = 1.0) -> str:
    if value is None:
        return "—"
    return spread(Spread(*(one * scale for one in value)))


# ---------------------------------------------------------------- tables


def goals(results: Results) -> str:
    """Tabulate the goals, with what was reached."""
    rows = [
        (name, one.goal, one.reached, {True: "yes", False: "**no**", None: ""}[one.met])
        for name, one in judged(results)
    ]
    return table(("", "goal", "reached", "met"), rows) if rows else ""


def fan_out(results: Results) -> str:
    """Tabulate the comparison, a table for each transport."""
    head = (
        *("server", "1 outstanding: CPU µs a delivery", "64 outstanding: deliveries/s"),
        *("CPU µs a delivery", "100/s: p50 ms", "p99 ms", "1,000/s: p50 ms", "p99 ms"),
        *("kB a client", "connections/s"),
    )
    parts = []
    for transport, name in TRANSPORTS.items():
        rows = []
        for server in ALL:
            where = {"server": server.name, "transport": transport}

            def cell(
                phase: str, figure: str, scale: float = 1.0, where: dict[str, str] = where
            ) -> str:
                return _cell(results.spread("fan-out", figure, phase=phase, **where), scale)

            if results.records("fan-out", **where):
                rows.append(
                    (
                        server.title,
                        cell("closed:1", "cpu_us"),
                        cell("closed:64", "deliveries_s"),
                        cell("closed:64", "cpu_us"),
                        cell("open:100", "latency_p50_ms"),
                        cell("open:100", "latency_p99_ms"),
                        cell("open:1000", "latency_p50_ms"),
                        cell("open:1000", "latency_p99_ms"),
                        cell("idle", "memory_client", 1e-3),
                        cell("setup", "connections_s"),
                    )
                )
        if rows:
            parts.append(f"Over {name}:\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def commands(results: Results) -> str:
    """Tabulate commands a second."""
    rows = []
    for server in ("cloudchat-memory", "cloudchat-sqlite"):
        for phase, name in (("pipelined:1", "one outstanding each"), ("pipelined:10", "ten")):
            where = {"server": server, "phase": phase}
            cells = [
                _cell(results.spread("commands", figure, **where))
                for figure in ("answers_s", "answer_cpu_us", "answer_p50_ms", "answer_p99_ms")
            ]
            if results.records("commands", **where):
                rows.append((title(server), name, *cells))
    head = ("server", "each publisher has", "commands/s", "CPU µs", "ack p50 ms", "p99 ms")
    return table(head, rows) if rows else ""


def bystander(results: Results) -> str:
    """Tabulate the round trips of a bystander."""
    rows = [
        (
            name,
            *(
                _cell(results.spread("bystander", f"trip_{part}_ms", server=server))
                for part in ("p50", "p90", "p99")
            ),
        )
        for server, name in (("cloudchat-memory", "as it is"), ("slices-500", "slices of 500"))
        if results.records("bystander", server=server)
    ]
    return table(("sweep", "p50 ms", "p90 ms", "p99 ms"), rows) if rows else ""


def stalled(results: Results) -> str:
    """Tabulate what stalled readers do to the others."""
    rows = []
    for phase, name in (("open:2000", "without them"), ("stalled", "with them")):
        for one in results.records("stalled", phase=phase)[-1:]:
            kept = one["most_memory_kb"] / 1024
            figures = (one["messages_s"], one["latency_p50_ms"], one["latency_p99_ms"], kept)
            rows.append((name, *map(number, figures), f"{one.get('catch_up_s', '—')}"))
    head = ("", "messages/s", "p50 ms", "p99 ms", "server's memory, MB", "all caught up after, s")
    return table(head, rows) if rows else ""


def polls(results: Results) -> str:
    """Tabulate the long-polls."""
    figures = ("deliveries_s", "cpu_us", "latency_p50_ms", "latency_p99_ms", "missed", "doubled")
    rows = [
        (f"{one['clients']:,}", *(number(one[figure]) for figure in figures))
        for one in results.records("polls", phase="open:10")
    ]
    head = ("pollers", "frames/s", "CPU µs a frame", "p50 ms", "p99 ms", "missed", "doubled")
    return table(head, rows) if rows else ""


def _by_size(results: Results, section: str, columns: Sequence[tuple[str, str, float]]) -> str:
    rows = [
        (f"{one['asked']:,}", *(number(one[figure] * scale) for _, figure, scale in columns))
        for one in results.records(section)
    ]
    return table((section, *(name for name, _, _ in columns)), rows) if rows else ""


def events(results: Results) -> str:
    """Tabulate what a long log costs."""
    columns = (
        *(("file, MB", "file", 1e-6), ("events to replay", "tail", 1), ("start, s", "start_s", 1)),
        *(("memory, MB", "memory", 1e-6), ("newest page, ms", "newest_ms", 1)),
        ("page from the middle, ms", "middle_ms", 1.0),
    )
    return _by_size(results, "events", columns)


def instances(results: Results) -> str:
    """Tabulate what many instances cost."""
    columns = (
        *(("start, s", "start_s", 1), ("memory, MB", "memory", 1e-6)),
        *(
            ("snapshot, kB", "snapshot", 1e-3),
            ("a new client has it after, ms", "snapshot_ms", 1.0),
        ),
    )
    return _by_size(results, "instances", columns)


def circumstances(results: Results) -> str:
    """Say where, when and with what each section was measured."""
    lines = []
    for name, section in results.sections.items():
        disturbed = Spread.of(
            [one["disturbance"] for one in section["records"] if "disturbance" in one]
            or [section["disturbance"]]
        )
        assert disturbed
        lines.append(
            f"* {name}: {section['at']}, rounds: {section['rounds']}; "
            f"others used {disturbed.median:.0%} of the machine before (at most {disturbed.high:.0%})."
        )
    newest = next(reversed(results.sections.values()), None)
    if newest is None:
        return ""
    peers = "; ".join(newest["versions"])
    return f"Machine: {newest['machine']}.\n\nPeers: {peers}.\n\n" + "\n".join(lines)


TABLES: Final[dict[str, Callable[[Results], str]]] = {
    "circumstances": circumstances,
    "goals": goals,
    "fan-out": fan_out,
    "commands": commands,
    "bystander": bystander,
    "stalled": stalled,
    "polls": polls,
    "events": events,
    "instances": instances,
}


# ---------------------------------------------------------------- the document


def write(results: Results, document: Path = DOCUMENT) -> None:
    """Draw everything that was measured into the document, and the charts beside it."""
    pictures = charts(results)
    folder = document.parent / document.stem
    folder.mkdir(exist_ok=True)
    for name, picture in pictures.items():
        (folder / f"{name}.svg").write_text(picture + "\n", encoding="utf-8")

    def part(found: re.Match[str]) -> str:
        name = found[1]
        if name in TABLES:
            body = TABLES[name](results)
        else:
            shown = [
                picture for picture in pictures if picture.startswith(name.removeprefix("charts-"))
            ]
            body = "\n\n".join(f"![{one}]({folder.name}/{one}.svg)" for one in shown)
        return f"<!-- measured: {name} -->\n{body}\n<!-- end -->" if body else found[0]

    text = document.read_text(encoding="utf-8")
    document.write_text(PART.sub(part, text), encoding="utf-8")


def show(results: Results) -> str:
    """Return all tables as they are read on a terminal."""
    return "\n\n".join(text for draw in TABLES.values() if (text := draw(results)))
