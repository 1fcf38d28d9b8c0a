"""All settings in one table: flags, environment variables, keys of configuration files and their documentation are
made from it, so that they cannot differ.

A value is looked for on the command line, then in the environment, then in the files (`config.py`), and last in the
table. The files are read when the first setting needs them, so `--help` never does.
"""

# ruff: noqa: PLC0415 - what a setting needs is imported when it is read

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import click
from click.core import ParameterSource

from cloudchat_cli import config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cloudchat_cli.config import Config, Found


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: `key` of `section` in files, and what it is called elsewhere (`also`: in the environment, too).

    `read` makes a value of the text, or raises `ValueError`. `limits` marks the one whose values are a section.
    """

    section: str
    key: str
    help: str
    default: Any = None
    type: click.ParamType[Any] | None = None
    metavar: str | None = None
    multiple: bool = False
    read: Callable[[Any], Any] | None = None
    flags: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    limits: bool = False

    @property
    def name(self) -> str:
        """What it is called in this table."""
        return f"{self.section}.{self.key}"

    @property
    def names(self) -> tuple[str, ...]:
        """What the option is called on a command line."""
        return self.flags or (f"--{self.key.replace('_', '-')}",)

    @property
    def variables(self) -> list[str]:
        """The environment variables, the stronger one first."""
        # Kubernetes sets CLOUDCHAT_PORT, to something else, where a service is called cloudchat.
        section = "" if self.section == "client" else f"{self.section.upper()}_"
        return [f"CLOUDCHAT_{section}{self.key.upper()}", *self.also]


def _read_log(text: str | None) -> Any:
    from cloudchat_cli.settings import make_log

    text = text or default_log()
    return make_log(text), text


def default_log() -> str:
    """Return the log that is used where none is named."""
    import platformdirs

    return f"sqlite:{platformdirs.user_data_path('cloudchat') / 'log.sqlite'}"


def _read_server(text: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"{text!r} is no address of a server; it looks like http://HOST:PORT")
    return text.rstrip("/")


def _read_provider(text: str) -> Any:
    from cloudchat_cli.settings import read_provider

    return read_provider(text)


def _read_retention(texts: Sequence[str]) -> Any:
    from cloudchat_cli.settings import read_retention

    return read_retention(texts)


def _read_limits(texts: Sequence[str]) -> Any:
    from cloudchat_cli.settings import read_limits

    return read_limits(texts)


def _read_hosts(names: Sequence[str]) -> Sequence[str]:
    from cloudchat_transports.access import Access

    Access(names, ())
    return names


def _read_origins(origins: Sequence[str]) -> Sequence[str]:
    from cloudchat_transports.access import Access

    Access((), origins)
    return origins


_ALL: Final = (
    Setting(
        "serve",
        "transport",
        "How clients may follow the feed: WebSocket, Server-Sent Events, long polls; may be repeated.",
        ("ws", "sse", "poll"),
        click.Choice(["ws", "sse", "poll"]),
        multiple=True,
    ),
    Setting("serve", "host", "The address to listen on.", "127.0.0.1"),
    Setting(
        "serve",
        "port",
        "The port to listen on; 0 takes any that is free.",
        8000,
        click.IntRange(0, 65_535),
        also=("PORT",),
    ),
    Setting(
        "serve",
        "log",
        "Where everything is kept: memory: or sqlite:PATH.  [default: a file in the user's data directory]",
        metavar="URL",
        read=_read_log,
    ),
    Setting(
        "serve",
        "provider",
        "Who runs the instances: simulated:?duration=20 pretends to, taking 20 seconds.",
        "simulated:",
        metavar="URL",
        read=_read_provider,
    ),
    Setting(
        "serve",
        "allow_origin",
        "A web page of this origin may use the server, such as https://example.org; may be repeated.",
        metavar="ORIGIN",
        multiple=True,
        read=_read_origins,
    ),
    Setting(
        "serve",
        "allow_host",
        "A name that the server goes by, besides localhost and IP addresses; may be repeated.",
        metavar="NAME",
        multiple=True,
        read=_read_hosts,
    ),
    Setting(
        "serve",
        "grace",
        "Seconds that a nickname is kept for who lost the connection.",
        5.0,
        click.FloatRange(0),
    ),
    Setting(
        "serve",
        "heartbeat",
        "Seconds of silence after which either side says that it is there.",
        15.0,
        click.FloatRange(0, min_open=True),
    ),
    Setting(
        "serve",
        "retain",
        "What the log keeps: 100000 (events), 30d (age), 1GB (size); may be repeated.  [default: all]",
        metavar="BOUND",
        multiple=True,
        read=_read_retention,
    ),
    Setting(
        "serve",
        "limit",
        "Another value for a limit, such as text=1000; a rate may be 0 (none); may be repeated.",
        metavar="NAME=VALUE",
        multiple=True,
        read=_read_limits,
        limits=True,
    ),
    Setting(
        "client",
        "server",
        "The server to talk to.",
        "http://127.0.0.1:8000",
        metavar="URL",
        read=_read_server,
    ),
    Setting(
        "client",
        "transport",
        "How to follow the feed; auto: the best that works, of WebSocket, Server-Sent Events, long polls.",
        "auto",
        click.Choice(["auto", "ws", "sse", "poll"]),
    ),
    Setting("client", "nickname", "Who says it.", metavar="NICKNAME", flags=("--as", "nickname")),
)
SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _ALL}


def known_keys() -> dict[str, list[str]]:
    """Return what may stand in a file: the keys of each section."""
    from dataclasses import fields

    from cloudchat_core.limits import Limits

    keys: dict[str, list[str]] = {}
    for setting in _ALL:
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
        setting.key, cls=SettingArgument, setting=setting, envvar=setting.variables, **extra
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
