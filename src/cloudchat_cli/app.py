"""The command line as a whole: its groups, and the one way in which every command ends."""

# ruff: noqa: D301 - click marks paragraphs that are not to be wrapped with \b

from __future__ import annotations

import io
import sys
from typing import Any, Final, NoReturn

import click

from cloudchat_cli.commands.config import config
from cloudchat_cli.commands.instances import instances
from cloudchat_cli.commands.log import log
from cloudchat_cli.commands.reading import events, messages, operations, version, worklog
from cloudchat_cli.commands.serve import serve
from cloudchat_cli.commands.talk import chat, say
from cloudchat_cli.completing import completion
from cloudchat_cli.output import Exit, Failure, note, printable

EXIT_CODES: Final = """\b
Exit codes:
  0    done
  1    failed; stderr says why
  2    wrong usage, or wrong configuration
  3    refused by the server
  4    not allowed
  5    not found: no such instance, operation, or cursor
  6    busy: the instance, or it is in the wrong state; the log, a server has it
  7    the operation failed
  8    not done in time (--timeout); it goes on
  9    no server there
  10   the log is damaged
  130  interrupted (Ctrl-C); an operation that was begun goes on. Other signals: 128 + their number"""


class _Cli(click.Group):
    """Ends every command the same way: with a documented exit code, and one line about what went wrong."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
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
                note(printable(f"cloudchat: {failure}"))  # the words may be another's: the server's
            code = failure.code
        except (click.Abort, KeyboardInterrupt):
            code = Exit.INTERRUPTED
        sys.exit(code if isinstance(code, int) else Exit.OK)


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the one exception that a group of groups stands for; the group itself where it is several."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


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


for _command in (
    serve,
    chat,
    say,
    instances,
    operations,
    messages,
    worklog,
    events,
    log,
    config,
    completion,
    version,
):
    cli.add_command(_command)


def main() -> None:
    """Run the command line."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A terminal that has no letter for something, as with LC_ALL=C, shows a question mark in its place.
        sys.stdout.reconfigure(errors="replace")
    cli.main(prog_name="cloudchat")
