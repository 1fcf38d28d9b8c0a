"""The examples do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.program import Server

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_bot_answers_who_calls_it_and_reports_failures(server: Server) -> None:
    bot = subprocess.Popen([sys.executable, str(EXAMPLES / "echo.py"), server.url])
    try:
        with server.chat("Caller") as caller:
            if not any("Echo" in line for line in caller.lines):
                caller.until("Echo joined")
            caller.type("not for the bot")
            caller.type("echo, are you there?")
            caller.until("^..:.. Echo: Caller said: echo, are you there[?]$")
            assert server.run("instances", "create", "--spec", '{"fail":"create"}').returncode == 7
            caller.until("^..:.. Echo: .* is in trouble: ")
            assert not any("Echo: Caller said: not for" in line for line in caller.lines)
    finally:
        bot.kill()
        bot.wait()
