"""Options that are settings (`table.py`), and those that many commands share.

A value is looked for on the command line, then in the environment, then in the files (`config.py`), and last in the
table. The files are read when the first setting needs them, so `--help` never does.
"""

# ruff: noqa: PLC0415 - what a setting needs is imported when it is read

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from cloudchat_cli import config
from cloudchat_cli.table import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloudchat_cli.config import Config, Found
    from cloudchat_cli.table import Setting


def known_keys() -> dict[str, list[str]]:
    """Return what may stand in a file: the keys of each section."""
    from dataclasses import fields

    from cloudchat_core.limits import Limits

    keys: dict[str, list[str]] = {}
    for setting in SETTINGS.values():
        if not setting.limits:
            keys.setdefault(setting.section, []).append(setting.key)
    keys[config.LIMITS] = [limit.name for limit in fields(Limits)]
    return keys


@cache
def files() -> Config:
    """Return what the configuration files say."""
    return config.read(config.paths(), known_keys)


def in_files(setting: Setting) -> Found | None:
    """Return what the files say about `setting`; `click.UsageError` where something is wrong with them."""
    told = files()
    if told.problems:
        raise click.UsageError(told.problems[0])
    if not setting.limits:
        return told.found.get((setting.section, setting.key))
    limits = _limits(told)
    origins = dict.fromkeys(each.origin for each in limits.values())
    texts = tuple(f"{name}={each.value}" for name, each in limits.items())
    return config.Found(texts, ", ".join(origins)) if limits else None


def _limits(told: Config) -> dict[str, Found]:
    return {key: each for (section, key), each in told.found.items() if section == config.LIMITS}


def now(setting: Setting) -> dict[str, Found]:
    """Return what holds without flags: by key (limits are several), where it is not the default."""
    found = {setting.key: told} if (told := in_files(setting)) is not None else {}
    if setting.limits:
        found = _limits(files())
    variable, text = next(
        ((name, text) for name in setting.variables if (text := os.environ.get(name))), ("", "")
    )
    if setting.limits:
        for each in text.split():
            name, _, value = each.partition("=")
            found[name] = config.Found(value, variable)
    elif text:
        found[setting.key] = config.Found(
            tuple(text.split()) if setting.multiple else text, variable
        )
    return found


class _Configured(click.Parameter):
    """A parameter that is looked for in the files, too; what is wrong there is told with its place."""

    def __init__(self, *arguments: Any, setting: Setting, **attributes: Any) -> None:
        self.setting = setting
        super().__init__(*arguments, **attributes)

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        if source is ParameterSource.DEFAULT or self.setting.limits:
            found = in_files(self.setting)
            if found is not None and source is not ParameterSource.DEFAULT:
                # Each limit is a setting of its own: of two for the same name the last counts.
                return (*found.value, *value), source
            if found is not None:
                ctx.meta[self._key] = found.origin
                return found.value, ParameterSource.DEFAULT_MAP
        return value, source

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        origin = ctx.meta.get(self._key)
        if origin is None:
            return super().process_value(ctx, value)
        try:
            if isinstance(value, tuple) and not self.setting.multiple:
                raise click.BadParameter("this takes one value, and no list")
            if isinstance(value, str) and self.setting.multiple:
                value = (value,)
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            key = config.LIMITS if self.setting.limits else self.setting.key
            raise click.UsageError(f"{origin}: {key}: {error.message}", ctx) from None

    def check(self, found: Found) -> None:
        """Raise `click.UsageError` where `found` is no value for this, and say where it stands."""
        context = click.Context(click.Command("cloudchat"))
        context.meta[self._key] = found.origin
        self.process_value(context, found.value)

    @property
    def _key(self) -> str:
        return f"cloudchat.{self.setting.name}"


class SettingOption(_Configured, click.Option):
    """An option for a setting."""


class SettingArgument(_Configured, click.Argument):
    """An argument for a setting."""


def reads(read: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Make an option's callback of a function that raises `ValueError`."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return callback


def _attributes(setting: Setting) -> dict[str, Any]:
    given = {"default": setting.default, "show_default": True} if setting.default else {}
    return {
        "setting": setting,
        "help": setting.help,
        "type": setting.type,
        "metavar": setting.metavar,
        "multiple": setting.multiple,
        "envvar": setting.variables,
        "show_envvar": True,
        "callback": None if setting.read is None else reads(setting.read),
        **given,
    }


def make_option(setting: Setting) -> SettingOption:
    """Return the option for `setting`."""
    return SettingOption(setting.names, **_attributes(setting))


def setting_option(name: str, **extra: Any) -> Callable[[Any], Any]:
    """Give a command the option for the setting called `name` in the table."""
    setting = SETTINGS[name]
    return click.option(*setting.names, cls=SettingOption, **_attributes(setting) | extra)


def setting_argument(name: str, **extra: Any) -> Callable[[Any], Any]:
    """Give a command an argument that may be left out where the setting is made elsewhere."""
    setting = SETTINGS[name]
    return click.argument(
        setting.key,
        cls=SettingArgument,
        setting=setting,
        type=setting.type,
        envvar=setting.variables,
        **extra,
    )


output_option: Final = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "jsonl", "name"]),
    default="table",
    show_default=True,
    help="A table for people; JSON, or one JSON object a line, for programs; names (ids, cursors) alone.",
)


def check_stream(output: str) -> None:
    """Refuse the one shape that has an end for what has none."""
    if output == "json":
        raise click.UsageError("what goes on has no end: say -o jsonl for one JSON object a line")
