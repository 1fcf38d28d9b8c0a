"""`cloudchat config`: what the settings are, where they come from, and what is wrong with them."""

# ruff: noqa: D301, FBT001, PLC0415 - see the other commands; click names what it passes

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from cloudchat_cli.config import LIMITS, Found, nearest, paths
from cloudchat_cli.options import files, make_option, now
from cloudchat_cli.output import Exit, Failure, emit, note
from cloudchat_cli.table import SETTINGS, default_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cloudchat_cli.config import Value
    from cloudchat_cli.table import Setting


_KUBERNETES: Final = ("CLOUDCHAT_PORT", "CLOUDCHAT_SERVICE_")
"""How the variables begin that are set for every pod beside a service that is called cloudchat."""


@click.group()
def config() -> None:
    """Show and check settings.

    A flag wins over the environment, that over ./cloudchat.toml, that over the user's own config.toml.

    \b
    Examples:
      cloudchat config show --origin
      cloudchat config check
      cloudchat config default > cloudchat.toml
    """


@config.command()
@click.option("--origin", is_flag=True, help="Say where each value comes from.")
def show(origin: bool) -> None:
    """Print the settings that hold here, as a configuration file.

    \b
    Examples:
      cloudchat config show
      cloudchat config show --origin
    """
    section = ""
    for setting in SETTINGS.values():
        found = now(setting)
        if not (found or setting.limits):
            found = {setting.key: Found(_default(setting), "default")}
        for key, value in found.items():
            title = LIMITS if setting.limits else setting.section
            if title != section:
                emit(f"\n[{title}]" if section else f"[{title}]")
                section = title
            number = setting.limits or isinstance(setting.type, (click.IntRange, click.FloatRange))
            written = value.value if number else _toml(value.value)
            unset = "# " if not value.value else ""
            emit(f"{unset}{key} = {written}" + (f"  # {value.origin}" if origin else ""))


@config.command()
def check() -> None:
    """Check the configuration files and the environment; everything that is wrong is named with its place.

    \b
    Examples:
      cloudchat config check
      cloudchat config check && cloudchat serve
    """
    told = files()
    variables = [variable for setting in SETTINGS.values() for variable in setting.variables]
    problems = [
        f"there is no variable {name}{nearest(name, variables)}"
        for name in os.environ
        if name.startswith("CLOUDCHAT_")
        and not name.startswith(_KUBERNETES)
        and name not in variables
    ]
    problems += told.problems
    if not problems:
        problems += [problem for setting in SETTINGS.values() for problem in _wrong(setting)]
    for problem in problems:
        note(problem)
    if problems:
        raise Failure(f"wrong configuration: {len(problems)} in all", Exit.USAGE)
    for path in paths():
        emit(f"{path}: {'fine' if path in told.files else 'not there'}")


@config.command()
def default() -> None:
    """Print a configuration file with all that can be set: what it means, and what it is otherwise.

    \b
    Examples:
      cloudchat config default > cloudchat.toml
    """
    from dataclasses import fields

    from cloudchat_core.limits import Limits

    section = ""
    for setting in SETTINGS.values():
        if setting.limits:
            continue
        if setting.section != section:
            emit(f"[{setting.section}]")
            section = setting.section
        number = isinstance(setting.type, (click.IntRange, click.FloatRange))
        written = _default(setting) if number else _toml(_default(setting))
        emit(f"# {setting.help}\n# {setting.key} = {written}\n")
    emit("[limits]")
    for limit in fields(Limits):
        emit(f"# {limit.metadata['unit']}: {limit.metadata['why']}")
        emit(f"# {limit.name} = {limit.default}\n")


@config.command()
def env() -> None:
    """Print the environment variables that say what holds here, for a shell to read.

    \b
    Examples:
      cloudchat config env
      cloudchat config env > cloudchat.env
    """
    from shlex import quote

    for setting in SETTINGS.values():
        found = now(setting)
        variable = setting.variables[0]
        if setting.limits:
            text = " ".join(f"{name}={each.value}" for name, each in found.items())
        else:
            value = found[setting.key].value if found else _default(setting)
            text = " ".join(value) if isinstance(value, tuple) else value
        emit(f"{variable}={quote(text)}" if text else f"# {variable}=")


def _wrong(setting: Setting) -> Iterator[str]:
    """Say what is wrong with the values of `setting`, and where they stand."""
    option = make_option(setting)
    found = now(setting)
    if setting.limits and found:
        texts = tuple(f"{name}={each.value}" for name, each in found.items())
        origins = dict.fromkeys(each.origin for each in found.values())
        found = {setting.key: Found(texts, ", ".join(origins))}
    for each in found.values():
        try:
            option.check(each)
        except click.UsageError as error:
            yield error.message


def _default(setting: Setting) -> Value:
    """Return what holds where nothing is set, as it would stand in a file."""
    if setting.name == "serve.log":
        return default_log()
    if setting.multiple:
        return tuple(setting.default or ())
    return "" if setting.default is None else str(setting.default)


def _toml(value: Value) -> str:
    """Write a value as TOML does."""
    import json

    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    # TOML's basic strings are JSON's, but for the one control character that JSON lets pass.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
