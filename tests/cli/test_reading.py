"""What is read: messages, the worklog, events, operations, instances; once, or as it happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from cloudchat_cli.api import Api
from cloudchat_cli.following import write_events
from cloudchat_cli.shapes import EVENT, Stream
from cloudchat_core.client_session import Snapshot
from cloudchat_core.events import Message
from cloudchat_core.frames import Gap
from tests.cli.here import run_here
from tests.cli.program import COMMAND, PATIENCE, Program, Server, clean, run
from tests.ports import free_port
from tests.specs.generated import CONTRACT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from cloudchat_transports.client import Item

QUICK = ("--log", "memory:", "--provider", "simulated:?duration=0.1")


@pytest.fixture(scope="module")
def busy() -> Iterator[Server]:
    """A server where three things were said, an instance was created and started, and nothing else will happen."""
    with Server(*QUICK) as server:
        for text in ("one", "two\nlines", "three"):
            assert server.run("say", "--as", "Ann", text).returncode == 0
        name = server.run("instances", "create", "--name", "web-1").stdout.strip()
        assert server.run("instances", "start", name).returncode == 0
        yield server


def rows(text: str) -> list[list[str]]:
    return [re.split(r"  +", line) for line in text.splitlines()]


def read(server: Server, *arguments: str) -> Any:
    told = server.run(*arguments, "-o", "json")
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


LISTS = {
    "messages": "cursor",
    "worklog": "cursor",
    "events": "cursor",
    "operations list": "id",
    "instances list": "id",
}


@pytest.mark.parametrize("command", LISTS)
def test_every_list_has_the_same_four_shapes(busy: Server, command: str) -> None:
    arguments, name = command.split(), LISTS[command]
    listed = read(busy, *arguments)
    assert listed
    lines = busy.run(*arguments, "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == listed
    names = busy.run(*arguments, "-o", "name").stdout.splitlines()
    assert names == [one[name] for one in listed]
    header, *table = rows(busy.run(*arguments).stdout)
    assert name.upper() in header
    column = header.index(name.upper())
    assert [row[column] for row in table] == names


@pytest.mark.parametrize("kind", ["instances", "operations"])
def test_one_thing_has_the_same_shapes_and_is_an_object_as_json(busy: Server, kind: str) -> None:
    one = read(busy, kind, "list")[0]
    assert read(busy, kind, "get", one["id"]) == one
    assert json.loads(busy.run(kind, "get", one["id"], "-o", "jsonl").stdout) == one
    assert busy.run(kind, "get", one["id"], "-o", "name").stdout == f"{one['id']}\n"
    _, row = rows(busy.run(kind, "get", one["id"]).stdout)
    assert row[0] == one["id"]


def test_messages_come_oldest_first_and_page_by_page(busy: Server) -> None:
    newest = read(busy, "messages", "--limit", "2")
    assert [one["text"] for one in newest] == ["two\nlines", "three"]
    (before,) = read(busy, "messages", "--before", newest[0]["cursor"])
    assert before["text"] == "one"
    assert "two ↵ lines" in busy.run("messages").stdout


def test_more_is_read_than_one_answer_of_the_server_holds() -> None:
    limits = ("commands_per_second=0", "window=1000", "page=100")
    with Server(
        "--log", "memory:", *(word for each in limits for word in ("--limit", each))
    ) as server:
        text = "\n".join(str(number) for number in range(450))
        assert server.run("chat", "Ann", text=text).returncode == 0
        told = [one["text"] for one in read(server, "messages", "--limit", "420")]
        assert told == [str(number) for number in range(30, 450)]
        oldest = read(server, "messages", "--limit", "1000")[0]["cursor"]
        events = read(server, "events", "--after", oldest)
        told = [one["text"] for one in events if one["type"] == "message"]
        assert told == [str(number) for number in range(1, 450)]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_what_happens_between_two_pages_comes_after_the_cursor_of_the_first(
    anyio_backend: str,
) -> None:
    """A feed goes on from that cursor; from the second page's it would miss what neither page has."""
    pages = [(b'"k3f9-9"', b"k3f9-5"), (b'"k3f9-10"', b"null")]

    async def answer(stream: trio.SocketStream) -> None:
        while await stream.receive_some():
            etag, following = pages.pop(0)
            body = b'{"items":[],"next":%b}' % following.replace(b"k3f9-5", b'"k3f9-5"')
            await stream.send_all(
                b"HTTP/1.1 200 OK\r\netag: %b\r\ncontent-length: %d\r\n\r\n%b"
                % (etag, len(body), body)
            )

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with Api(f"http://127.0.0.1:{port}") as api:
            assert await api.newest("worklog", 100) == ([], "k3f9-9")
        nursery.cancel_scope.cancel()
    assert not pages


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_after_a_gap_nothing_is_printed_twice(
    capsys: pytest.CaptureFixture[str], anyio_backend: str
) -> None:
    """The snapshot that follows a gap shows events of the same epoch that were printed before."""
    said = [
        Message(f"k3f9-{place}", "2026-11-23T10:06:12.000Z", "Ann", "hello", str(place))
        for place in range(1, 6)
    ]

    async def items() -> AsyncIterator[Item]:
        yield Snapshot("k3f9-2", messages=tuple(said[:2]))
        yield said[2]
        yield Gap("k3f9-3", "retention")
        yield Snapshot("k3f9-4", messages=tuple(said[1:3]), more=True)
        yield Snapshot("k3f9-4", messages=tuple(said[3:4]))
        yield said[4]

    await write_events(Stream(EVENT, "name"), items())
    assert capsys.readouterr().out.split() == [one.cursor for one in said]


def test_events_go_on_after_a_cursor_and_by_topic(busy: Server) -> None:
    listed = read(busy, "events")
    kinds = ["message"] * 3 + ["received", "created", "received", "started"]
    assert [one["type"] for one in listed] == kinds
    after = ("--after", listed[1]["cursor"])
    assert read(busy, "events", *after) == listed[2:]
    assert read(busy, "events", *after, "--topic", "chat") == [listed[2]]
    assert read(busy, "events", "--topic", "instances") == listed[3:]
    assert read(busy, "events", "--after", listed[-1]["cursor"]) == []
    assert read(busy, "worklog", "--limit", "3") == listed[4:]


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "--after", "nowhere-1"),
        ("messages", "--before", "nowhere-1"),
        ("operations", "get", "none"),
        ("operations", "get", ""),
        ("operations", "get", "../instances"),
        ("instances", "get", "00000000-0000-4000-8000-000000000000"),
        ("instances", "watch", "00000000-0000-4000-8000-000000000000"),
    ],
)
def test_what_is_not_there_ends_with_its_own_code(busy: Server, arguments: tuple[str, ...]) -> None:
    ended = busy.run(*arguments)
    assert (ended.returncode, ended.stdout) == (5, "")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("events", "--follow", "-o", "json"),
        ("worklog", "--follow", "-o", "json"),
        ("instances", "watch", "-o", "json"),
        ("messages", "--limit", "0"),
        ("events", "--topic", "weather"),
    ],
)
def test_wrong_usage_ends_with_its_own_code(arguments: tuple[str, ...]) -> None:
    assert run_here(*arguments).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [("events",), ("events", "-f"), ("worklog",), ("operations", "list"), ("instances", "watch")],
)
def test_nobody_there_ends_with_its_own_code(arguments: tuple[str, ...]) -> None:
    ended = run(*arguments, "--server", "http://127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (9, "")
    assert "cloudchat serve" in ended.stderr


def following(server: Server, *arguments: str) -> Program:
    return Program(*arguments, CLOUDCHAT_SERVER=server.url)


def test_events_are_followed_from_the_newest_on_until_an_interrupt(server: Server) -> None:
    assert server.run("say", "--as", "Ann", "before").returncode == 0
    with following(server, "events", "--follow", "-o", "jsonl") as events:
        events.until('"before"')
        assert server.run("say", "--as", "Ann", "afterwards").returncode == 0
        events.until('"afterwards"')
        events.signal(signal.SIGINT)
        assert events.ended() == 130
        for line in events.lines:
            CONTRACT.frame("ws", json.loads(line))
        told = [json.loads(line)["cursor"] for line in events.lines]
        assert len(set(told)) == len(told)
        assert "".join(events.errors) == ""


@pytest.mark.parametrize("transport", ["ws", "sse", "poll", "auto"])
def test_everything_that_follows_takes_any_transport(server: Server, transport: str) -> None:
    over = ("--transport", transport)
    with (
        following(server, "events", "-f", *over) as events,
        following(server, "worklog", "-f", *over) as worklog,
        following(server, "instances", "watch", *over) as watch,
        following(server, "chat", f"Over {transport}", *over) as chat,
    ):
        chat.until(" here: ")
        chat.type("hello")
        chat.until(" You: hello$")
        events.until(f" Over {transport} +hello$")
        made = server.run("instances", "create", *over)
        assert made.returncode == 0, made.stderr
        name = made.stdout.strip()
        for each in (events, worklog):
            each.until(f" created .* create {name}$")
        watch.until(f"^{name} +stopped")


def test_a_restart_of_the_server_neither_doubles_nor_loses_an_event(tmp_path: Path) -> None:
    options = ("--log", f"sqlite:{tmp_path / 'log'}")
    port = free_port()
    with (
        Server(*options, port=port) as server,
        following(server, "events", "-f", "--topic", "chat") as events,
    ):
        server.run("say", "--as", "Ann", "the first")
        events.until("the first$")
        server.signal(signal.SIGKILL)
        server.ended()
        events.until("trying again$")
        with Server(*options, port=port) as again:
            events.until("back again$")
            again.run("say", "--as", "Ann", "the second")
            events.until("the second$")
            texts = [row[-1] for row in rows("\n".join(events.lines))]
            assert texts == ["WHAT", "the first", "the second"]


def test_a_gap_is_said_and_what_is_there_is_printed() -> None:
    with Server("--log", "memory:") as server:
        server.run("say", "--as", "Ann", "kept")
        with following(server, "events", "-f", "--after", "nowhere-1", "-o", "jsonl") as events:
            for _ in ("on stderr", "on stdout"):  # nobody knows which of the two is read first
                events.until('cannot be had|"kept"')
            assert events.errors == ["what came after 'nowhere-1' cannot be had (epoch)"]
            (line,) = events.lines
            assert json.loads(line)["text"] == "kept"


def test_the_worklog_is_followed_without_a_hole(server: Server) -> None:
    """What is printed first and what is followed meet at one cursor."""
    assert server.run("instances", "create").returncode == 0
    with following(server, "worklog", "-f", "--limit", "2", "-o", "jsonl") as worklog:
        worklog.until('"created"')
        assert server.run("say", "--as", "Ann", "not a matter of instances").returncode == 0
        name = server.run("instances", "create").stdout.strip()
        worklog.until(f'"type":"received".*{name}')
        worklog.until(f'"type":"created".*{name}')
        kinds = [json.loads(line)["type"] for line in worklog.lines]
        assert kinds == ["received", "created"] * 2


def test_an_instance_is_watched_until_it_is_removed(server: Server) -> None:
    name = server.run("instances", "create", "--name", "watched").stdout.strip()
    with (
        following(server, "instances", "watch", name[:20], "-o", "jsonl") as watch,
        following(server, "instances", "watch") as all_of_them,
    ):
        watch.until('"stopped"')
        all_of_them.until(f"^{name} +stopped +watched")
        assert server.run("instances", "create").returncode == 0
        assert server.run("instances", "start", name).returncode == 0
        all_of_them.until(f"^{name} +stopped +watched .* start$")
        all_of_them.until(f"^{name} +running +watched [^s]*$")
        assert server.run("instances", "remove", name, "--yes").returncode == 0
        all_of_them.until(f"^{name} +removed +watched")
        assert watch.ended() == 0
        told = [json.loads(line) for line in watch.lines]
        assert {one["id"] for one in told} == {name}
        seen = [(one["state"], one.get("operation", {}).get("command")) for one in told]
        assert seen == [
            ("stopped", None),
            ("stopped", "start"),
            ("running", None),
            ("running", "remove"),
            ("removed", None),
        ]


def test_other_peoples_texts_are_shown_and_not_obeyed() -> None:
    with Server(*QUICK) as server:
        assert server.run("say", "--as", "Eve", "a\u202eb").returncode == 0
        for command in ("messages", "events"):
            assert "a\N{REPLACEMENT CHARACTER}b" in server.run(command).stdout


def test_output_that_cannot_be_written_is_a_failure_of_one_line(busy: Server) -> None:
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [COMMAND, "messages", "--server", busy.url],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    assert ended.returncode == 1
    assert ended.stderr == "cloudchat: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    "arguments", [("messages",), ("events", "-f"), ("completion", "zsh"), ("version",)]
)
def test_whoever_stops_reading_hears_nothing_more(busy: Server, arguments: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [COMMAND, *arguments],
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
        timeout=PATIENCE,
        env={**clean(), "CLOUDCHAT_SERVER": busy.url},
    )
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, b"")


def test_version_is_the_packages() -> None:
    assert json.loads(run("version", "-o", "json").stdout)["cloudchat"] == version("cloudchat")
    assert run("version", "-o", "name").stdout == f"cloudchat {version('cloudchat')}\n"
