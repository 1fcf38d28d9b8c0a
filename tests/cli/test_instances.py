"""Instances, operated from a shell: what is printed, what is waited for, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import uuid
from itertools import count
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from cloudchat_cli.api import Api
from cloudchat_cli.operating import Options, Pace, perform
from cloudchat_cli.output import Exit, Failure
from cloudchat_cli.serving import serving
from cloudchat_core.clock import ManualClock
from cloudchat_core.commands import Create
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.node import Node
from cloudchat_engine.providers.simulated import SimulatedProvider
from cloudchat_engine.timers import ManualTimer
from cloudchat_transports.access import Access
from cloudchat_transports.listener import bind
from tests.cli.here import run_here
from tests.cli.program import COMMAND, PATIENCE, Program, Server, run
from tests.cli.terminal import Terminal
from tests.clocks import FAKED
from tests.faults.harness import needs
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

WAITING: Options = {"wait": True, "timeout": 60, "transport": "auto", "output": "table"}
NEVER = "00000000-0000-4000-8000-000000000000"


def create(server: Server, *options: str) -> str:
    made = server.run("instances", "create", *options)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_create_waits_and_prints_nothing_but_the_id(server: Server) -> None:
    made = server.run("instances", "create", "--name", "web-1")
    assert made.returncode == 0
    (line,) = made.stdout.splitlines()
    assert str(uuid.UUID(line)) == line
    assert f"create {line}: created" in made.stderr


def test_the_list_has_id_and_state_first(server: Server) -> None:
    name = create(server, "--name", "web-2")
    listed = json.loads(server.run("instances", "list", "-o", "json").stdout)
    assert all(list(one)[:2] == ["id", "state"] for one in listed)
    (own,) = (one for one in listed if one["id"] == name)
    assert (own["state"], own["name"]) == ("stopped", "web-2")
    table = server.run("instances", "list").stdout
    assert re.search(rf"^ID +STATE.*\n(.*\n)*{name} +stopped +web-2", table)


def test_start_stop_and_remove_wait_for_their_end(server: Server) -> None:
    name = create(server)
    for command, state in (("start", "running"), ("stop", "stopped"), ("start", "running")):
        done = server.run("instances", command, name, "-o", "json")
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (list(told)[:2], told["state"]) == (["id", "state"], state)
    removed = server.run("instances", "remove", name, "--yes")
    assert (removed.returncode, removed.stdout) == (0, "")
    assert name not in server.run("instances", "list").stdout


def test_the_first_characters_of_an_id_are_enough_where_no_other_begins_so(
    server: Server,
) -> None:
    name = create(server)
    assert server.run("instances", "start", name[:13].upper()).returncode == 0


@pytest.mark.parametrize(("named", "code"), [("ffffffff-ffff", 5), (NEVER, 5), ("abc", 2), ("", 2)])
def test_an_id_that_is_nobodys_ends_with_its_own_code(
    server: Server, named: str, code: int
) -> None:
    ended = server.run("instances", "stop", named)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert len(ended.stderr.splitlines()) == 1


def test_a_wrong_state_and_an_operation_under_way_end_with_their_own_code(server: Server) -> None:
    name = create(server)
    wrong = server.run("instances", "stop", name)
    assert wrong.returncode == 6
    assert "instance_state" in wrong.stderr
    with Server("--log", "memory:") as slow:
        busy = create(slow, "--no-wait")
        refused = slow.run("instances", "start", busy)
        assert refused.returncode == 6
        assert "instance_busy" in refused.stderr


def test_without_waiting_it_prints_the_id_at_once(server: Server) -> None:
    with Server("--log", "memory:") as slow:
        name = create(slow, "--no-wait")
        assert str(uuid.UUID(name)) == name
        accepted = json.loads(slow.run("instances", "create", "--no-wait", "-o", "json").stdout)
        assert "state" not in accepted
        assert accepted["operation"]["command"] == "create"
        assert json.loads(slow.run("instances", "list", "-o", "json").stdout) == []


def test_a_failed_operation_ends_with_its_own_code_and_the_providers_reason(
    server: Server,
) -> None:
    failed = server.run("instances", "create", "--spec", '{"fail": "create"}')
    assert (failed.returncode, failed.stdout) == (7, "")
    assert "simulated_failure" in failed.stderr


def test_an_operation_that_is_not_done_in_time_goes_on(server: Server) -> None:
    with (
        Server("--log", "memory:", "--provider", "simulated:?duration=1.5") as slow,
        slow.chat("Ann") as ann,
    ):
        late = slow.run("instances", "create", "--timeout", "0.1")
        assert (late.returncode, late.stdout) == (8, "")
        assert "it goes on; to see how it ends: cloudchat operations get " in late.stderr
        ann.until(r": created$")


def test_nobody_there_ends_with_its_own_code_and_says_how_to_start_a_server() -> None:
    gone = run("instances", "list", "--server", "http://127.0.0.1:1")
    assert (gone.returncode, gone.stdout) == (9, "")
    assert "http://127.0.0.1:1" in gone.stderr
    assert "cloudchat serve" in gone.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--server", "localhost:8000"),
        ("list", "--server", "http://x:port"),
        ("list", "--server", "http://\udcff"),
        ("list", "-o", "yaml"),
        ("create", "--spec", "[1]"),
        ("create", "--spec", "{"),
        ("create", "--timeout", "0"),
        ("start",),
        ("nothing",),
    ],
)
def test_wrong_usage_ends_with_its_own_code(arguments: tuple[str, ...]) -> None:
    assert run_here("instances", *arguments).exit_code == 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_wait_ends_as_shells_expect(number: signal.Signals, code: int) -> None:
    with (
        Server("--log", "memory:") as slow,
        Program("instances", "create", CLOUDCHAT_SERVER=slow.url) as waiting,
    ):
        waiting.until(": 0 s of about 20 s")
        waiting.signal(number)
        assert waiting.ended() == code
        assert waiting.lines == []
        errors = "\n".join(waiting.errors)
        assert "Traceback" not in errors
        (operation,) = re.findall(
            "goes on; .*: cloudchat operations get (.*)$", errors, re.MULTILINE
        )
        known = json.loads(slow.run("operations", "get", operation, "-o", "json").stdout)
        assert (known["command"], known["done"]) == ("create", False)


def test_an_interrupt_before_the_answer_says_that_nothing_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Program("instances", "create", CLOUDCHAT_SERVER=url) as waiting:
            connection, _ = silent.accept()
            with connection:
                assert connection.recv(4) == b"POST"
                waiting.signal(signal.SIGINT)
                assert waiting.ended() == 130
                assert "`cloudchat operations list` shows it" in "\n".join(waiting.errors)


def test_a_wait_survives_the_death_of_the_server(tmp_path: Path) -> None:
    """The operation ends while the client is away; it learns of it from the feed, after its cursor."""
    needs("faketime", "-f", "+1m", "true")
    options, port = ("--log", f"sqlite:{tmp_path / 'log'}"), free_port()
    with (
        Server(*options, port=port) as server,
        Program("instances", "create", CLOUDCHAT_SERVER=server.url) as waiting,
    ):
        waiting.until(": 0 s of about 20 s")
        server.signal(signal.SIGKILL)
        server.ended()
        waiting.until("trying again")
        # To the next server the twenty seconds are over.
        with Server(*options, port=port, **FAKED, FAKETIME="+1m") as again:
            assert waiting.ended() == 0, waiting.errors
            (name,) = waiting.lines
            assert name in again.run("instances", "list").stdout


def test_without_a_terminal_nothing_is_removed_unless_it_is_meant(server: Server) -> None:
    name = create(server)
    refused = server.run("instances", "remove", name, text="y\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--yes" in refused.stderr
    assert server.run("instances", "get", name).returncode == 0


@pytest.mark.parametrize("answer", ["n", ""])
def test_at_a_terminal_nothing_is_removed_without_consent(server: Server, answer: str) -> None:
    name = create(server, "--name", "precious")
    with Terminal("instances", "remove", name[:20], "--server", server.url) as terminal:
        terminal.until(rf"remove precious \({name}\), which is stopped\? \[y/N\]: ")
        terminal.type(answer)
        code, shown = terminal.ended()
        assert (code, shown.splitlines()[-1]) == (1, "cloudchat: nothing was done")
    assert server.run("instances", "get", name).returncode == 0


def test_at_a_terminal_an_instance_is_removed_with_consent_or_without_a_question(
    server: Server,
) -> None:
    for arguments in ((), ("--yes",)):
        name = create(server)
        command = ("instances", "remove", name, *arguments, "--server", server.url)
        with Terminal(*command) as terminal:
            if not arguments:
                terminal.until("y/N")
                terminal.type("y")
            code, shown = terminal.ended()
            assert code == 0
            assert f"{name}: removed" in shown
            assert ("y/N" in shown) is False
        assert server.run("instances", "get", name).returncode == 5


def test_tables_have_colours_at_a_terminal_unless_they_are_not_wanted(server: Server) -> None:
    assert server.run("instances", "start", create(server)).returncode == 0
    command = ("instances", "list", "--server", server.url)
    for no_color, coloured in (("", True), ("1", False)):
        with Terminal(*command, NO_COLOR=no_color) as terminal:
            code, shown = terminal.ended()
            assert code == 0
            assert "running" in shown
            assert ("\x1b[32m" in shown) is coloured


def test_whoever_stops_reading_gets_no_traceback(server: Server) -> None:
    create(server)
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [COMMAND, "instances", "list", "--server", server.url],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=PATIENCE,
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
class TestTwentySeconds:
    """The simulated provider's twenty seconds, played by a clock that a test moves."""

    async def play(self, options: Options) -> None:
        clock = ManualClock()
        timer, ids = ManualTimer(clock), count()
        node = Node(
            MemoryLog(),
            SimulatedProvider(timer),
            clock=clock,
            timer=timer,
            new_id=lambda: f"00000000-0000-4000-8000-{next(ids):012}",
            new_epoch=lambda: "k3f9",
        )
        with trio.fail_after(PATIENCE):
            async with (
                serving(node, bind("127.0.0.1", 0), Access()) as listener,
                Api(f"http://127.0.0.1:{listener.port}") as api,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(perform, api, Create("c1"), options, Pace(clock, timer))
                while not node.state.operations:
                    await wait_all_tasks_blocked()
                while nursery.child_tasks:
                    await wait_all_tasks_blocked(0.01)
                    clock.advance(1)

    async def test_create_waits_for_twenty_seconds_with_progress(
        self, capsys: pytest.CaptureFixture[str], anyio_backend: str
    ) -> None:
        await self.play(WAITING)
        printed = capsys.readouterr()
        assert printed.out == "00000000-0000-4000-8000-000000000000\n"
        told = re.findall(r": (\d+) s of about 20 s", printed.err)
        assert told == ["0", "5", "10", "15"] + ["20"] * (len(told) - 4)
        assert printed.err.splitlines()[-1].endswith(": created")

    async def test_the_timeout_goes_by_the_same_clock(
        self, capsys: pytest.CaptureFixture[str], anyio_backend: str
    ) -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await self.play({**WAITING, "timeout": 10})
        (failure,) = leaves(caught.value)
        assert isinstance(failure, Failure)
        assert failure.code is Exit.TIMEOUT
        assert capsys.readouterr().out == ""
