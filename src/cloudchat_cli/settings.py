"""What the options of `cloudchat serve` say, as values. A `ValueError` names the forms that are taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from cloudchat_core.instances import TRANSITIONS
from cloudchat_core.limits import Limits
from cloudchat_engine.ports import Retention

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudchat_engine.ports import Log, Provider, Timer

LOGS: Final = "memory: (forgotten at the end), or sqlite:PATH (a file)"
PROVIDERS: Final = "simulated:, or simulated:?duration=SECONDS&fail=COMMAND,COMMAND"
RETENTIONS: Final = (
    "a number of events (100000), an age (30d; s, m, h, d, w), or a size (1GB; kB, MB, GB, TB)"
)

_AGES: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SIZES: Final = {
    unit: base**power
    for base, units in ((1_000, ("kb", "mb", "gb", "tb")), (1_024, ("kib", "mib", "gib", "tib")))
    for power, unit in enumerate(units, 1)
} | {"b": 1}
_MOST: Final = 2**53
"""More than any log has, of anything; and what is a whole number still is one."""
_AMOUNT: Final = re.compile(r"(\d+(?:\.\d+)?)([a-z]*)", re.ASCII)


def make_log(text: str) -> Log:
    """Return the log that `text` names."""
    scheme, colon, rest = text.partition(":")
    if (scheme, colon, rest) == ("memory", ":", ""):
        from cloudchat_engine.logs.memory import MemoryLog  # noqa: PLC0415

        return MemoryLog()
    if scheme == "sqlite" and rest:
        from cloudchat_engine.logs.sqlite import SqliteLog  # noqa: PLC0415

        return SqliteLog(rest.removeprefix("//") if rest.startswith("///") else rest)
    raise ValueError(f"{text!r} is no log; a log is {LOGS}")


def make_provider(text: str) -> Callable[[Timer], Provider]:
    """Return the maker of the provider that `text` names."""
    from cloudchat_engine.providers.simulated import DURATION, SimulatedProvider  # noqa: PLC0415

    name, colon, rest = text.partition(":")
    query = dict(parse_qsl(rest.removeprefix("?"), keep_blank_values=True))
    known = rest in {"", "?"} or (rest.startswith("?") and set(query) <= {"duration", "fail"})
    if (name, colon) != ("simulated", ":") or not known:
        raise ValueError(f"{text!r} is no provider; a provider is {PROVIDERS}")
    try:
        duration = float(query.get("duration", DURATION))
    except ValueError:
        duration = -1
    if not 0 <= duration < float("inf"):
        raise ValueError(f"{text!r} has no duration of 0 or more seconds")
    fail = frozenset(filter(None, query.get("fail", "").split(",")))
    commands = list(dict.fromkeys(command for _, command in TRANSITIONS))
    unknown = sorted(fail.difference(commands))
    if unknown:
        raise ValueError(f"{unknown[0]!r} cannot fail; these can: {', '.join(commands)}")
    return lambda timer: SimulatedProvider(timer, duration, fail)


def read_retention(texts: Sequence[str]) -> Retention:
    """Return what is kept: of several bounds of a kind the last counts."""
    bounds: dict[str, float] = {}
    for text in texts:
        match = _AMOUNT.fullmatch(text.strip().lower())
        amount, unit = (float(match[1]), match[2]) if match is not None else (0.0, "")
        if not unit and amount.is_integer():
            kind = "count"
        elif unit in _AGES:
            kind, amount = "age", amount * _AGES[unit]
        elif unit in _SIZES:
            kind, amount = "size", amount * _SIZES[unit]
        else:
            kind = ""
        if not kind or not 1 <= amount <= _MOST:
            raise ValueError(f"{text!r} does not say what to keep: {RETENTIONS}")
        bounds[kind] = amount
    return Retention(int(bounds.get("count", 0)), bounds.get("age", 0), int(bounds.get("size", 0)))


def read_limits(texts: Sequence[str]) -> Limits:
    """Return the limits with `NAME=VALUE` in place."""
    values: dict[str, float] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            values[name.strip()] = float(value)
        except ValueError:
            raise ValueError(
                f"{text!r} is no NAME=VALUE with a number, such as text=1000"
            ) from None
        if not equals:
            raise ValueError(f"{text!r} is no NAME=VALUE with a number, such as text=1000")
    return Limits().with_values(values)
