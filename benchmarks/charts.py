"""Draws curves and bars as SVG. All scales are logarithmic: what is compared differs by orders of magnitude."""

import io
from collections.abc import Callable, Sequence
from statistics import median
from typing import Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from benchmarks.results import Results
from benchmarks.servers import ALL, TRANSPORTS, title
from benchmarks.tools import HERE

STYLE: Final = HERE / "charts.mplstyle"


class Curves(NamedTuple):
    """A chart of curves: one figure of each of `servers` over what a section varies, the medians of its rounds."""

    section: str
    figure: str
    phase: str | None
    heading: str
    x_title: str
    y_title: str
    servers: Sequence[str]
    scale: float = 1.0
    varied: str = "asked"


_SERVERS: Final = ("cloudchat-memory", "cloudchat-sqlite", "nchan", "bun", "ws", "floor")
_OURS: Final = _SERVERS[:2]


def _by_clients(figure: str, phase: str, heading: str, y_title: str, scale: float = 1.0) -> Curves:
    return Curves("clients", figure, phase, heading, "clients", y_title, _SERVERS, scale)


def _by_offer(figure: str, heading: str) -> Curves:
    x_title = "messages/s offered"
    return Curves("offered", figure, None, heading, x_title, "ms", _SERVERS, varied="rate")


def _by_publishers(phase: str, heading: str) -> Curves:
    return Curves("publishers", "answers_s", phase, heading, "publishers", "commands/s", _OURS)


def _by_size(section: str, figure: str, heading: str, y_title: str) -> Curves:
    return Curves(section, figure, section, heading, section, y_title, _OURS[1:])


CHARTS: Final[dict[str, Curves]] = {
    "clients-alone": _by_clients(
        "cpu_us", "closed:1", "One message outstanding: CPU of a delivery", "µs"
    ),
    "clients-loaded": _by_clients(
        "cpu_us", "closed:64", "64 messages outstanding: CPU of a delivery", "µs"
    ),
    "clients-rate": _by_clients(
        "deliveries_s", "closed:64", "64 messages outstanding", "deliveries/s"
    ),
    "clients-memory": _by_clients(
        "memory_kb", "idle", "Memory of the server, all clients idle", "MB", 1 / 1024
    ),
    "offered-p50": _by_offer("latency_p50_ms", "Until a copy arrives, median"),
    "offered-p99": _by_offer("latency_p99_ms", "Until a copy arrives, 99th percentile"),
    "publishers": _by_publishers("pipelined:1", "One command outstanding for each publisher"),
    "publishers-pipelined": _by_publishers("pipelined:10", "Ten outstanding for each publisher"),
    "events-start": _by_size("events", "start_s", "Starting over a long log", "s"),
    "instances-snapshot": _by_size(
        "instances", "snapshot_ms", "Until a new client has the whole snapshot", "ms"
    ),
}


def _plain(name: str) -> str:
    return title(name).replace("`", "")


def _drawn(heading: str, draw: Callable[[Axes], None]) -> str:
    """Return, as SVG, the chart that `draw` draws."""
    with mpl.rc_context(fname=STYLE):
        figure = Figure()
        axes = figure.add_subplot()
        axes.set_title(heading)
        draw(axes)
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        picture = io.StringIO()
        figure.savefig(picture, format="svg", metadata={"Date": None})
    # The XML declaration and the document type are for files that are read by themselves.
    return picture.getvalue().partition("<svg")[1] + picture.getvalue().partition("<svg")[2]


def _thousands(axis: Axis) -> None:
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def curves(results: Results, chart: Curves) -> str:
    """Draw curves; empty where nothing was measured for them."""
    where = {} if chart.phase is None else {"phase": chart.phase}
    records = [
        one
        for one in results.records(chart.section, **where)
        if chart.varied in one and one.get(chart.figure)
    ]
    if not records:
        return ""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(chart.x_title)
        axes.set_ylabel(chart.y_title)
        for server in chart.servers:
            mine = [one for one in records if one["server"] == server]
            places = sorted({one[chart.varied] for one in mine})
            at = [[one[chart.figure] for one in mine if one[chart.varied] == x] for x in places]
            heights = [median(values) * chart.scale for values in at]
            if places:
                axes.plot(places, heights, marker=".", label=_plain(server))
        _thousands(axes.xaxis)
        _thousands(axes.yaxis)

    return _drawn(chart.heading, draw)


def bars(results: Results, transport: str) -> str:
    """Draw the CPU of a delivery, alone and under load, for all servers."""
    phases = {"closed:1": "1 message outstanding", "closed:64": "64 outstanding"}
    found = {
        phase: {
            server.name: cpu.median
            for server in reversed(ALL)
            if (cpu := results.spread("fan-out", "cpu_us", server=server.name, **where))
        }
        for phase in phases
        for where in [{"phase": phase, "transport": transport}]
    }
    servers = [one.name for one in reversed(ALL) if any(one.name in of for of in found.values())]
    if not servers:
        return ""

    def draw(axes: Axes) -> None:
        axes.set_xscale("log")
        axes.set_xlabel("µs")
        axes.set_xlim(left=0.1)  # a bar on such a scale begins somewhere: all of them here
        for offset, (phase, name) in zip((0.2, -0.2), phases.items(), strict=True):
            places = [at + offset for at in range(len(servers))]
            axes.barh(places, [found[phase].get(one, 0) for one in servers], 0.4, label=name)
        axes.set_yticks(range(len(servers)), [_plain(one) for one in servers])
        axes.grid(visible=False, axis="y")
        _thousands(axes.xaxis)

    clients = max(one["clients"] for one in results.records("fan-out", transport=transport))
    return _drawn(f"CPU of a delivery over {TRANSPORTS[transport]}, {clients:,} clients", draw)


def charts(results: Results) -> dict[str, str]:
    """Return all charts that something was measured for, as SVG, by their names."""
    drawn = {f"fan-out-{transport}": bars(results, transport) for transport in TRANSPORTS}
    drawn |= {name: curves(results, chart) for name, chart in CHARTS.items()}
    return {name: picture for name, picture in drawn.items() if picture}
