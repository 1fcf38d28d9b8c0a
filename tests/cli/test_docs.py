"""docs/cli.md says all that the command line can do, and nothing that it cannot."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from cloudchat_cli.app import EXIT_CODES, cli
from cloudchat_cli.output import Exit

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(
    group: click.Group = cli, path: str = "cloudchat"
) -> Iterator[tuple[str, click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


COMMANDS = dict(commands())


def spellings(command: click.Command) -> set[str]:
    """Every way to write an option of `command`."""
    context = click.Context(command, **cli.context_settings)
    parameters = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    return {spelling for one in parameters for spelling in (*one.opts, *one.secondary_opts)}


OPTIONS = set[str]().union(*map(spellings, COMMANDS.values()))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_is_on_the_page(path: str) -> None:
    assert f"`{path}" in PAGE


@pytest.mark.parametrize("option", sorted(OPTIONS))
def test_every_option_is_on_the_page(option: str) -> None:
    assert re.search(rf"`(cloudchat )?{option}[` ]", PAGE)


def test_every_option_on_the_page_exists() -> None:
    named = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?![\w-])", PAGE))
    assert named - OPTIONS == {"-r"}  # jq's


@pytest.mark.parametrize("code", Exit)
def test_every_exit_code_is_on_the_page(code: Exit) -> None:
    assert f"\n| {code.value} | " in PAGE


def test_the_help_names_the_exit_codes_of_the_page() -> None:
    in_help = set(re.findall(r"^ +(\d+)  ", EXIT_CODES, re.MULTILINE))
    on_page = set(re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE))
    assert on_page - in_help == {"141"}
    assert in_help <= on_page


@pytest.mark.parametrize(("path", "command"), COMMANDS.items(), ids=list(COMMANDS))
def test_every_command_has_examples_that_it_would_take(path: str, command: click.Command) -> None:
    """Each example in a help text is a command with options that exist."""
    assert command.help is not None
    _, _, examples = command.help.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if "cloudchat" in line]
    assert lines
    for line in lines:
        used = set(
            re.findall(
                r"(?<![\w'-])--?[a-z][a-z-]*", line.partition("cloudchat")[2].partition("|")[0]
            )
        )
        assert used <= OPTIONS, line
