"""Lives through simulated worlds: many at night, or one again and again.

python -m cloudchat_transports.testing.simulation --seeds 100000       # a night
python -m cloudchat_transports.testing.simulation --seed 123           # one world, with its trace
python -m cloudchat_transports.testing.simulation --plan plan.json     # one that was cut down, or written by hand
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from cloudchat_transports.testing.simulation.night import Night, live_through_many, smallest
from cloudchat_transports.testing.simulation.plan import Plan, draw
from cloudchat_transports.testing.simulation.world import Outcome, live_through

_COMMAND = "python -m cloudchat_transports.testing.simulation"


def report(outcome: Outcome) -> str:
    """Return what became of a world, for people: its trace, and the promise that it broke."""
    lines = [*outcome.trace]
    if outcome.broken:
        lines += ["", f"broken: {outcome.broken}", outcome.detail]
    else:
        lines += ["", "all promises were kept"]
    return "\n".join(lines)


def investigate(seed: int) -> str:
    """Live through `seed` again, cut its plan down, and return what is to be known to understand and replay it."""
    outcome = live_through(draw(seed))
    least = smallest(outcome)
    plan = msgspec.json.encode(least.plan).decode()
    return "\n".join(
        [
            report(least),
            "",
            f"seed {seed} broke the promise {outcome.broken!r}; above is the smallest plan that still does:",
            f"    echo '{plan}' | {_COMMAND} --plan -",
            "and the whole of it:",
            f"    {_COMMAND} --seed {seed}",
        ]
    )


def _tell(night: Night) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{night.worlds:,} worlds, {len(night.broken)} broke a promise ")


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; 1: a promise was broken."""
    parser = argparse.ArgumentParser(
        prog=_COMMAND,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=int, metavar="N", help="live through N worlds")
    what.add_argument(
        "--seed", type=int, metavar="SEED", help="live through one, and print its trace"
    )
    what.add_argument(
        "--plan", metavar="FILE", help="live through a plan in JSON (-: standard input)"
    )
    parser.add_argument(
        "--from", type=int, default=0, metavar="SEED", dest="first", help="the first of N"
    )
    parser.add_argument(
        "--workers", type=int, default=2, metavar="N", help="processes (default: 2)"
    )
    parser.add_argument(
        "--shrink", action="store_true", help="cut a plan that breaks a promise down first"
    )
    given = parser.parse_args(arguments)
    if given.seeds is not None:
        seeds = range(given.first, given.first + given.seeds)
        night = live_through_many(seeds, given.workers, progress=_tell)
        for seed, broken, detail in night.broken:
            print(f"seed {seed} broke the promise {broken!r}: {detail}\n")  # noqa: T201
        print(night.table())  # noqa: T201
        if night.broken:
            print(f"\n{investigate(night.broken[0][0])}")  # noqa: T201
        return 1 if night.broken else 0
    if given.plan is None:
        plan = draw(given.seed)
    else:
        text = sys.stdin.read() if given.plan == "-" else Path(given.plan).read_text("utf-8")
        plan = msgspec.json.decode(text, type=Plan)
    outcome = live_through(plan)
    if outcome.broken and given.shrink:
        outcome = smallest(outcome)
        print(msgspec.json.encode(outcome.plan).decode())  # noqa: T201
    print(report(outcome))  # noqa: T201
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
