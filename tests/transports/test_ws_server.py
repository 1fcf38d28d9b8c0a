"""What a WebSocket client meets: the handshake, the feed, answers, and how connections end."""

from __future__ import annotations

import random
import socket
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked
from websockets.sync.client import connect as stock_connect
from wsproto.events import Ping

from cloudchat_core.limits import Limits
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_engine.ports import Retention
from tests.specs.generated import CONTRACT
from tests.transports.support import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    TOKEN,
    Client,
    connect,
    frame,
    read_all,
    serving,
    upgrade,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchat_core.codec import StoredRecord
    from cloudchat_engine.ports import Erasure


async def beginning(client: Client) -> list[str]:
    """The types of the frames up to the snapshot's last part."""
    kinds = []
    while True:
        message = await client.next()
        kinds.append(message["type"])
        if message["type"] == "snapshot" and not message.get("more"):
            return kinds


@trio_test
async def test_a_feed_begins_with_welcome_and_snapshot_and_goes_on_with_events() -> None:
    async with serving() as server:
        client = await Client.open(server)
        welcome = await client.next()
        assert (welcome["type"], welcome["protocol"]) == ("welcome", "cloudchat.v1")
        assert welcome["limits"] == {
            "text": 4096,
            "nickname": 32,
            "frame": 65_536,
            "unanswered": 100,
        }
        assert (await client.next())["type"] == "snapshot"
        await client.say("join", nickname="Alexandra", token=TOKEN)
        kinds = {(await client.next())["type"], (await client.next())["type"]}
        assert kinds == {"ack", "joined"}


@trio_test
async def test_a_client_comes_back_with_its_cursor_and_misses_and_doubles_nothing() -> None:
    async with serving() as server:
        first, second = await Client.open(server), await Client.open(server)
        await second.join()
        await second.answer("say", text="one")
        cursor = (await first.until("message", text="one"))["cursor"]
        first.vanish()
        await second.answer("say", text="two")
        again = await Client.open(server, f"?after={cursor}")
        assert (await again.next())["type"] == "welcome"
        assert (await again.next())["text"] == "two"
        await second.answer("say", text="three")
        assert (await again.next())["text"] == "three"


@trio_test
async def test_a_cursor_that_cannot_be_served_is_answered_by_gap_and_snapshot() -> None:
    async with serving() as server:
        client = await Client.open(server, "?after=other-7")
        assert await beginning(client) == ["welcome", "gap", "snapshot"]


@trio_test
async def test_a_feed_shows_only_its_topics() -> None:
    async with serving() as server:
        client = await Client.open(server, "?topics=instances")
        other = await Client.open(server)
        await other.join()
        await other.answer("create", name="web")
        assert await beginning(client) == ["welcome", "snapshot"]
        assert (await client.next())["type"] == "received"


@trio_test
async def test_a_stock_client_takes_part() -> None:
    async with serving() as server:

        def chat() -> list[str]:
            url = f"ws://127.0.0.1:{server.port}/v1/ws"
            with stock_connect(url, subprotocols=["cloudchat.v1"]) as websocket:  # type: ignore[list-item]
                assert websocket.subprotocol == "cloudchat.v1"
                websocket.send(
                    msgspec.json.encode(
                        {"type": "join", "id": "1", "nickname": "A", "token": TOKEN}
                    ).decode()
                )
                websocket.send(
                    msgspec.json.encode({"type": "say", "id": "2", "text": "hi ✓"}).decode()
                )
                kinds: list[str] = []
                while "message" not in kinds:
                    kinds.append(msgspec.json.decode(websocket.recv())["type"])
                return kinds

        kinds = await trio.to_thread.run_sync(chat)
        assert {"welcome", "snapshot", "joined", "message"} <= set(kinds)


@pytest.mark.parametrize(
    ("target", "headers", "status"),
    [
        ("/v1/other", "", 404),
        ("/v1/ws?topics=weather", "", 404),
        ("/v1/ws?workspace=elsewhere", "", 404),
        (f"/v1/ws?after={'x' * 129}", "", 400),
        ("/v1/ws", "Host: evil.example", 403),
        ("/v1/ws", "Origin: http://evil.example", 403),
        ("/v1/ws", "Origin: null", 403),
        ("/v1/ws", "Sec-WebSocket-Version: 8", 426),
        ("/v1/ws", "Sec-WebSocket-Key:", 400),
        ("/v1/ws", "Connection: close", 400),
        ("/v1/ws", "Host: \xff\xfe", 400),
        ("/v1/ws", "Host: a\r\nHost: b", 400),
        ("/v1/ws", "Sec-WebSocket-Key: c2hvcnQ=", 400),
        ("/v1/ws", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: x", 400),
        ("http://[/v1/ws", "", 400),
        ("http://127.0.0.1/v1/other", "", 404),
    ],
)
def test_a_handshake_that_may_not_be_is_refused_with_a_problem(
    target: str, headers: str, status: int
) -> None:
    async def main() -> None:
        async with serving() as server:
            sock = await connect(server)
            sock.send(upgrade(server.port, target, headers))
            head, _, body = (await read_all(sock)).partition(b"\r\n\r\n")
            assert head.split()[1] == b"%d" % status
            fields = {
                name.decode(): value.strip().decode()
                for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
            }
            CONTRACT.answer("GET", "/v1/ws", status, fields, body)

    trio.run(main)


@trio_test
async def test_empty_parameters_are_as_left_out() -> None:
    async with serving() as server:
        client = await Client.open(
            server, "?after=&topics=&workspace=", f"Origin: http://127.0.0.1:{server.port}"
        )
        assert await beginning(client) == ["welcome", "snapshot"]


HEAD = bytes((TEXT, 0x80 | 127))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(TEXT, b"{}", masked=False), 1002),
        (frame(0xC1, b"{}"), 1002),  # a reserved bit
        (frame(0x83, b"{}"), 1002),  # an opcode that does not exist
        (frame(0x80, b"{}"), 1002),  # a continuation of nothing
        (frame(0x01, b"{") + frame(TEXT, b"}"), 1002),  # a message inside a message
        (frame(0x09, b""), 1002),  # a fragmented ping
        (frame(PING, b"x" * 126), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
        (frame(BINARY, b"{}"), 1003),
        (frame(0x02, b"{}"), 1003),
        (frame(TEXT, b"\xff\xfe"), 1007),
        (frame(TEXT, '"ä"'.encode()[:2]), 1007),  # cut inside a character
        (frame(0x01, b"\xf0\x9f") + frame(0x80, b"\x98"), 1007),
        (frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff"), 1007),
        (frame(TEXT, b"x" * 1001), 1009),
        (frame(TEXT, "ä".encode() * 501), 1009),  # bytes count, not characters
        (frame(0x01, b"x" * 600) + frame(0x80, b"x" * 600), 1009),
        (HEAD + (2**40).to_bytes(8, "big") + bytes(4) + b"x" * 5000, 1009),
    ],
)
def test_what_breaks_the_protocol_costs_the_connection_with_the_code_that_says_why(
    data: bytes, code: int
) -> None:
    async def main() -> None:
        async with serving(Limits(frame=1000)) as server:
            client, other = await Client.open(server), await Client.open(server)
            await client.send(data)
            assert await client.closed() == code
            client.sock.close()
            assert (await other.answer("ping"))["type"] == "ack"

    trio.run(main)


@trio_test
async def test_whatever_bytes_come_cost_their_sender_the_connection_and_nobody_else_anything(
    caplog: pytest.LogCaptureFixture,
) -> None:
    chance = random.Random(7)
    command = b'{"type":"ping","id":"1"}'
    honest = [
        frame(TEXT, command),
        frame(PING, b"?"),
        frame(0x01, command[:9]) + frame(0x80, command[9:]),
    ]
    async with serving(Limits(frame=1000)) as server:
        other = await Client.open(server)
        for _ in range(200):
            client = await Client.open(server)
            data = bytearray(b"".join(chance.choices(honest, k=4)))
            for _ in range(chance.randrange(4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            await client.send(bytes(data[: chance.randrange(len(data) + 1)]))
            client.sock.shutdown(socket.SHUT_WR)
            assert await client.closed() in {1000, 1002, 1003, 1005, 1006, 1007, 1009}
            client.sock.close()
        assert (await other.answer("ping"))["type"] == "ack"
    assert not caplog.records


@trio_test
async def test_the_close_code_arrives_even_if_the_client_never_stops_sending() -> None:
    async with serving(Limits(frame=1000)) as server:
        client = await Client.open(server)

        async def flood() -> None:
            while True:
                await client.send(frame(TEXT, b"x" * 60_000))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            assert await client.closed() == 1009
            nursery.cancel_scope.cancel()


@trio_test
async def test_a_message_may_come_in_pieces_with_pings_between_them() -> None:
    async with serving() as server:
        client = await Client.open(server)
        text = '{"type":"ping","id":"ä"}'.encode().replace("ä".encode(), b"a")
        await client.send(
            frame(0x01, text[:5]) + frame(PING, b"now") + frame(0x00, b"") + frame(0x80, text[5:])
        )
        assert await client.ponged() == b"now"
        assert (await client.until("ack"))["id"] == "a"


@trio_test
async def test_a_wrong_command_costs_its_sender_an_error_and_nothing_else() -> None:
    async with serving() as server:
        client = await Client.open(server)
        for data, code in (
            (b"nonsense", "bad_json"),
            (b"[]", "bad_frame"),
            (b'{"id":"1"}', "bad_command"),
            (b'{"id":"1","type":"dance"}', "unknown_type"),
        ):
            await client.send(frame(TEXT, data))
            assert (await client.until("error"))["code"] == code
        assert (await client.answer("say", text="hi"))["code"] == "not_joined"
        assert (await client.answer("ping"))["type"] == "ack"


@trio_test
async def test_a_flood_that_goes_on_costs_the_connection() -> None:
    async with serving(Limits(floods=10, commands_burst=5)) as server:
        client, other = await Client.open(server), await Client.open(server)
        await client.send(frame(TEXT, b'{"type":"ping","id":"1"}') * 50)
        assert await client.closed() == 1008
        await other.say("ping", id="p")
        assert (await other.until("error", code="rate_limited"))["retry_after"] > 0


@trio_test
async def test_pongs_are_answered_while_commands_wait_and_events_pile_up() -> None:
    async with serving(Limits(commands_per_second=0)) as server:
        client = await Client.open(server)
        await client.join()
        command = b'{"type":"say","id":"%d","text":"' + b"x" * 500 + b'"}'
        burst = b"".join(frame(TEXT, command % number) for number in range(90))
        await client.send(burst + frame(PING, b"still there?"))
        assert await client.ponged() == b"still there?"


# ---------------------------------------------------------------------- presence


@pytest.mark.parametrize(
    ("goodbye", "away", "reason"),
    [
        ((1000).to_bytes(2, "big"), 0, "left"),
        ((1001).to_bytes(2, "big"), 2, "disconnected"),
        (b"", 5, "disconnected"),
        (None, 5, "disconnected"),
    ],
)
def test_how_a_client_goes_decides_how_long_it_is_waited_for(
    goodbye: bytes | None, away: float, reason: str
) -> None:
    async def main() -> None:
        async with serving() as server:
            client, other = await Client.open(server), await Client.open(server)
            await client.join()
            await other.until("joined")
            assert server.fanout.followers == 2
            if goodbye is None:
                client.vanish()
            else:
                await client.send(frame(CLOSE, goodbye))
                assert await client.closed() == (int.from_bytes(goodbye, "big") or 1005)
                client.sock.close()
            if away:
                await wait_all_tasks_blocked(0.05)
                assert server.fanout.followers == 1
                server.clock.advance(away - 0.001)
                await wait_all_tasks_blocked(0.05)
                assert (await other.answer("ping"))["type"] == "ack"
                server.clock.advance(0.001)
            gone = await other.next()
            assert (gone["type"], gone["nickname"], gone["reason"]) == ("left", "Alexandra", reason)

    trio.run(main)


@trio_test
async def test_a_ninth_feed_of_a_participation_ends_the_oldest_with_4001() -> None:
    async with serving(Limits(feeds_per_token=2)) as server:
        feeds = [await Client.open(server) for _ in range(3)]
        for feed in feeds:
            await feed.join()
        assert await feeds[0].closed() == 4001
        assert (await feeds[1].answer("ping"))["type"] == "ack"


# ---------------------------------------------------------------------- silence, slowness, ends


async def elapse(clock: MockClock, seconds: float) -> None:
    """Let time pass in steps in which everybody does what is due."""
    for _ in range(round(seconds)):
        clock.jump(1)
        await wait_all_tasks_blocked(0.001)


@trio_test
async def test_a_silent_client_is_pinged_and_lost_when_two_pings_go_unanswered(
    mock_clock: MockClock,
) -> None:
    async with serving(heartbeat=15, patience=1000) as server:
        client = await Client.open(server)
        await beginning(client)
        for _ in range(2):
            await elapse(mock_clock, 11)
            assert client.arrived().count(Ping(b"")) == 1
        await elapse(mock_clock, 7)
        assert await client.closed() == 1006
        assert mock_clock.current_time() <= 30


@trio_test
async def test_a_client_that_says_anything_at_all_stays(mock_clock: MockClock) -> None:
    async with serving(heartbeat=15, patience=1000) as server:
        client = await Client.open(server)
        await beginning(client)
        for sign in (
            frame(PONG, b""),
            frame(PONG, b"own idea"),
            frame(PING, b"x"),
            frame(0x01, b"{"),
        ):
            for _ in range(2):
                await elapse(mock_clock, 11)
                assert Ping(b"") in client.arrived()
            await client.send(sign)
        await client.send(frame(0x80, b"}"))
        assert (await client.until("error"))["code"] == "bad_command"


@trio_test
async def test_a_client_that_only_reads_slowly_stays_until_it_takes_nothing(
    mock_clock: MockClock,
) -> None:
    limits = Limits(commands_per_second=0, stalled=1000)
    async with serving(limits, heartbeat=15, send_buffer=50_000, patience=1000) as server:
        slow = await Client.open(server, receive_buffer=50_000)
        writer = await Client.open(server)
        await writer.join()
        for _ in range(500):
            await writer.answer("say", text="x" * 4000)
        for _ in range(4):
            await elapse(mock_clock, 20)
            await slow.take(250_000)  # more than the kernel holds at both ends
            await writer.answer("ping")
        assert server.listener.connections == 2
        for _ in range(5):  # what it read last still made some room
            await elapse(mock_clock, 15)
            await writer.answer("ping")
        assert server.listener.connections == 1


@trio_test
async def test_a_silent_feed_says_heartbeat_with_its_own_position(mock_clock: MockClock) -> None:
    async with serving(heartbeat=15, patience=1000) as server:
        client = await Client.open(server, "?topics=instances")
        welcome = await client.next()
        assert (await client.next())["type"] == "snapshot"
        other = await Client.open(server)
        await other.join()
        await elapse(mock_clock, 12)
        assert client.arrived() == [Ping(b"")]
        await elapse(mock_clock, 3)
        beat = await client.next()
        assert (beat["type"], beat["cursor"]) == ("heartbeat", server.node.state.cursor)
        assert beat["cursor"] > welcome["cursor"]
        await client.send(frame(PONG, b""))
        await elapse(mock_clock, 11)
        assert client.arrived() == [Ping(b"")]  # and no further heartbeat yet


@trio_test
async def test_a_feed_that_is_not_silent_says_no_heartbeat(mock_clock: MockClock) -> None:
    async with serving(heartbeat=15, patience=1000) as server:
        client, other = await Client.open(server), await Client.open(server)
        await other.join()
        for number in range(4):
            await elapse(mock_clock, 10)
            await other.answer("say", text=f"{number}")
            await client.send(frame(PONG, b""))
        kinds = [(await client.next())["type"] for _ in range(7)]
        assert kinds == ["welcome", "snapshot", "joined", *["message"] * 4]


@trio_test
async def test_a_stalled_reader_holds_up_nobody_and_gets_everything_in_order_when_it_reads() -> (
    None
):
    async with serving(Limits(commands_per_second=0)) as server:
        slow = await Client.open(server, receive_buffer=4096)
        writer = await Client.open(server)
        await writer.join()
        for number in range(3000):
            await writer.say("say", text=f"{number} " + "x" * 2000)
            if number % 50 == 49:
                await writer.until("ack", id=f"c{number + 2}")
        seen: list[int] = []
        while len(seen) < 3000:
            message = await slow.next()
            if message["type"] == "message":
                seen.append(int(message["text"].split()[0]))
        assert seen == list(range(3000))


@trio_test
async def test_a_reader_behind_the_window_is_served_from_the_log_and_then_live() -> None:
    async with serving(Limits(commands_per_second=0, window=20_000, page=16)) as server:
        first = await Client.open(server)
        cursor = (await first.next())["cursor"]
        first.vanish()
        writer = await Client.open(server)
        await writer.join()
        for number in range(200):
            await writer.answer("say", text=f"{number} " + "x" * 1000)
        late = await Client.open(server, f"?after={cursor}")
        kinds = [(await late.next())["type"] for _ in range(202)]
        assert kinds == ["welcome", "joined", *["message"] * 200]
        await writer.answer("say", text="live")
        assert (await late.next())["text"] == "live"


@trio_test
async def test_a_feed_from_the_log_shows_only_its_topics_too() -> None:
    async with serving(Limits(window=5_000, page=16)) as server:
        first = await Client.open(server)
        cursor = (await first.next())["cursor"]
        writer = await Client.open(server)
        await writer.join()
        await writer.answer("create", name="web")
        for number in range(40):
            await writer.answer("say", text=f"{number} " + "x" * 1000)
        late = await Client.open(server, f"?after={cursor}&topics=instances")
        await writer.answer("create", name="db")
        assert [(await late.next())["type"] for _ in range(3)] == [
            "welcome",
            "received",
            "received",
        ]


@trio_test
async def test_a_reader_far_behind_gets_all_that_the_window_has_without_anything_new() -> None:
    async with serving(Limits(commands_per_second=0)) as server:
        first = await Client.open(server)
        cursor = (await first.next())["cursor"]
        writer = await Client.open(server)
        await writer.join()
        for _ in range(250):
            await writer.answer("say", text="x" * 4000)
        late = await Client.open(server, f"?after={cursor}")
        kinds = [(await late.next())["type"] for _ in range(252)]
        assert kinds == ["welcome", "joined", *["message"] * 250]


@trio_test
async def test_a_reader_behind_even_the_log_is_told_of_the_gap_and_goes_on_from_a_snapshot() -> (
    None
):
    limits = Limits(commands_per_second=0, window=20_000, page=16)
    async with serving(limits, send_buffer=4096, keep=Retention(count=20)) as server:
        slow = await Client.open(server, receive_buffer=4096)
        writer = await Client.open(server)
        await writer.join()
        for number in range(200):
            await writer.answer("say", text=f"{number} " + "x" * 1000)
        server.clock.advance(60)  # the log is tidied up
        while server.node.first < 150:
            await wait_all_tasks_blocked()
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1].get("text", "")[:3] != "end":
            if seen and seen[-1]["type"] == "snapshot" and not seen[-1].get("more"):
                await writer.say("say", text="end")
            seen.append(await slow.next())
        kinds = [message["type"] for message in seen]
        gap = kinds.index("gap")
        assert kinds[gap - 1] == "message"
        assert seen[gap] == {"type": "gap", "after": seen[gap - 1]["cursor"], "reason": "retention"}
        assert set(kinds[gap + 1 : -1]) == {"snapshot"}
        assert {
            message["text"][:3] for part in seen[gap:-1] for message in part.get("messages", [])
        } >= {"199"}


@trio_test
async def test_a_client_that_reads_no_answers_is_told_to_try_again_later() -> None:
    limits = Limits(commands_per_second=0, direct=20_000)
    async with serving(limits, send_buffer=4096) as server:
        client, other = await Client.open(server, receive_buffer=4096), await Client.open(server)
        await client.send(frame(TEXT, b'{"type":"ping","id":"%s"}' % (b"x" * 64)) * 1000)
        assert await client.closed() == 1013
        assert (await other.answer("ping"))["type"] == "ack"


@trio_test
async def test_a_planned_restart_is_announced_and_closes_with_1012() -> None:
    async with serving() as server:
        clients = [await Client.open(server) for _ in range(5)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.listener.shut_down, 5))
            waits = set()
            for client in clients:
                waits.add((await client.until("closing"))["retry_after"])
                assert await client.closed() == 1012
                client.sock.close()
        assert len(waits) > 1
        assert server.listener.connections == 0


class SlowLog(MemoryLog):
    """A log whose disk takes its time: once it is `busy`, nothing is durable before `done`."""

    def __init__(self) -> None:
        super().__init__()
        self.busy, self.asked, self.done = False, trio.Event(), trio.Event()

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        if self.busy:
            self.asked.set()
            await self.done.wait()
        await super().append(records, expected, erased)


@trio_test
async def test_a_restart_answers_first_what_it_has_taken_and_takes_nothing_more() -> None:
    log = SlowLog()
    async with serving(log=log) as server:
        client = await Client.open(server)
        await client.join()
        log.busy = True
        taken = await client.say("say", text="taken")
        await log.asked.wait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(server.listener.shut_down, 30))
            await client.until("closing")
            await client.say("say", text="too late")
            log.done.set()
            assert (await client.until("ack"))["id"] == taken
            assert await client.closed() == 1012
            client.sock.close()
        said = [authored.message.text for authored in server.node.state.messages.values()]
        assert said == ["taken"]


@trio_test
async def test_a_bug_in_serving_one_connection_leaves_the_others_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving() as server:
        client, other = await Client.open(server), await Client.open(server)
        await beginning(client)
        with monkeypatch.context() as patch:
            patch.delattr(server.node.__class__, "submit")
            await client.say("ping")
            assert await client.closed() == 1011
        assert (await other.answer("ping"))["type"] == "ack"
        assert "AttributeError" in caplog.text
