"""Draws into the documents what the code knows better: `python docs/generate.py`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; a test says with `--check` that all are current.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from cloudchat_core.instances import mermaid
from cloudchat_core.limits import Limits

DOCS = Path(__file__).parent
PART = re.compile(r"<!-- generated: (\w+) -->\n.*?<!-- end -->", re.DOTALL)


def lifecycle() -> str:
    """Draw the life of an instance from its one table of transitions."""
    return f"```mermaid\n{mermaid()}\n```"


def limits() -> str:
    """Tabulate every limit with its unit and reason."""
    rows = ["| limit | default | unit | why | elsewhere |", "|---|---:|---|---|---|"]
    for limit in fields(Limits):
        about = limit.metadata
        rows.append(
            f"| `{limit.name}` | {limit.default:,} | {about['unit']} | {about['why']} | {about['peers']} |"
        )
    return "\n".join(rows)


PARTS: dict[str, Callable[[], str]] = {"lifecycle": lifecycle, "limits": limits}


def regenerate(text: str) -> str:
    """Return `text` with every generated part written anew; `KeyError` for a part of an unknown name."""
    return PART.sub(
        lambda found: f"<!-- generated: {found[1]} -->\n{PARTS[found[1]]()}\n<!-- end -->", text
    )


def main() -> None:
    """Write the documents anew; with `--check`, only say which of them are not current."""
    stale = []
    for document in sorted(DOCS.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        if (current := regenerate(text)) != text:
            stale.append(document.name)
            if "--check" not in sys.argv:
                document.write_text(current, encoding="utf-8")
    if stale and "--check" in sys.argv:
        sys.exit(f"not current, run python docs/generate.py: {', '.join(stale)}")


if __name__ == "__main__":
    main()
