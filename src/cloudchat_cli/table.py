"""All settings in one table: flags, environment variables, keys of configuration files and their documentation are
made from it, so that they cannot differ.
"""

# ruff: noqa: PLC0415 - what a setting needs is imported when it is read

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def text(value: object) -> str:
    """Return what can be said: bytes that are not UTF-8 are replaced, as in what is typed or piped into the chat."""
    # Python keeps such bytes of an argument as surrogates (PEP 383).
    return str(value).encode(errors="surrogateescape").decode(errors="replace")


TEXT: Final = click.types.FuncParamType(text)


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

    import httpx

    parts = urlsplit(text)
    try:
        httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.port == 0:
        raise ValueError(f"{text!r} is no address of a server; it looks like http://HOST:PORT")
    return text.rstrip("/")


def _read_provider(text: str) -> Any:
    from cloudchat_cli.settings import make_provider

    return make_provider(text)


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
        "Who runs the instances: simulated:?duration=20 pretends to, for 20 s (&fail=start: and that start fails).",
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
        TEXT,
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
    Setting(
        "client",
        "nickname",
        "Who says it.",
        None,
        TEXT,
        metavar="NICKNAME",
        flags=("--as", "nickname"),
    ),
)
SETTINGS: Final[Mapping[str, Setting]] = {setting.name: setting for setting in _ALL}
