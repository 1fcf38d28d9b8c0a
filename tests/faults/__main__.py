"""Makes everything go wrong on real processes, counts what was lost or doubled, and writes docs/reliability.md.

Without options every kind has its usual number of rounds, which takes some minutes; for more evidence, say
`--rounds 100`. Of some kinds a round is a thousand connections.
"""

import argparse
import sys
import time
from importlib.metadata import version

from tests.faults import report
from tests.faults.kinds import KINDS
from tests.faults.scene import clean


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--kind",
        action="append",
        choices=KINDS,
        help="only this kind; may be repeated; nothing is written",
    )
    parser.add_argument("--rounds", type=int, help="rounds of each kind")
    parser.add_argument("--seed", type=int, default=1, help="what is left to chance (1)")
    parser.add_argument(
        "--quick", action="store_true", help="as few rounds as the tests have; nothing is written"
    )
    given = parser.parse_args()
    if given.rounds is not None and given.rounds < 1:
        parser.error("at least one round")
    names = given.kind or list(KINDS)
    rows = []
    for name in names:
        kind, began = KINDS[name], time.monotonic()
        rounds = given.rounds or (kind.quick or 1 if given.quick else kind.usual)
        found = kind.run(rounds, given.seed)
        rows.append(report.Row(name, kind.what, found, time.monotonic() - began))
        print(report.line(rows[-1]), flush=True)  # noqa: T201 - a command
    if not (given.quick or given.kind):
        report.write(rows, f"cloudchat {version('cloudchat')}, seed {given.seed}")
    if not all(clean(row.found) for row in rows):
        sys.exit("something was lost or doubled")


if __name__ == "__main__":
    main()
