"""The examples do what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.program import Server


ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "client.md"


def blocks() -> list[str]:
    return re.findall("```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def programs(url: str) -> dict[str, list[str]]:
    """The program of examples/, and the one in the page about the client."""
    block, _ = blocks()
    script = f"import anyio\n{block}\nanyio.run(main)".replace("http://127.0.0.1:8000", url)
    return {"program": [str(ROOT / "examples" / "echo.py"), url], "page": ["-c", script]}


@pytest.mark.parametrize("which", ["program", "page"])
def test_the_bot_answers_who_calls_it(server: Server, which: str) -> None:
    with server.chat(f"Caller of the {which}") as caller:
        bot = subprocess.Popen([sys.executable, *programs(server.url)[which]])
        try:
            caller.until("Echo joined")
            caller.type("echo, are you there?")
            caller.until(f"^..:.. Echo: Caller of the {which} said: echo, are you there[?]$")
            if which == "program":
                caller.type("not for the bot")
                failed = server.run("instances", "create", "--spec", '{"fail":"create"}')
                assert failed.returncode == 7
                caller.until("^..:.. Echo: .* is in trouble: ")
                assert not any("said: not for" in line for line in caller.lines)
        finally:
            bot.kill()
            bot.wait()
        caller.until(r"Echo is gone \(disconnected\)")


def test_the_page_shows_how_to_know_what_is_so(server: Server) -> None:
    _, block = blocks()
    script = f"import anyio\n{block}\nanyio.run(watch, {server.url!r})"
    watching = [sys.executable, "-u", "-c", script]
    with subprocess.Popen(watching, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout
            program.stdout.readline()
            assert server.run("instances", "create", "--name", "watched").returncode == 0
            assert any("('watched', 'stopped')" in line for line in program.stdout)
        finally:
            program.kill()
