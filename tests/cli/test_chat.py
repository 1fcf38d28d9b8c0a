"""The chat in a terminal: who comes, what is said, who goes, and what a restart of the server leaves of it."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.cli.program import ABSENCE, PATIENCE, Program, Server, run
from tests.cli.terminal import Terminal
from tests.ports import free_port
from tests.transports.peer import listening

if TYPE_CHECKING:
    from pathlib import Path


def test_two_people_meet_talk_and_part(server: Server) -> None:
    with server.chat("Alexandra") as ann, server.chat("Petr") as petr:
        assert petr.lines[0] == "* here: Alexandra, Petr (you)"
        ann.until("Petr joined")
        ann.type("I can't sleep…")
        petr.until(r"^\d\d:\d\d Alexandra: I can't sleep…$")
        ann.until(r"^\d\d:\d\d You: I can't sleep…$")
        petr.type("/who")
        petr.until(r"here: Alexandra, Petr \(you\)$")
        petr.type("/quit")
        assert petr.ended() == 0
        ann.until("Petr left$")


def test_who_meets_does_not_see_over_which_transport_the_others_came(server: Server) -> None:
    with ExitStack() as stack:
        chats = {
            f"By {transport}": stack.enter_context(
                server.chat(f"By {transport}", "--transport", transport)
            )
            for transport in ("ws", "sse", "poll")
        }
        for nickname, chat in chats.items():
            chat.type(f"I am {nickname}")
            for each in chats.values():
                each.until(f" (You|{nickname}): I am {nickname}$")
        chats["By poll"].type("/quit")
        for nickname in ("By ws", "By sse"):
            chats[nickname].until("By poll left$")


def test_the_end_of_the_input_leaves_and_everything_before_it_is_said(server: Server) -> None:
    with server.chat("Listener") as listener:
        said = server.run("chat", "Pipe", text="one\ntwo\n\nthree")
        assert said.returncode == 0
        for text in ("one", "two", "three"):
            listener.until(f"Pipe: {text}$")
        listener.until("Pipe left$")


def test_whoever_is_killed_is_gone_after_grace(server: Server) -> None:
    with server.chat("Witness") as witness, server.chat("Victim") as victim:
        witness.until("Victim joined")
        victim.signal(signal.SIGKILL)
        witness.until(r"Victim is gone \(disconnected\)$")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupt_leaves_at_once(server: Server, number: signal.Signals, code: int) -> None:
    who = f"Hasty {code}"
    with server.chat(f"Patient {code}") as witness, server.chat(who) as hasty:
        hasty.signal(number)
        assert hasty.ended() == code
        assert hasty.errors == []
        witness.until(f"{who} left$")


def test_a_server_that_lets_nobody_in_by_that_name_is_no_missing_server(server: Server) -> None:
    """127.1 is this machine as well, but no address in the usual form, and so a name."""
    for arguments in (("chat", "Ann"), ("instances", "list")):
        refused = run(*arguments, "--server", f"http://127.1:{server.port}")
        assert refused.returncode == 4, refused.stderr
        assert "--allow-host" in refused.stderr


def test_a_taken_nickname_is_refused_with_suggestions_however_it_is_written(
    server: Server,
) -> None:
    with server.chat("Taken"):
        for nickname in ("Taken", "TAKEN", "Ｔａｋｅｎ", " taken "):
            refused = server.run("chat", nickname)
            assert refused.returncode == 3
            assert "nickname_taken" in refused.stderr
            assert re.search(r"How about: \S+", refused.stderr)


@pytest.mark.parametrize("nickname", ["", "you", "Вы", "x" * 33, "a\u202eb"])
def test_what_nobody_may_be_called_is_refused(server: Server, nickname: str) -> None:
    refused = server.run("chat", nickname)
    assert refused.returncode == 3
    assert "nickname_" in refused.stderr


def test_nobody_there_ends_with_its_own_code() -> None:
    gone = run("chat", "Ann", "--server", "http://127.0.0.1:1")
    assert gone.returncode == 9
    assert "cloudchat serve" in gone.stderr


def test_an_output_that_has_no_letters_for_it_shows_question_marks(server: Server) -> None:
    assert server.run("say", "--as", "Poet", "Ночь 🌙 falls").returncode == 0
    shown = run(
        "messages", CLOUDCHAT_SERVER=server.url, LC_ALL="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0"
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "???? ? falls" in shown.stdout


def test_what_others_say_is_shown_and_not_obeyed(server: Server) -> None:
    with server.chat("Reader") as reader:
        assert (
            server.run(
                "say", "--as", "Bot", "tab\there [red]no markup[/red] \u202eturned"
            ).returncode
            == 0
        )
        reader.until(r"Bot: tab\there \[red\]no markup\[/red\] \N{REPLACEMENT CHARACTER}turned$")


def test_what_is_no_command_is_not_said_and_two_slashes_say_one(server: Server) -> None:
    with server.chat("Slasher") as slasher:
        slasher.type("/nonsense")
        slasher.until("there is no /nonsense")
        slasher.type("/help")
        slasher.until("/quit")
        slasher.type("//etc/hosts is a file")
        slasher.until("You: /etc/hosts is a file$")
        slasher.type("x" * 5000)
        slasher.until("text_invalid")


@pytest.mark.anyio
@pytest.mark.parametrize("typed", ["", "is anybody there?"])
async def test_who_is_told_not_to_come_back_ends_with_the_reason(typed: str) -> None:
    async with listening() as peer:
        with Program("chat", "Ann", "--server", peer.url) as program:
            link = await peer.welcome()
            await link.let_in()
            if typed:
                program.type(typed)
                await link.command()
            await link.close(4501)
            assert await anyio.to_thread.run_sync(program.ended) == 3
            (line,) = program.errors
            assert "4501" in line


def test_who_comes_later_sees_what_was_said_and_what_happened_to_instances(server: Server) -> None:
    with server.chat("Early") as early:
        name = server.run("instances", "create").stdout.strip()
        early.until(f"{name}: received create$")
        early.until(f"{name}: created$")
        named = server.run("instances", "create", "--name", "web-1").stdout.strip()
        early.until(f"{named} web-1: created$")
        assert server.run("instances", "create", "--spec", '{"fail":"create"}').returncode == 7
        early.until("create .* failed: ")
        early.type("first\tthing")
        early.until("You: first")
        with server.chat("Late") as late:
            assert any("Early: first" in line for line in late.lines)


def test_a_kill_of_the_server_loses_and_doubles_nothing_and_nobody_left(tmp_path: Path) -> None:
    options = ("--log", f"sqlite:{tmp_path / 'log'}", *ABSENCE)
    port = free_port()
    with (
        Server(*options, port=port) as server,
        server.chat("Ann") as ann,
        server.chat("Bob") as bob,
    ):
        ann.until("Bob joined")
        ann.type("before")
        bob.until("Ann: before")
        server.signal(signal.SIGKILL)
        server.ended()
        bob.until("trying to come back")
        ann.until("trying to come back")
        ann.type("while it was away")
        ann.until("to be said when the server is back")
        with Server(*options, port=port) as again:
            bob.until("Ann: while it was away")
            assert again.run("say", "--as", "Cat", "afterwards").returncode == 0
            bob.until("Cat: afterwards")
            ann.until("Cat: afterwards")
            bob.type("/who")
            bob.until(r"here: Ann, Bob \(you\)$")
            for program in (ann, bob):
                said = r": (before|while it was away|afterwards)$"
                heard = [line for line in program.lines if re.search(said, line)]
                heard = [line for line in heard if "to be said" not in line]
                assert len(heard) == 3, program.lines
                assert not any(re.search("left|is gone", line) for line in program.lines)


def test_a_planned_restart_is_a_short_absence(tmp_path: Path) -> None:
    options = ("--log", f"sqlite:{tmp_path / 'log'}", *ABSENCE)
    port = free_port()
    with Server(*options, port=port) as server, server.chat("Ann") as ann:
        server.signal(signal.SIGTERM)
        assert server.ended() == 0
        ann.until("trying to come back")
        with Server(*options, port=port):
            ann.until("back again")
            ann.type("still here")
            ann.until("You: still here")
            ann.type("/who")
            ann.until(r"here: Ann \(you\)$")


def test_say_speaks_without_being_there(server: Server) -> None:
    with server.chat("Ann") as ann:
        assert server.run("say", "--as", "Deployer", "Version", "2", "is out.").returncode == 0
        ann.until("Deployer: Version 2 is out.$")
        assert server.run("say", "--as", "Watchdog", "-", text="two\nlines\n").returncode == 0
        ann.until("Watchdog: two$")
        ann.until("^ +lines$")
        assert not any("joined" in line and "Ann" not in line for line in ann.lines)
        # What is not UTF-8 is replaced, as it is in the chat.
        assert server.run("say", "--as", "Old", "not", "\udcff UTF-8").returncode == 0
        ann.until("Old: not \N{REPLACEMENT CHARACTER} UTF-8$")
        assert server.run("say", "--as", "Old", "-", text="nor \udcff this").returncode == 0
        ann.until("Old: nor \N{REPLACEMENT CHARACTER} this$")
        taken = server.run("say", "--as", "ANN", "it is me")
        assert taken.returncode == 3
        assert "nickname_taken" in taken.stderr


def test_at_a_terminal_another_nickname_is_asked_for(server: Server) -> None:
    with server.chat("Ivan"):
        terminal = Terminal("chat", "ivan", "--server", server.url)
        try:
            terminal.until("(?s)How about: .*Another nickname:")
            terminal.type("")
            terminal.until("Another nickname:")
            terminal.type("admin")
            terminal.until("Another nickname:")
            terminal.type("Ivan the Second")
            terminal.until(r"Ivan the Second \(you\)")
            terminal.type("hello")
            terminal.until("(?s)You: hello.*> ")
            terminal.press(b"\x04")
            assert terminal.process.wait(PATIENCE) == 0
        finally:
            terminal.close()


def test_what_arrives_does_not_disturb_the_line_that_is_being_typed(server: Server) -> None:
    terminal = Terminal("chat", "Typist", "--server", server.url)
    try:
        terminal.until(r"Typist \(you\)(?s:.*)> ")
        terminal.press(b"half a li")
        terminal.until("half a li")
        assert server.run("say", "--as", "Bot", "in between").returncode == 0
        terminal.until(r"Bot: in between\r?\n> half a li$")
        terminal.press(b"ne\n")
        terminal.until("You: half a line")
    finally:
        terminal.close()


def test_a_terminal_shows_a_bar(server: Server) -> None:
    terminal = Terminal("instances", "create", "--server", server.url)
    try:
        terminal.until("[━╸].* of about 1 s")
        terminal.until(": created")
        assert terminal.process.wait(PATIENCE) == 0
        # However narrow it is: what is cut off, or in pieces, cannot be copied.
        for columns in ("100", "40"):
            terminal.close()
            terminal = Terminal("instances", "list", "--server", server.url, COLUMNS=columns)
            terminal.until("ID.*STATE.*CREATED")
            terminal.until(r"[0-9a-f-]{36}  stopped .*:\d\dZ")
    finally:
        terminal.close()


def test_at_a_terminal_nobody_has_to_name_another(server: Server) -> None:
    with server.chat("Olga"):
        terminal = Terminal("chat", "olga", "--server", server.url)
        try:
            terminal.until("Another nickname:")
            os.kill(terminal.process.pid, signal.SIGINT)
            assert terminal.process.wait(PATIENCE) == 130
        finally:
            terminal.close()


def test_a_nickname_lost_to_another_is_asked_for_again_and_what_was_typed_is_said(
    tmp_path: Path,
) -> None:
    """The server forgets who was there (a log in memory), and somebody else is quicker."""
    port = free_port()
    with Server("--log", "memory:", port=port) as server:
        terminal = Terminal("chat", "Ivan", "--server", server.url)
        try:
            terminal.until(r"Ivan \(you\)")
            server.signal(signal.SIGKILL)
            server.ended()
            terminal.until("trying to come back")
            terminal.type("early")
            terminal.until("to be said when the server is back: early")
            os.kill(terminal.process.pid, signal.SIGSTOP)
            with (
                Server("--log", "memory:", port=port) as again,
                again.chat("ivan") as quicker,
            ):
                os.kill(terminal.process.pid, signal.SIGCONT)
                terminal.until("nickname is gone")
                terminal.type("Ivan the Second")
                quicker.until("Ivan the Second joined")
                quicker.until("Ivan the Second: early")
                terminal.type("hello")
                quicker.until("Ivan the Second: hello")
        finally:
            terminal.close()


def test_messages_have_an_order_that_all_see_alike(server: Server) -> None:
    with server.chat("One") as one, server.chat("Two") as two:
        for number in range(20):
            (one, two)[number % 2].type(f"line {number}.")
        for program in (one, two):
            for _ in range(20):
                program.until(r"line \d+\.$")
        heard = [
            [re.search(r"line \d+\.", line)[0] for line in program.lines if "line " in line]  # type: ignore[index]
            for program in (one, two)
        ]
        assert heard[0] == heard[1]
        assert len(set(heard[0])) == 20


def test_programs_do_not_need_a_server_to_explain_themselves() -> None:
    for arguments in ((), ("--help",), ("chat", "--help"), ("instances", "--help")):
        helped = Program(*arguments)
        with helped:
            helped.until("Usage: cloudchat")
