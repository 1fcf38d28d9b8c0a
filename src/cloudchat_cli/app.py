"""The commands and their options. What a command needs is imported when it runs, so that `--help` is there at once."""

# ruff: noqa: D301, PLC0415 - click marks paragraphs that are not to be wrapped with \b; imports are late on purpose

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SERVER: Final = "http://127.0.0.1:8000"

EXIT_CODES: Final = """\b
Exit codes:
  0    done
  1    failed; stderr says why
  2    wrong usage
  3    refused by the server
  5    there is no such instance
  6    the instance is busy, or in the wrong state
  7    the operation failed
  8    not done in time (--timeout); it goes on
  9    no server there
  130  interrupted (Ctrl-C)"""


class _Cli(click.Group):
    """Ends every command the same way: with a documented exit code, and one line about what went wrong."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        from cloudchat_cli.output import Exit, Failure, note

        extra["standalone_mode"] = False
        try:
            try:
                code = super().main(*args, **extra)
            except BaseExceptionGroup as group:  # what a task of a command raised
                raise _single(group) from None
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except Failure as failure:
            if failure.code is not Exit.BROKEN_PIPE:
                note(f"cloudchat: {failure}")
            code = failure.code
        except (click.Abort, KeyboardInterrupt):
            code = Exit.INTERRUPTED
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception that a group of groups stands for; the group itself where it is several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
        return KeyboardInterrupt()
    return error


def _reads(read: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Make an option's callback of a function that raises `ValueError`."""

    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise click.BadParameter(str(error), context, parameter) from None

    return callback


def _read_log(text: str | None) -> Any:
    from cloudchat_cli.settings import make_log

    if text is None:
        import platformdirs

        text = f"sqlite:{platformdirs.user_data_path('cloudchat') / 'log.sqlite'}"
    return make_log(text), text


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


@click.group(
    cls=_Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES,
)
@click.version_option(package_name="cloudchat", message="%(prog)s %(version)s")
def cli() -> None:
    """A chat, and a live dashboard of cloud servers, in one ordered log.

    \b
    Examples:
      cloudchat serve
      cloudchat chat Alexandra
      cloudchat instances create
    """


@cli.command()
@click.option(
    "--transport",
    "transports",
    type=click.Choice(["ws", "sse", "poll"]),
    multiple=True,
    default=["ws", "sse", "poll"],
    show_default=True,
    help="How clients may follow the feed: WebSocket, Server-Sent Events, long polls; may be repeated.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8000,
    show_default=True,
    envvar="PORT",
    show_envvar=True,
    help="The port to listen on; 0 takes any that is free.",
)
@click.option(
    "--log",
    metavar="URL",
    callback=_reads(_read_log),
    help="Where everything is kept: memory: or sqlite:PATH.  [default: a file in the user's data directory]",
)
@click.option(
    "--provider",
    "duration",
    metavar="URL",
    default="simulated:",
    show_default=True,
    callback=_reads(_read_provider),
    help="Who runs the instances: simulated:?duration=20 pretends to, taking 20 seconds.",
)
@click.option(
    "--allow-origin",
    metavar="ORIGIN",
    multiple=True,
    help="A web page of this origin may use the server, such as https://example.org; may be repeated.",
)
@click.option(
    "--allow-host",
    metavar="NAME",
    multiple=True,
    help="A name that the server goes by, besides localhost and IP addresses; may be repeated.",
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=5.0,
    show_default=True,
    help="Seconds that a nickname is kept for who lost the connection.",
)
@click.option(
    "--heartbeat",
    type=click.FloatRange(0, min_open=True),
    default=15.0,
    show_default=True,
    help="Seconds of silence after which either side says that it is there.",
)
@click.option(
    "--retain",
    "keep",
    metavar="BOUND",
    multiple=True,
    callback=_reads(_read_retention),
    help="What the log keeps: 100000 (events), 30d (age), 1GB (size); may be repeated.  [default: all]",
)
@click.option(
    "--limit",
    "limits",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_reads(_read_limits),
    help="Another value for a limit, such as text=1000; a rate may be 0 (none); may be repeated.",
)
def serve(
    *,
    transports: tuple[str, ...],
    host: str,
    port: int,
    log: tuple[Any, str],
    duration: float,
    allow_origin: tuple[str, ...],
    allow_host: tuple[str, ...],
    grace: float,
    heartbeat: float,
    keep: Any,
    limits: Any,
) -> None:
    """Run a server until Ctrl-C.

    Whoever reaches it may chat and operate instances, so it listens on this machine alone unless --host says otherwise.
    The environment variable RENDER_EXTERNAL_HOSTNAME counts as an --allow-host.

    \b
    Examples:
      cloudchat serve
      cloudchat serve --port 9000 --log sqlite:/var/lib/cloudchat/log.sqlite
      cloudchat serve --log memory: --provider 'simulated:?duration=2'
      cloudchat serve --host 0.0.0.0 --allow-host chat.example.org --allow-origin https://example.org
      cloudchat serve --retain 30d --retain 1GB --limit text=1000 --limit commands_per_second=0
    """
    from importlib.metadata import version

    from cloudchat_cli.output import emit
    from cloudchat_cli.serving import Settings, run
    from cloudchat_transports.access import Access

    hosts = [*allow_host, *filter(None, [os.environ.get("RENDER_EXTERNAL_HOSTNAME")])]
    try:
        access = Access(hosts, allow_origin)
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    def ready(url: str) -> None:
        emit(f"cloudchat {version('cloudchat')} serves at {url} (Ctrl-C stops it)")
        emit(f"log: {log[1]}")
        if host in {"0.0.0.0", "::", ""}:  # noqa: S104 - compared with, not bound to
            emit("listening on every address of this machine: whoever reaches it may use it")

    run(
        Settings(transports, host, port, log[0], duration, access, limits, keep, grace, heartbeat),
        ready,
    )


def _server_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--server",
        metavar="URL",
        envvar="CLOUDCHAT_SERVER",
        show_envvar=True,
        default=SERVER,
        show_default=True,
        callback=_reads(_read_server),
        help="The server to talk to.",
    )(command)


@cli.command()
@click.argument("nickname")
@_server_option
def chat(nickname: str, server: str) -> None:
    """Chat as NICKNAME, line by line, until /quit or the end of the input.

    Lines of the input are said; /who lists who is here, /help says what else there is. With the output in a file or a
    pipe it shows the same, plainly.

    \b
    Examples:
      cloudchat chat Alexandra
      cloudchat chat Alexandra --server https://chat.example.org
      echo 'Deployed.' | cloudchat chat Deployer
    """
    from cloudchat_cli.chatting import run

    run(server, nickname)


@cli.command()
@click.option("--as", "nickname", metavar="NICKNAME", required=True, help="Who says it.")
@click.argument("text", nargs=-1, required=True)
@_server_option
def say(nickname: str, text: tuple[str, ...], server: str) -> None:
    """Say TEXT as NICKNAME without entering the chat; - reads the text from the input.

    The nickname must be free: who is here speaks for themselves.

    \b
    Examples:
      cloudchat say --as Deployer Version 2 is out.
      uptime | cloudchat say --as Watchdog -
    """
    from cloudchat_cli.operating import run, speak

    run(speak, server, nickname, sys.stdin.read() if text == ("-",) else " ".join(text))


@cli.group()
def instances() -> None:
    """List, create, start, stop and remove cloud servers.

    An instance is named by its id, or by the first characters of it (4 at least) where no other begins like that.

    \b
    Examples:
      cloudchat instances list
      cloudchat instances create --name web-1
      cloudchat instances start 2318
    """


_output = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
_SHARED: Final[list[Callable[[Any], Any]]] = [
    click.option(
        "--wait/--no-wait",
        default=True,
        show_default=True,
        help="Whether to wait for the end of it.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(0, min_open=True),
        default=900.0,
        show_default=True,
        metavar="SECONDS",
        help="How long to wait at most; the operation goes on afterwards.",
    ),
    _output,
    _server_option,
]


def _operation(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all operations have."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


@instances.command("list")
@_output
@_server_option
def list_(output: str, server: str) -> None:
    """List the instances, with `id` and `state` first.

    \b
    Examples:
      cloudchat instances list
      cloudchat instances list -o json | jq -r '.[].id'
    """
    from cloudchat_cli.operating import run, show

    run(show, server, output)


@instances.command()
@click.option("--name", help="A name to know it by.")
@click.option("--spec", metavar="JSON", help="The provider's own parameters, a JSON object.")
@_operation
def create(name: str | None, spec: str | None, **options: Any) -> None:
    """Create an instance, stopped, and print its id.

    \b
    Examples:
      cloudchat instances create
      cloudchat instances create --name web-1 --timeout 60
      id=$(cloudchat instances create) && cloudchat instances start $id
    """
    from cloudchat_cli.operating import create as operate
    from cloudchat_cli.operating import read_spec, run

    try:
        parameters = None if spec is None else read_spec(spec)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--spec") from None
    run(operate, options.pop("server"), name, parameters, options)


@instances.command()
@click.argument("instance")
@_operation
def start(instance: str, **options: Any) -> None:
    """Start a stopped INSTANCE.

    \b
    Examples:
      cloudchat instances start 23186bf2-2418-4a65-a38d-d3bee4a383b9
      cloudchat instances start 2318 --no-wait
    """
    _operate("start", instance, options)


@instances.command()
@click.argument("instance")
@_operation
def stop(instance: str, **options: Any) -> None:
    """Stop a running INSTANCE.

    \b
    Examples:
      cloudchat instances stop 23186bf2-2418-4a65-a38d-d3bee4a383b9
      cloudchat instances stop 2318 --timeout 60
    """
    _operate("stop", instance, options)


@instances.command()
@click.argument("instance")
@_operation
def remove(instance: str, **options: Any) -> None:
    """Remove an INSTANCE, running or stopped.

    \b
    Examples:
      cloudchat instances remove 23186bf2-2418-4a65-a38d-d3bee4a383b9
      cloudchat instances remove 2318 -o json
    """
    _operate("remove", instance, options)


def _operate(command: str, instance: str, options: dict[str, Any]) -> None:
    from cloudchat_cli.operating import operate, run

    run(operate, options.pop("server"), command, instance, options)


def main() -> None:
    """Run the command line."""
    cli.main(prog_name="cloudchat")
