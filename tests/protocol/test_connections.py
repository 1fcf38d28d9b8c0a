"""What ends a connection, and what nobody else may notice: section 10 of docs/protocol.md."""

from __future__ import annotations

import random
import re
import socket
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

import pytest
from websockets.exceptions import ConnectionClosed

from tests.protocol.server import PATIENCE, UPGRADE, Server, is_event, masked, new_name, new_token

if TYPE_CHECKING:
    from pathlib import Path

ARGUMENTS = ("--limit", "frame=20480")

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A


def close_code(answer: bytes) -> int:
    """The code of the close frame that an answer ends with, which nothing may follow."""
    place = answer.rindex(b"\x88")
    size = answer[place + 1]
    assert len(answer) == place + 2 + size, "a close frame is the last"
    return int.from_bytes(answer[place + 2 : place + 4], "big")


def test_a_binary_frame_is_closed_with_1003(server: Server) -> None:
    with server.feed() as feed:
        feed.ws.send(b"{}")
        assert feed.closed()[0] == 1003


def test_a_frame_over_the_limit_is_closed_with_1009(server: Server) -> None:
    with server.feed() as feed:
        limit = feed.welcome["limits"]["frame"]
        assert limit == 20_480
        assert feed.say_raw("x" * limit)["code"] == "bad_json"
        assert feed.say_raw("é" * (limit // 2))["code"] == "bad_json"
        feed.ws.send("é" * (limit // 2 + 1))
        assert feed.closed()[0] == 1009


def test_what_comes_in_fragments_is_counted_as_a_whole(server: Server) -> None:
    with server.feed() as feed:
        feed.ws.send(["x" * 6_000] * 3)
        assert feed.answer(None)["code"] == "bad_json"
        with suppress(ConnectionClosed):
            feed.ws.send(["x" * 6_000] * 4)
        assert feed.closed()[0] == 1009


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (masked(0xC1, b"{}"), 1002),  # RSV1, no extension was agreed to
        (masked(0xA1, b"{}"), 1002),
        (masked(0x91, b"{}"), 1002),
        (b"\x81\x02{}", 1002),  # not masked
        (masked(0x83), 1002),  # reserved opcodes
        (masked(0x8B), 1002),
        (masked(0x80, b"{}"), 1002),  # goes on with nothing
        (masked(0x01, b"{") + masked(TEXT, b"{}"), 1002),  # begins amid another
        (masked(0x09), 1002),  # a fragmented ping
        (masked(PING, b"x" * 126), 1002),  # a long one
        (masked(CLOSE, b"\x03"), 1002),  # half a close code
        (masked(CLOSE, b"\x03\xed"), 1002),  # 1005 is never sent
        (masked(CLOSE, b"\x03\xee"), 1002),  # nor 1006
        (masked(CLOSE, b"\x00\x01"), 1002),
        (b"\x81\xfe\x00\x01\0\0\0\0x", 1002),  # a length written longer than need be
        (b"\x81\xff" + b"\xff" * 8 + bytes(4), 1002),  # a length with the highest bit
        (masked(TEXT, b"\xff"), 1007),
        (masked(TEXT, b"\xed\xa0\x80"), 1007),  # a surrogate
        (masked(TEXT, b"\xc0\x80"), 1007),  # an overlong NUL
        (masked(0x01, b"\xe2") + masked(0x80, b"\x28\xa1"), 1007),  # bad only as a whole
        (masked(CLOSE, b"\x03\xe8\xff"), 1007),
        (masked(BINARY), 1003),
        (masked(0x02, b"x"), 1003),
        (b"\x81\xff" + (2**40).to_bytes(8, "big") + bytes(4) + b"x" * 20_481, 1009),
    ],
)
def test_a_violation_is_closed_with_the_code_that_says_which(
    server: Server, data: bytes, code: int
) -> None:
    assert close_code(server.raw(UPGRADE + data)) == code


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (b"\x03\xe8", b"\x03\xe8"),
        (b"\x03\xe9bye", b"\x03\xe9"),
        (b"\x0f\xa0", b"\x0f\xa0"),
        (b"", b""),
    ],
)
def test_a_close_is_answered_with_its_code(server: Server, sent: bytes, answered: bytes) -> None:
    answer = server.raw(UPGRADE + masked(CLOSE, sent) + masked(TEXT, b"after the end"))
    assert answer[answer.rindex(b"\x88") + 2 :][:2] == answered


def test_pings_are_answered_also_amid_a_message(server: Server) -> None:
    parts = masked(0x01, b'{"type":"pi') + masked(PING, b"now") + masked(0x80, b'ng","id":"1"}')
    answer = server.raw(UPGRADE + parts + masked(CLOSE))
    assert b"\x8a\x03now" in answer


@pytest.mark.parametrize(
    "flood",
    [
        masked(PING) * 2_000,
        masked(PONG) * 2_000,
        masked(0x01) + masked(0x00) * 2_000,
        masked(0x01, b'"') + masked(0x00, b"x") * 2_000,
    ],
    ids=["pings", "pongs", "empty pieces", "crumbs"],
)
def test_a_flood_of_frames_without_a_command_is_closed_with_1008(
    server: Server, flood: bytes
) -> None:
    assert close_code(server.raw(UPGRADE + flood)) == 1008


def test_as_many_pings_and_pieces_as_anybody_needs_are_no_flood(server: Server) -> None:
    some = masked(PING, b"x") * 50 + masked(0x01, b'"')
    pieces = masked(0x00, b"x" * 128) * 120 + masked(0x80, b'"')
    answer = server.raw(UPGRADE + some + pieces + masked(TEXT, b"{}") + masked(CLOSE, b"\x03\xe8"))
    assert close_code(answer) == 1000
    assert answer.count(b"\x8a\x01x") == 50
    assert b"bad_frame" in answer


def test_no_rubbish_of_one_costs_another_anything(server: Server) -> None:
    """Any bytes, cut anywhere: the server says goodbye properly, logs nothing, and others go on."""
    chance = random.Random(1)
    with server.feed() as bystander:
        bystander.join(new_name(), new_token())
        for size in (1, 2, 6, 14, 100, 5_000, 70_000):
            for _ in range(4):
                answer = server.raw(
                    UPGRADE + chance.randbytes(size),
                    until=lambda got: b"\x88" in got or b'"messages":[' in got,
                )
                assert answer.startswith(b"HTTP/1.1 101 ")
        assert bystander.done("say", text="all is well")["type"] == "ack"


def test_a_connection_that_does_not_read_costs_the_others_nothing(server: Server) -> None:
    with server.feed() as author:
        author.join(new_name(), new_token())
        before = author.done("say", text="from here")["cursor"]
        slow = server.feed(f"?after={before}", max_queue=1)
        ids = [author.send("say", text=f"{n} " + "x" * 4000) for n in range(60)]
        last = [author.answer(command) for command in ids][-1]["cursor"]
        slow.event(last)
        assert [event["ref"] for event in slow.events] == ids
        slow.lose()


def test_the_size_of_snapshots_and_events_stays_under_the_limit(server: Server) -> None:
    with server.feed() as author:
        author.join(new_name(), new_token())
        for _ in range(50):
            author.done("say", text="😀" * 4096)
        assert author.largest <= 20_480
        with server.feed() as feed:
            snapshot = feed.ready()
            assert feed.parts > 1
            assert feed.largest <= 20_480
            assert [m["text"] for m in snapshot["messages"]] == ["😀" * 4096] * 50
            assert feed.cursor == snapshot["cursor"]


def test_tokens_by_the_thousand_cost_little_memory(server: Server) -> None:
    """Each needs an accepted command to be remembered; what is refused is not."""
    before = server.memory()
    for _ in range(50):
        body = [{"type": "say", "id": f"{n}", "text": "x"} for n in range(100)]
        response = server.post(body, cloudchat_token=new_token())
        assert {answer["code"] for answer in response.json()} == {"not_joined"}
    assert server.memory() - before < 8_000_000
    assert server.log.stat().st_size < 8_000_000


def test_readers_that_want_old_events_and_do_not_read_them_cost_little_memory(
    tmp_path: Path,
) -> None:
    """They are served from the log, page by page, and what is held for each is part of one page."""
    rates = ("--limit", "commands_per_second=0", "--limit", "requests_per_second=0")
    with (
        Server(tmp_path / "log.sqlite", *rates, "--limit", "window=100000") as server,
        server.feed("?topics=instances") as bystander,
        ExitStack() as stack,
    ):
        header = {"cloudchat_token": new_token()}
        say = {"type": "say", "nickname": "bot", "text": "x" * 4_000}
        for start in range(0, 3_000, 100):
            server.post([{**say, "id": f"{n}"} for n in range(start, start + 100)], **header)
        before = server.memory()
        request = UPGRADE.replace(b"/v1/ws", f"/v1/ws?after={bystander.cursor}".encode())
        for _ in range(60):
            sock = stack.enter_context(socket.socket())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            sock.connect(("127.0.0.1", server.port))
            sock.sendall(request)
        for _ in range(100):
            bystander.done("ping")
        assert server.memory() - before < 30_000_000


def test_what_is_full_says_so_and_has_room_again_later(tmp_path: Path) -> None:
    limits = ("--limit", "connections=4", "--limit", "participants=2", "--grace", "0")
    with Server(tmp_path / "log.sqlite", *limits) as server:
        one, two, three = server.feed(), server.feed(), server.feed()
        one.join(new_name(), new_token())
        two.join(new_name(), new_token())
        token = new_token()
        assert three.refused("join", nickname=new_name(), token=token) == "quota_exceeded"
        with server.feed():
            answer = server.raw(UPGRADE)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: " in answer.lower()  # RFC 9110 §5.1
        one.leave_with(1000)
        three.until(is_event("left"))
        assert three.join(new_name(), token)["resumed"] is False
        with server.feed() as again:
            assert len(again.ready()["participants"]) == 2
        for feed in (two, three):
            feed.lose()


def test_a_client_that_closes_with_its_answer_leaves_nothing_behind(server: Server) -> None:
    def connections() -> int:
        found = re.search(
            r"^cloudchat_connections (\d+)$", server.http.get("/metrics").text, re.MULTILINE
        )
        assert found is not None
        return int(found[1])

    before = connections()
    for _ in range(10):
        assert server.curl("/healthz")[0] == 200
    end = time.monotonic() + PATIENCE
    while connections() > before:
        assert time.monotonic() < end, f"{connections() - before} are still there"
