"""Measures, says what was reached of the goals, and writes docs/performance.md: python -m benchmarks --help."""

import argparse
import dataclasses
import sys
import time

from benchmarks import report
from benchmarks.growth import CURVES
from benchmarks.results import Results
from benchmarks.sections import QUICK, SECTIONS, Plan, say
from benchmarks.servers import ALL
from benchmarks.tools import MissingError, compiled, disturbance, machine


def _versions() -> list[str]:
    return list(
        dict.fromkeys(server.version() for server in ALL if server.there and server.version())
    )


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    known = {**SECTIONS, **CURVES}
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"what to measure (all): {', '.join(known)}"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a minute and a half; nothing is written"
    )
    parser.add_argument("--rounds", type=int, help="how often everything is compared (7)")
    parser.add_argument("--clients", type=int, help="how many clients (1,000)")
    parser.add_argument("--draw", action="store_true", help="draw again what was measured before")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(known):
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    changes = {
        name: value for name in ("rounds", "clients") if (value := getattr(given, name)) is not None
    }
    plan = dataclasses.replace(QUICK if given.quick else Plan(), **changes)
    results = Results() if given.quick else Results.read()
    if not given.draw:
        try:
            compiled("load")
            compiled("floor")
        except MissingError as error:
            sys.exit(str(error))
        absent = [server.title for server in ALL if not server.there]
        if absent:
            say(f"not installed, see benchmarks/install_peers.sh: {', '.join(absent)}")
        begun = time.monotonic()
        for name in given.sections or (SECTIONS if given.quick else known):
            results.add_section(
                name,
                rounds=plan.curve_rounds if name in CURVES else plan.rounds,
                disturbance=disturbance(),
                machine=machine(),
                versions=_versions(),
                records=known[name](plan),
            )
            if not given.quick:
                results.keep()
        say(f"measured in {time.monotonic() - begun:.0f} s")
    print(report.show(results))
    if not given.quick:
        report.write(results)


if __name__ == "__main__":
    main()
