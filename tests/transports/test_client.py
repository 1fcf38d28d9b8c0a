"""Our client against a server that a test has in its hand: what it says, what it survives, when it gives up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cloudchat_core.client_session import Snapshot, Uncertain
from cloudchat_core.commands import Say
from cloudchat_core.events import Message
from cloudchat_core.frames import Gap, Welcome
from cloudchat_transports.client import (
    BACKLOG,
    Client,
    CommandRefusedError,
    CommandUncertainError,
    ConnectionEndedError,
    Disconnected,
    Item,
    NicknameLost,
)
from cloudchat_transports.client_transport import RejectedError, UnreachableError
from tests.ports import free_port
from tests.transports.peer import AT, Link, Peer, listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with listening() as peer:
        yield peer


def client_of(peer: Peer, **options: Any) -> Client:
    """A client whose ids are c1, c2, … and that comes back as soon as it may."""
    ids = count(1)
    options.setdefault("transport", "ws")
    return Client(peer.url, new_id=lambda: f"c{next(ids)}", jitter=lambda: 0, **options)


@asynccontextmanager
async def during(script: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Run the server's part beside the body, to its end."""
    failure: list[Exception] = []
    ended = anyio.Event()

    async def run() -> None:
        try:
            await script()
        except Exception as error:  # noqa: BLE001 - it is raised below, without a group around it
            failure.append(error)
        ended.set()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield
            await ended.wait()
    if failure:
        raise failure[0]


async def until(client: Client, kind: type[Item]) -> Any:
    """The next item of a kind."""
    async for item in client:
        if isinstance(item, kind):
            return item
    raise AssertionError("a client's items have no end")


def message(offset: int, text: str = "hello") -> dict[str, Any]:
    return {
        "type": "message",
        "cursor": f"e-{offset}",
        "at": AT,
        "nickname": "Bob",
        "text": text,
        "ref": f"b{offset}",
    }


async def test_it_joins_says_and_leaves_at_once(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        assert link.request.subprotocols == ["cloudchat.v1"]
        assert link.query == {}
        await link.let_in()
        say = await link.command()
        assert say == {"type": "say", "id": "c2", "text": "hello", "nickname": None}
        await link.ack(say)
        assert await link.closed() == 1000

    async with during(server), client_of(peer, nickname="Ann") as client:
        assert client.connected
        assert client.nickname == "Ann"
        ack = await client.say("hello")
        assert (ack.id, ack.cursor) == ("c2", "e-1")


async def test_without_a_nickname_it_follows_and_operates_without_a_join(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        assert link.query == {"after": "e-7", "topics": "instances"}
        for kind in ("create", "start", "stop", "remove", "ping", "redact"):
            command = await link.command()
            assert command["type"] == kind
            await link.ack(command)
        await link.closed()

    async with during(server), client_of(peer, after="e-7", topics=["instances"]) as client:
        await client.create("web-1", {"size": 1})
        await client.start("i1")
        await client.stop("i1")
        await client.remove("i1")
        await client.ping()
        await client.redact("e-3")


async def test_headers_go_with_every_connection(peer: Peer) -> None:
    async def server() -> None:
        for _ in range(2):
            link = await peer.welcome()
            assert (b"authorization", b"Bearer x") in link.request.extra_headers
            assert link.request.host == f"127.0.0.1:{peer.port}"
            await link.drop()
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer, headers={"Authorization": "Bearer x"}) as client:
        for _ in range(3):
            await until(client, Welcome)


async def test_what_is_unanswered_when_the_connection_breaks_is_sent_again_in_order(
    peer: Peer,
) -> None:
    async def server() -> None:
        link = await peer.welcome()
        join = await link.let_in()
        await link.tell(**message(4))
        sent = [await link.command(), await link.command()]
        await link.drop()
        link = await peer.welcome()
        assert link.query["after"] == "e-4"
        again = await link.let_in(resumed=True)
        assert again["token"] == join["token"]
        assert again["id"] != join["id"]
        assert [await link.command(), await link.command()] == sent
        for command in sent:
            await link.ack(command)
        await link.closed()

    async with during(server), client_of(peer, nickname="Ann") as client:
        await until(client, Message)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.say, "one")
            tasks.start_soon(client.say, "two")


async def test_what_a_server_that_forgot_the_token_was_sent_is_uncertain(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.let_in()
        await link.command()
        await link.drop()
        link = await peer.welcome()
        await link.let_in(resumed=False)
        await link.closed()

    async with during(server), client_of(peer, nickname="Ann") as client:
        with pytest.raises(CommandUncertainError):
            await client.say("hello")
        assert await until(client, Uncertain) == Uncertain(Say("c2", "hello"))


async def test_a_refused_command_raises_what_the_server_said(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.refuse(await link.command(), "nickname_taken", suggestions=["Ann2"])
        await link.refuse(await link.command(), "rate_limited", retry_after=2)
        await link.let_in()
        await link.closed()

    async with during(server), client_of(peer, token="t" * 22) as client:
        with pytest.raises(CommandRefusedError) as caught:
            await client.join("Ann")
        assert caught.value.code == "nickname_taken"
        assert caught.value.refusal.suggestions == ("Ann2",)
        # A rate says nothing about the nickname: it is asked for again.
        await client.join("Ann2")
        assert client.nickname == "Ann2"


async def test_a_nickname_that_is_refused_at_the_entrance_leaves_nothing_behind(
    peer: Peer,
) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.refuse(await link.command(), "nickname_reserved")
        assert await link.closed() == 1000

    async with during(server):
        with pytest.raises(CommandRefusedError):
            async with client_of(peer, nickname="admin"):
                raise AssertionError("nobody gets in")


async def test_a_nickname_that_somebody_took_meanwhile_is_told_and_another_goes_on(
    peer: Peer,
) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.let_in()
        await link.drop()
        link = await peer.welcome()
        await link.refuse(await link.command(), "nickname_taken")
        assert (await link.let_in(resumed=True))["nickname"] == "Anna"
        await link.closed()

    async with during(server), client_of(peer, nickname="Ann") as client:
        lost = await until(client, NicknameLost)
        assert lost.refusal.code == "nickname_taken"
        assert client.nickname == ""
        await client.join("Anna")
        assert client.nickname == "Anna"


async def test_what_the_server_cannot_do_for_the_moment_is_sent_again_with_the_same_id(
    peer: Peer,
) -> None:
    async def server() -> None:
        link = await peer.welcome()
        first = await link.command()
        await link.refuse(first, "unavailable")
        again = await link.command()
        assert again == first
        await link.ack(again)
        await link.closed()

    async with during(server), client_of(peer) as client:
        await client.create()


async def test_being_cancelled_does_not_undo_a_command(peer: Peer) -> None:
    sent = anyio.Event()

    async def server() -> None:
        link = await peer.welcome()
        first = await link.command()
        sent.set()
        second = await link.command()
        assert (first["text"], second["text"]) == ("one", "two")
        await link.ack(first)
        await link.ack(second)
        await link.closed()

    async with during(server), client_of(peer) as client:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.say, "one")
            await sent.wait()
            tasks.cancel_scope.cancel()
        await client.say("two")


async def test_a_planned_restart_says_when_to_come_back(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.tell(type="closing", retry_after=0.01)
        await link.close(1012)
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer) as client:
        assert (await until(client, Disconnected)).retry_in == 0.01
        await until(client, Welcome)


async def test_a_restart_that_asks_for_no_wait_gets_the_clients_own(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.tell(type="closing", retry_after=0)
        await link.close(1012)
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer) as client:
        assert (await until(client, Disconnected)).retry_in > 0
        await until(client, Welcome)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 4001, 4499])
async def test_after_most_ends_it_comes_back(peer: Peer, code: int) -> None:
    async def server() -> None:
        await (await peer.welcome()).close(code)
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer) as client:
        assert str(code) in (await until(client, Disconnected)).why
        await until(client, Welcome)


@pytest.mark.parametrize("code", [4500, 4501, 4999])
async def test_who_is_told_not_to_come_back_does_not(peer: Peer, code: int) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.command()
        await link.close(code)

    async with during(server), client_of(peer) as client:
        with pytest.raises(ConnectionEndedError) as caught:
            await client.say("hello")
        assert caught.value.close_code == code
        with pytest.raises(ConnectionEndedError):
            await until(client, Disconnected)
        with pytest.raises(ConnectionEndedError):
            await client.say("hello")


async def test_nobody_there_is_said_with_the_address(peer: Peer) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(UnreachableError, match=url):
        async with Client(url):
            raise AssertionError("there is no server")


@pytest.mark.parametrize("data", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_something_else_there_is_no_server(peer: Peer, data: bytes) -> None:
    async def server() -> None:
        await peer.hang_up(data)

    async with during(server):
        with pytest.raises(UnreachableError, match="no cloudchat server"):
            async with client_of(peer):
                raise AssertionError("there is no server")


async def test_a_refused_handshake_is_told_in_the_servers_words(peer: Peer) -> None:
    async def server() -> None:
        await peer.reject(403, b'{"code":"forbidden","detail":"not from here"}')

    async with during(server):
        with pytest.raises(RejectedError, match="not from here") as caught:
            async with client_of(peer):
                raise AssertionError("nobody gets in")
    assert (caught.value.status, caught.value.final) == (403, True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"title":"x"}', b"\xff"])
async def test_a_proxys_own_error_is_told_by_its_status(peer: Peer, body: bytes) -> None:
    async def server() -> None:
        await peer.reject(502, body)

    async with during(server):
        with pytest.raises(RejectedError, match="502") as caught:
            async with client_of(peer):
                raise AssertionError("nobody gets in")
    assert not caught.value.final


async def test_a_patient_client_waits_for_a_server_that_is_not_there_yet(peer: Peer) -> None:
    async def server() -> None:
        await peer.hang_up()
        await peer.reject(503, b"", (b"retry-after", b"0"))
        await peer.reject(429, b"", (b"retry-after", b"soon"))
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer, patient=True) as client:
        assert not client.connected
        assert "no cloudchat server" in (await until(client, Disconnected)).why
        # Neither "at once" nor what is no number is taken as it is.
        assert (await until(client, Disconnected)).retry_in > 0
        assert (await until(client, Disconnected)).retry_in > 0
        await until(client, Welcome)


async def test_a_patient_client_does_not_wait_for_a_server_that_will_never_let_it_in(
    peer: Peer,
) -> None:
    async def server() -> None:
        await peer.reject(404, b"")

    async with during(server), client_of(peer, patient=True) as client:
        with pytest.raises(RejectedError):
            await until(client, Disconnected)


async def test_a_silent_server_is_lost(peer: Peer) -> None:
    async def server() -> None:
        silent = await peer.welcome(heartbeat=0.01)
        await (await peer.welcome()).closed()
        await silent.drop()

    async with during(server), client_of(peer) as client:
        assert "silent" in (await until(client, Disconnected)).why
        await until(client, Welcome)


@pytest.mark.parametrize(
    "garbage", [b"\x81\x02{]", b"\x81\x04null", b"\x82\x01\xff", b"\x83\x00", b"\x81\x02\xff\xff"]
)
async def test_a_server_that_talks_nonsense_is_left_and_tried_again(
    peer: Peer, garbage: bytes
) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.raw(garbage)
        await (await peer.welcome()).closed()
        await link.drop()

    async with during(server), client_of(peer) as client:
        await until(client, Disconnected)
        await until(client, Welcome)


async def test_frames_come_in_pieces_pings_are_answered_and_unknown_types_ignored(
    peer: Peer,
) -> None:
    async def server() -> None:
        link = await peer.accept(frames=3)
        await link.tell(type="welcome", **WELCOME_FIELDS)
        await link.ping(b"are you there")
        assert await link.ponged() == b"are you there"
        await link.tell(type="sparkles", cursor="e-99")
        await link.tell(**message(1, "in pieces, один"))
        await link.closed()

    async with during(server), client_of(peer) as client:
        assert (await until(client, Message)).text == "in pieces, один"
        assert client.cursor == "e-1"


WELCOME_FIELDS = {
    "protocol": "cloudchat.v1",
    "feed": "f",
    "cursor": "e-0",
    "at": AT,
    "heartbeat": 60,
    "limits": {"text": 4096, "nickname": 32, "frame": 65536, "unanswered": 2},
}


async def test_a_frame_without_an_end_is_not_collected_for_ever(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.text("x" * 1_100_000)
        assert await link.closed() == 1009
        await (await peer.welcome()).closed()

    async with during(server), client_of(peer) as client:
        await until(client, Disconnected)
        await until(client, Welcome)


async def test_gaps_and_snapshots_are_handed_on_and_move_the_cursor(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.tell(type="gap", after="e-3", reason="retention")
        await link.tell(type="snapshot", cursor="e-9", messages=[message(8)], more=True)
        await link.tell(type="snapshot", cursor="e-9")
        await link.tell(type="heartbeat", cursor="e-12", at=AT)
        await link.ack(await link.command())
        await link.closed()

    async with during(server), client_of(peer) as client:
        assert await until(client, Gap) == Gap("e-3", "retention")
        assert (await until(client, Snapshot)).more
        assert not (await until(client, Snapshot)).more
        await client.ping()
        assert client.cursor == "e-12"


async def test_who_is_not_listened_to_stops_reading_but_answers_still_come(peer: Peer) -> None:
    total = 12 * BACKLOG
    all_told = anyio.Event()

    async def server() -> None:
        link = await peer.welcome()

        async def talk() -> None:
            for offset in range(1, total + 1):
                await link.tell(**message(offset, "x" * 1_000))
            all_told.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk)
            command = await link.command()
        await link.ack(command)
        await link.closed()

    async with during(server), client_of(peer) as client:
        # Nobody takes anything: the server gets rid of what fits into buffers, and no more.
        with anyio.move_on_after(1):
            await all_told.wait()
        assert not all_told.is_set()
        await client.ping()
        assert all_told.is_set()
        seen = [item.cursor async for item in taken(client, total)]
        assert seen == [f"e-{offset}" for offset in range(1, total + 1)]


async def taken(client: Client, number: int) -> AsyncIterator[Message]:
    async for item in client:
        if isinstance(item, Message):
            yield item
            number -= 1
            if not number:
                return


async def test_no_more_commands_are_on_their_way_than_the_server_remembers(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.accept()
        await link.tell(type="welcome", **WELCOME_FIELDS)
        first, second = await link.command(), await link.command()
        await link.ping(b"")
        await link.ponged()
        await link.ack(first)
        third = await link.command()
        for command in (second, third):
            await link.ack(command)
        await link.closed()

    async with during(server), client_of(peer) as client, anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(client.ping)


async def test_what_the_body_raises_comes_out_as_it_is(peer: Peer) -> None:
    async def server() -> None:
        assert await (await peer.welcome()).closed() == 1000

    async with during(server):
        with pytest.raises(ZeroDivisionError):
            async with client_of(peer):
                raise ZeroDivisionError


async def test_a_client_that_is_closed_says_so_to_who_still_waits(peer: Peer) -> None:
    async def server() -> None:
        link = await peer.welcome()
        await link.command()
        await link.closed()

    async with during(server), anyio.create_task_group() as tasks, client_of(peer) as client:

        async def wait() -> None:
            with pytest.raises(Exception, match="closed"):
                await client.ping()

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await client.aclose()


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://x", "http://", "http://x:99999"])
def test_what_is_no_address_is_refused_before_anything_is_tried(url: str) -> None:
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        Client(url)


def test_a_path_stands_before_that_of_the_protocol(anyio_backend_name: str) -> None:
    async def main() -> None:
        async with listening() as peer:

            async def server() -> None:
                link: Link = await peer.welcome()
                assert link.request.target == "/ops/v1/ws?topics=chat,instances"
                await link.closed()

            async with during(server), Client(f"{peer.url}/ops/", topics=("chat", "instances")):
                pass

    anyio.run(main, backend=anyio_backend_name)
