"""What a Prometheus server may ask for: the text format, version 0.0.4, written by hand.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from cloudchat_core.instances import RUNNING, STOPPED
from cloudchat_transports.derived import Derived

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloudchat_core.instances import Instance
    from cloudchat_engine.node import Node

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Metric(NamedTuple):
    """One family of samples: `kind` is `gauge` or `counter`; what it measures is read when it is asked for."""

    name: str
    help: str
    kind: str
    read: Callable[[], Mapping[Labels, float]]


def gauge(name: str, help_text: str, read: Callable[[], float]) -> Metric:
    """Return a gauge without labels."""
    return Metric(name, help_text, "gauge", lambda: {(): read()})


def node_metrics(node: Node) -> list[Metric]:
    """Return what a node tells of itself."""
    counted = Derived[dict[Labels, float]]()

    def instances() -> dict[Labels, float]:
        known = node.state.instances
        return counted.get((known,), lambda: _by_state(known.values()))

    return [
        gauge("cloudchat_ready", "1 while commands are accepted", lambda: node.problem is None),
        gauge("cloudchat_log_offset", "Offset of the newest record", lambda: node.state.offset),
        gauge("cloudchat_log_first_offset", "Offset of the oldest record kept", lambda: node.first),
        gauge(
            "cloudchat_participants",
            "Nicknames that are held",
            lambda: len(node.state.participants),
        ),
        Metric("cloudchat_instances", "Instances by state", "gauge", instances),
        gauge(
            "cloudchat_operations",
            "Operations that are under way",
            lambda: len(node.state.operations),
        ),
    ]


def _by_state(instances: Iterable[Instance]) -> dict[Labels, float]:
    found = Counter(instance.state for instance in instances)
    return {(("state", state),): found[state] for state in (RUNNING, STOPPED)}


def http_metrics(
    commands: Mapping[tuple[str, str], int], requests: Mapping[tuple[str, int], int]
) -> list[Metric]:
    """Return what was done over HTTP: commands by type and outcome, requests by method and status."""

    def commanded() -> dict[Labels, float]:
        return {
            (("command", kind), ("outcome", outcome)): count
            for (kind, outcome), count in commands.items()
        }

    def requested() -> dict[Labels, float]:
        return {
            (("method", method), ("status", str(status))): count
            for (method, status), count in requests.items()
        }

    return [
        Metric("cloudchat_http_commands_total", "Commands by HTTP", "counter", commanded),
        Metric("cloudchat_http_requests_total", "Requests answered", "counter", requested),
    ]


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Write `metrics` in the text format. Label values are expected to need no escapes: they are codes of ours."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        for labels, value in metric.read().items():
            written = ",".join(f'{name}="{label}"' for name, label in labels)
            braces = f"{{{written}}}" if written else ""
            lines.append(f"{metric.name}{braces} {float(value):.17g}")
    return "".join(f"{line}\n" for line in lines).encode()
