"""`cloudchat instances`."""

# ruff: noqa: D301, PLC0415 - click marks paragraphs that are not to be wrapped with \b; imports are late on purpose

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from cloudchat_cli.completing import complete_instances
from cloudchat_cli.options import check_stream, output_option, setting_option
from cloudchat_cli.table import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable

_INSTANCE: Final = click.argument("instance", type=TEXT, shell_complete=complete_instances)
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
    output_option,
    setting_option("client.server"),
    setting_option("client.transport"),
]


def _operation(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that all operations have."""
    for option in reversed(_SHARED):
        command = option(command)
    return command


@click.group()
def instances() -> None:
    """List, watch, create, start, stop and remove cloud servers.

    An instance is named by its id, or by the first characters of it (4 at least) where no other begins like that.

    \b
    Examples:
      cloudchat instances list
      cloudchat instances create --name web-1
      cloudchat instances start 2318
    """


@instances.command("list")
@output_option
@setting_option("client.server")
def list_(output: str, server: str) -> None:
    """List the instances, with `id` and `state` first.

    \b
    Examples:
      cloudchat instances list
      cloudchat instances list -o name
      cloudchat instances list -o json | jq -r '.[].id'
    """
    from cloudchat_cli.reading import show_instances
    from cloudchat_cli.running import run

    run(show_instances, server, output)


@instances.command()
@_INSTANCE
@output_option
@setting_option("client.server")
def get(instance: str, output: str, server: str) -> None:
    """Show one INSTANCE.

    \b
    Examples:
      cloudchat instances get 2318
      cloudchat instances get 2318 -o json | jq -r .state
    """
    from cloudchat_cli.reading import show_instance
    from cloudchat_cli.running import run

    run(show_instance, server, instance, output)


@instances.command()
@click.argument("instance", required=False, type=TEXT, shell_complete=complete_instances)
@output_option
@setting_option("client.server")
@setting_option("client.transport")
def watch(instance: str | None, output: str, server: str, transport: str) -> None:
    """Show all instances, or one INSTANCE, and then each change until Ctrl-C (or the one is removed).

    \b
    Examples:
      cloudchat instances watch
      cloudchat instances watch 2318 -o jsonl
    """
    from cloudchat_cli.following import watch_instances
    from cloudchat_cli.running import run

    check_stream(output)
    run(watch_instances, server, transport, instance, output)


@instances.command()
@click.option("--name", type=TEXT, help="A name to know it by.")
@click.option(
    "--spec", type=TEXT, metavar="JSON", help="The provider's own parameters, a JSON object."
)
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
    from cloudchat_cli.operating import read_spec
    from cloudchat_cli.running import run

    try:
        parameters = None if spec is None else read_spec(spec)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--spec") from None
    run(operate, options.pop("server"), name, parameters, options)


@instances.command()
@_INSTANCE
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
@_INSTANCE
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
@_INSTANCE
@click.option("-y", "--yes", is_flag=True, help="Do not ask; needed where there is no terminal.")
@_operation
def remove(instance: str, yes: bool, **options: Any) -> None:  # noqa: FBT001 - click names it
    """Remove an INSTANCE, running or stopped; at a terminal you are asked first.

    \b
    Examples:
      cloudchat instances remove 2318
      cloudchat instances remove 23186bf2-2418-4a65-a38d-d3bee4a383b9 --yes -o json
    """
    import sys

    if not (yes or sys.stdin.isatty()):
        raise click.UsageError("there is no terminal to ask at: say --yes to remove the instance")
    if not yes:
        from cloudchat_cli.operating import consent, find
        from cloudchat_cli.running import run

        # Nothing else runs while somebody thinks: Ctrl-C at the question ends it as at any prompt.
        view = run(find, options["server"], instance)
        consent("remove", view)
        instance = view.id
    _operate("remove", instance, options)


def _operate(command: str, instance: str, options: dict[str, Any]) -> None:
    from cloudchat_cli.operating import operate
    from cloudchat_cli.running import run

    run(operate, options.pop("server"), command, instance, options)
