"""Makes a plan that breaks a promise smaller, as long as it breaks the same one: what is left is the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from msgspec.structs import replace

from cloudchat_transports.testing.simulation.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

TRIES: Final = 300
"""Worlds that are lived through at most: about half a minute."""


def shrink(plan: Plan, breaks: Callable[[Plan], bool], tries: int = TRIES) -> Plan:
    """Return the smallest plan found for which `breaks` still holds, as it does for `plan`."""
    smaller = _smaller(plan)
    while tries and (candidate := next(smaller, None)) is not None:
        tries -= 1
        if breaks(candidate):
            plan, smaller = candidate, _smaller(candidate)
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans that are a little simpler, the much simpler first."""
    for place in range(len(plan.people)):
        if len(plan.people) > 1:
            yield replace(plan, people=_without(plan.people, place))
    for place in range(len(plan.faults)):
        yield replace(plan, faults=_without(plan.faults, place))
    for number in plan.fates:
        yield replace(plan, fates={key: fate for key, fate in plan.fates.items() if key != number})
    plain = Plan(plan.seed, (), ())
    for name in (
        "keep",
        "mood",
        "log_delay",
        "snapshot_every",
        "window",
        "frame",
        "grace",
        "heartbeat",
    ):
        usual = getattr(plain, name)
        if getattr(plan, name) != usual:
            yield replace(plan, **{name: usual})
    for place, person in enumerate(plan.people):
        before, after = plan.people[:place], plan.people[place + 1 :]
        simpler = [
            *(replace(person, acts=_without(person.acts, one)) for one in range(len(person.acts))),
            replace(person, delay=0, piece=0),
            replace(person, arrives=0),
            replace(person, buffer=65_536),
            replace(person, kind="ws"),
            replace(person, topics=()),
            replace(person, farewell="close"),
            replace(person, acts=tuple(replace(act, after=0) for act in person.acts)),
        ]
        for other in simpler:
            if other != person:
                yield replace(plan, people=(*before, other, *after))


def _without(items: tuple[T, ...], place: int) -> tuple[T, ...]:
    return (*items[:place], *items[place + 1 :])
