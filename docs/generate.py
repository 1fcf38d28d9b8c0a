"""Draws into the documents what the code knows better: `python docs/generate.py`.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; a test says with `--check` that all are current.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path

import click

from cloudchat_cli.app import cli
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


def commands() -> str:
    """Describe every command with its options, from the command line itself."""
    return "\n\n".join(_describe(cli, click.Context(cli, info_name="cloudchat")))


def _describe(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}"
    yield _prose(command.help or "")
    if not isinstance(command, click.Group):
        rows = [row for parameter in command.params for row in _row(parameter)]
        yield "\n".join(["| option | | default |", "|---|---|---|", *rows])
        return
    if command.epilog:
        yield _prose(command.epilog)
    for name, inner in command.commands.items():
        yield from _describe(inner, click.Context(inner, parent=context, info_name=name))


def _prose(text: str) -> str:
    """Turn click's marks for paragraphs that are not to be wrapped into fences, and wrapped lines into long ones."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(
        f"```text\n{paragraph[1:].strip()}\n```"
        if paragraph.startswith("\b")
        else " ".join(paragraph.split())
        for paragraph in paragraphs
    )


def _row(parameter: click.Parameter) -> Iterator[str]:
    if not isinstance(parameter, click.Option):
        return
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    about, _, default = (parameter.help or "").partition("  [default: ")
    if parameter.metavar is not None:
        names += f" `{parameter.metavar}`"
    if isinstance(parameter.type, click.Choice):
        names += f" `{', '.join(parameter.type.choices)}`"
    if isinstance(parameter.envvar, str):
        about += f" Or the environment variable `{parameter.envvar}`."
    if parameter.show_default:
        value = parameter.default
        shown = value[0] if isinstance(value, list | tuple) else value
        default = f"`{parameter.opts[0]}`" if shown is True else f"`{shown}`"
    yield f"| {names} | {about} | {'required' if parameter.required else default.rstrip(']')} |"


PARTS: dict[str, Callable[[], str]] = {
    "commands": commands,
    "lifecycle": lifecycle,
    "limits": limits,
}


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
