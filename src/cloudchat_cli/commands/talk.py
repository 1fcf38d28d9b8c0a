"""`cloudchat chat` and `cloudchat say`."""

# ruff: noqa: D301, PLC0415 - click marks paragraphs that are not to be wrapped with \b; imports are late on purpose

from __future__ import annotations

import click

from cloudchat_cli.options import setting_argument, setting_option
from cloudchat_cli.table import TEXT


@click.command()
@setting_argument("client.nickname")
@setting_option("client.server")
@setting_option("client.transport")
def chat(nickname: str, server: str, transport: str) -> None:
    """Chat as NICKNAME, line by line, until /quit or the end of the input.

    Lines of the input are said; /who lists who is here, /help says what else there is. With the output in a file or a
    pipe it shows the same, plainly. NICKNAME may be left out where it is configured.

    \b
    Examples:
      cloudchat chat Alexandra
      cloudchat chat Alexandra --server https://chat.example.org
      cloudchat chat Alexandra --transport poll
      echo 'Deployed.' | cloudchat chat Deployer
    """
    from cloudchat_cli.chatting import run

    run(server, nickname, transport)


@click.command()
@setting_option("client.nickname", required=True)
@click.argument("text", nargs=-1, required=True, type=TEXT)
@setting_option("client.server")
def say(nickname: str, text: tuple[str, ...], server: str) -> None:
    """Say TEXT as NICKNAME without entering the chat; - reads the text from the input.

    The nickname must be free: who is here speaks for themselves.

    \b
    Examples:
      cloudchat say --as Deployer Version 2 is out.
      uptime | cloudchat say --as Watchdog -
    """
    from cloudchat_cli.operating import speak
    from cloudchat_cli.running import run

    run(speak, server, nickname, _read() if text == ("-",) else " ".join(text))


def _read() -> str:
    from cloudchat_cli.output import Failure

    try:
        with open(0, encoding="utf-8", errors="replace", closefd=False) as given:
            return given.read()
    except OSError as error:
        raise Failure(f"the input cannot be read: {error.strerror}") from None
