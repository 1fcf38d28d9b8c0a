"""`cloudchat log`: what can be done with a log's file, beside its server or without one."""

# ruff: noqa: D301, PLC0415 - see the other commands

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from cloudchat_cli.options import output_option, setting_option
from cloudchat_cli.table import TEXT

_log: Final = setting_option(
    "serve.log",
    help="Whose file: sqlite:PATH.  [default: the one that `cloudchat serve` would use]",
)


@click.group()
def log() -> None:
    """Check, export or compact a log's file; without --log, the one that `cloudchat serve` would use here.

    \b
    Examples:
      cloudchat log check
      cloudchat log export --log sqlite:/var/lib/cloudchat/log.sqlite > events.jsonl
      cloudchat log compact --retain 30d
    """


@log.command()
@output_option
@_log
def check(log: tuple[Any, str], output: str) -> None:
    """Read a whole log, say what it holds, and name each place where it is damaged.

    Nothing is written, and a server may have it open. Looked at are the pages of the file, each record and its
    checksum, the state that the records amount to, and the snapshot. A log that is sound ends with 0, one that is
    damaged with 10, one that cannot be read at all with 1.

    \b
    Examples:
      cloudchat log check
      cloudchat log check --log sqlite:backup.db
      cloudchat log check -o json | jq -r '.damage[].place'
    """
    from cloudchat_cli.log_file import check_log, path_of

    check_log(path_of(log[0]), output)


@log.command()
@click.option("--after", type=TEXT, metavar="CURSOR", help="Only what comes after this cursor.")
@click.option("--before", type=TEXT, metavar="CURSOR", help="Only what comes before this cursor.")
@click.option(
    "--topic",
    "topics",
    type=click.Choice(["chat", "instances"]),
    multiple=True,
    help="Only events of this topic; may be repeated.  [default: all]",
)
@click.option(
    "--to",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Write to this file, which is there when all of it is.  [default: stdout]",
)
@click.option(
    "--skip-damaged", is_flag=True, help="Leave out what is damaged, and go on behind it."
)
@_log
def export(
    *,
    log: tuple[Any, str],
    after: str | None,
    before: str | None,
    topics: tuple[str, ...],
    to: Path | None,
    skip_damaged: bool,
) -> None:
    """Write the events of a log, oldest first, one JSON object a line, as clients see them.

    Only what is public: nothing of tokens, keys, or the memory of commands. Nothing is written to the log, and a server
    may have it open. A record that is damaged ends the export with 10, and is named; with --skip-damaged all that can
    be read is written first.

    \b
    Examples:
      cloudchat log export > events.jsonl
      cloudchat log export --topic chat --to chat.jsonl
      cloudchat log export --after k3f9-120 --before k3f9-480
      cloudchat log export --log sqlite:damaged.db --skip-damaged > saved.jsonl
      cloudchat log export | jq -r 'select(.type == "message") | .text'
    """
    from cloudchat_cli.log_file import Range, export_log, path_of

    export_log(path_of(log[0]), Range(after, before, topics), to, skip_damaged=skip_damaged)


@log.command()
@output_option
@_log
@setting_option("serve.retain")
def compact(log: tuple[Any, str], retain: Any, output: str) -> None:
    """Drop what --retain no longer keeps, and give the space that is free in the file back to the disk.

    No server may have the log open meanwhile (exit code 6). The file is written anew, which takes up to three times its
    size of room beside it until it is done; whatever ends it early leaves a log that is whole.

    \b
    Examples:
      cloudchat log compact
      cloudchat log compact --retain 30d --retain 1GB
      cloudchat log compact --log sqlite:backup.db -o json
    """
    from cloudchat_cli.log_file import compact_log, path_of

    compact_log(log[0], path_of(log[0]), retain, output)
