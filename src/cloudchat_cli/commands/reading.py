"""What is read: `cloudchat messages`, `worklog`, `events`, `operations`, `version`."""

# ruff: noqa: D301, FBT001, PLC0415 - see the other commands; click names what it passes

from __future__ import annotations

from typing import Final

import click

from cloudchat_cli.options import check_stream, output_option, setting_option
from cloudchat_cli.table import TEXT

_limit: Final = click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    metavar="NUMBER",
    help="How many, the newest ones.",
)


@click.command()
@_limit
@click.option(
    "--before", type=TEXT, metavar="CURSOR", help="Only what was said before this cursor."
)
@output_option
@setting_option("client.server")
def messages(limit: int, before: str | None, output: str, server: str) -> None:
    """Print what was said, oldest first.

    The first cursor printed is the --before of what was said before.

    \b
    Examples:
      cloudchat messages --limit 10
      cloudchat messages --before k3f9-120
      cloudchat messages --limit 1000 -o jsonl > chat.jsonl
    """
    from cloudchat_cli.reading import show_messages
    from cloudchat_cli.running import run

    run(show_messages, server, limit, before, output)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@_limit
@output_option
@setting_option("client.server")
@setting_option("client.transport")
def worklog(follow: bool, limit: int, output: str, server: str, transport: str) -> None:
    """Print what happened to the instances, oldest first.

    \b
    Examples:
      cloudchat worklog --limit 10
      cloudchat worklog --follow
      cloudchat worklog --follow -o jsonl | jq -r 'select(.type == "failed") | .detail'
    """
    from cloudchat_cli.running import run

    if follow:
        from cloudchat_cli.following import follow_worklog

        check_stream(output)
        run(follow_worklog, server, transport, limit, output)
    else:
        from cloudchat_cli.reading import show_worklog

        run(show_worklog, server, limit, output)


@click.command()
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option("--after", type=TEXT, metavar="CURSOR", help="Everything after this cursor.")
@click.option(
    "--topic",
    "topics",
    type=click.Choice(["chat", "instances"]),
    multiple=True,
    help="Only events of this topic; may be repeated.  [default: all]",
)
@output_option
@setting_option("client.server")
@setting_option("client.transport")
def events(
    *,
    follow: bool,
    after: str | None,
    topics: tuple[str, ...],
    output: str,
    server: str,
    transport: str,
) -> None:
    """Print events in their order: those after --after, else the newest messages and instance events.

    \b
    Examples:
      cloudchat events --topic instances
      cloudchat events --follow
      cloudchat events --after k3f9-120 -o jsonl
    """
    from cloudchat_cli.running import run

    if follow:
        from cloudchat_cli.following import follow_events

        check_stream(output)
        run(follow_events, server, transport, after or "", topics, output)
    else:
        from cloudchat_cli.reading import show_events

        run(show_events, server, after or "", topics, output)


@click.group()
def operations() -> None:
    """List operations, or look one up.

    \b
    Examples:
      cloudchat operations list
      cloudchat operations get 0c2c6b8e-7e8c-4b0e-9c61-0d9b7f5a9d3e
    """


@operations.command("list")
@output_option
@setting_option("client.server")
def list_(output: str, server: str) -> None:
    """List the operations that are under way, and the newest finished ones; newest first.

    \b
    Examples:
      cloudchat operations list
      cloudchat operations list -o json | jq -r '.[] | select(.done | not) | .id'
    """
    from cloudchat_cli.reading import show_operations
    from cloudchat_cli.running import run

    run(show_operations, server, output)


@operations.command()
@click.argument("operation", type=TEXT)
@output_option
@setting_option("client.server")
def get(operation: str, output: str, server: str) -> None:
    """Show one OPERATION: whether it is done, and how it ended.

    \b
    Examples:
      cloudchat operations get 0c2c6b8e-7e8c-4b0e-9c61-0d9b7f5a9d3e
      cloudchat operations get 0c2c6b8e-7e8c-4b0e-9c61-0d9b7f5a9d3e -o json | jq .done
    """
    from cloudchat_cli.reading import show_operation
    from cloudchat_cli.running import run

    run(show_operation, server, operation, output)


@click.command()
@output_option
def version(output: str) -> None:
    """Print the version, and what it runs on.

    \b
    Examples:
      cloudchat version
      cloudchat version -o json
    """
    import platform
    from importlib.metadata import version as version_of

    from cloudchat_cli.shapes import VERSION, write_one

    told = {
        "cloudchat": version_of("cloudchat"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    write_one(VERSION, told, output)
