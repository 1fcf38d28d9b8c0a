"""Who may call, in what form, and how fast: section 14 of docs/protocol.md, and HTTP itself."""

from __future__ import annotations

import json
import re
import select
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.protocol.server import PATIENCE, UPGRADE, Server, new_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ARGUMENTS = (
    *("--allow-host", "chat.example.org", "--allow-origin", "https://app.example.org"),
    *("--limit", "requests_per_second=0"),
)
NEAR = ("Host: 127.0.0.1", "Connection: close")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that bears less, and that only those know who want to see it."""
    times = ("--limit", "head_time=1", "--limit", "body_time=1")
    rates = ("--limit", "requests_per_second=1", "--limit", "requests_burst=300")
    with Server(tmp_path_factory.mktemp("strict") / "log.sqlite", *times, *rates) as running:
        yield running
        assert running.errors == [], "the server has nothing to complain about"


def ask(server: Server, line: str, *headers: str, body: bytes = b"") -> tuple[int, str]:
    """Send a request as it is; return the (last) status and all that came."""
    head = "\r\n".join((line, *headers, "", "")).encode()
    text = server.raw(head + body, until=_complete).decode("latin-1")
    found = re.findall(r"^HTTP/1\.1 (\d+)", text, re.MULTILINE)
    return int(found[-1]) if found else 0, text


def _complete(got: bytes) -> bool:
    """Tell whether the answer to an upgrade that succeeded has begun; others end by themselves."""
    return b"HTTP/1.1 101" in got


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:1", "localhost.", "app.localhost", "127.0.0.1", "127.9.9.9:80"),
        *("[::1]", "[::1]:8000", "192.168.1.7", "chat.example.org", "CHAT.example.org:443"),
    ],
)
def test_names_that_nobody_else_can_point_at_us_are_let_in(server: Server, host: str) -> None:
    assert ask(server, "GET /v1/instances HTTP/1.1", f"Host: {host}", "Connection: close")[0] == 200
    upgrade = UPGRADE.decode().replace("Host: 127.0.0.1", f"Host: {host}")
    assert ask(server, *upgrade.strip().split("\r\n"))[0] == 101


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example"),
        *("chat.example.org.evil.example", "xchat.example.org", "0x7f.1", "2130706433", "127.1"),
        *("127.0.0.1@evil.example", "[::1", "[::ffff:evil]", "a" * 300),
    ],
)
def test_a_name_that_a_page_could_rebind_is_refused_for_reads_and_handshakes(
    server: Server, host: str
) -> None:
    status, text = ask(server, "GET /v1/instances HTTP/1.1", f"Host: {host}", "Connection: close")
    assert status in {400, 403}
    assert '"code":"forbidden"' in text or status == 400
    upgrade = UPGRADE.decode().replace("Host: 127.0.0.1", f"Host: {host}")
    assert ask(server, *upgrade.strip().split("\r\n"))[0] in {400, 403}


def test_a_target_in_absolute_form_stands_for_the_host(server: Server) -> None:
    for host, status in (("127.0.0.1", 200), ("evil.example", 403)):
        line = f"GET http://{host}/v1/instances HTTP/1.1"
        assert ask(server, line, *NEAR)[0] == status
    upgrade = UPGRADE.decode().replace("GET /", "GET http://evil.example/")
    assert ask(server, *upgrade.strip().split("\r\n"))[0] == 403


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://127.0.0.1:{port}", True),
        ("https://127.0.0.1:{port}", True),  # behind a proxy that ends TLS
        ("https://app.example.org", True),
        ("http://127.0.0.1", False),
        ("http://localhost:{port}", False),
        ("http://app.example.org", False),
        ("https://app.example.org:444", False),
        ("https://app.example.org.evil.example", False),
        ("http://evil.example", False),
        ("null", False),
        ("file://", False),
        ("", False),
    ],
)
def test_pages_of_other_origins_are_kept_out(server: Server, origin: str, *, allowed: bool) -> None:
    origin = origin.format(port=server.port)
    for method in ("GET", "POST", "OPTIONS"):
        response = server.http.request(method, "/v1/instances", headers={"Origin": origin})
        assert (response.status_code != 403) is allowed
        granted = response.headers.get("access-control-allow-origin")
        assert granted == (origin if allowed else None)
        assert "Origin" in response.headers["vary"]
        assert "access-control-allow-credentials" not in response.headers
    upgrade = UPGRADE.decode().replace("Host: 127.0.0.1", f"Host: 127.0.0.1:{server.port}")
    status, text = ask(server, *upgrade.strip().split("\r\n"), f"Origin: {origin}")
    assert status == (101 if allowed else 403)
    assert allowed or '"code":"forbidden"' in text


def test_two_origins_are_no_origin(server: Server) -> None:
    own = f"Origin: http://127.0.0.1:{server.port}"
    upgrade = UPGRADE.decode().replace("Host: 127.0.0.1", f"Host: 127.0.0.1:{server.port}")
    for lines in ((own, "Origin: null"), ("Origin: null", own)):
        assert ask(server, *upgrade.strip().split("\r\n"), *lines)[0] in {400, 403}
        assert ask(server, "GET /v1/instances HTTP/1.1", *NEAR, *lines)[0] in {400, 403}


def test_a_preflight_names_what_may_be_sent(server: Server) -> None:
    response = server.http.options(
        "/v1/commands",
        headers={
            "Origin": "https://app.example.org",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "cloudchat-token",
        },
    )
    assert response.status_code == 204
    allowed = response.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
    assert set(allowed) == {
        *("authorization", "content-type", "cloudchat-token"),
        *("idempotency-key", "last-event-id"),
    }
    assert "POST" in response.headers["access-control-allow-methods"]


@pytest.mark.parametrize(
    ("line", "headers", "body", "status"),
    [
        ("GET / HTTP/1.1", (), b"", 400),
        ("GET / HTTP/1.1", ("Host:", "Connection: close"), b"", 400),
        ("GET / HTTP/1.1", ("Host: 127.0.0.1", "Host: evil.example"), b"", 400),
        ("GET / HTTP/1.0", (), b"", 400),
        ("GET / HTTP/1.0", ("Host: localhost",), b"", 200),
        ("GET /", (), b"", 400),
        ("GET / HTTP/1.1", (*NEAR, "Bad Name: x"), b"", 400),
        ("GET / HTTP/1.1", (*NEAR, "Bad : x"), b"", 400),
        ("GET / HTTP/1.1", (*NEAR, "X: \0"), b"", 400),
        ("GET /\xff HTTP/1.1", NEAR, b"", 400),
        ("GET http://[/ HTTP/1.1", NEAR, b"", 400),
        ("GET * HTTP/1.1", NEAR, b"", 404),
        ("OPTIONS * HTTP/1.1", NEAR, b"", 204),
        ("CONNECT evil.example:443 HTTP/1.1", NEAR, b"", 404),
        ("TRACE / HTTP/1.1", NEAR, b"", 405),
        ("GET / HTTP/1.1", (*NEAR, "X: " + "x" * 20_000), b"", 431),
        (
            "POST /v1/commands HTTP/1.1",
            (*NEAR, "Content-Length: 1", "Content-Length: 2"),
            b"[]",
            400,
        ),
        ("POST /v1/commands HTTP/1.1", (*NEAR, "Content-Length: -1"), b"[]", 400),
        ("POST /v1/commands HTTP/1.1", (*NEAR, "Content-Length: +2"), b"[]", 400),
        ("POST /v1/commands HTTP/1.1", (*NEAR, "Content-Length: 9" + "9" * 30), b"[]", 400),
        ("POST /v1/commands HTTP/1.1", (*NEAR, "Transfer-Encoding: xchunked"), b"0\r\n\r\n", 501),
        ("POST /v1/commands HTTP/1.1", (*NEAR, "Transfer-Encoding: chunked"), b"-1\r\n[]", 400),
        ("PRI * HTTP/2.0", (), b"SM\r\n\r\n", 400),
    ],
)
def test_requests_that_are_none_are_refused(
    server: Server, line: str, headers: tuple[str, ...], body: bytes, status: int
) -> None:
    assert ask(server, line, *headers, body=body)[0] == status


def test_a_head_or_a_body_that_never_ends_is_ended(strict: Server) -> None:
    assert b" 408 " in strict.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    assert strict.raw(b"") == b"", "and one that never begins"
    assert (
        ask(strict, "POST /v1/commands HTTP/1.1", *NEAR, "Content-Length: 5", body=b"[")[0] == 408
    )


def test_large_bodies_that_take_their_time_leave_room_for_small_ones(tmp_path: Path) -> None:
    """However many there are, what they take is bounded, and nobody else's request is refused for it."""
    head = b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with Server(tmp_path / "log.sqlite") as server, ExitStack() as stack:
        before = server.memory()
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), PATIENCE))
            for _ in range(90)
        ]
        for sock in slow:
            sock.sendall(head + b"Content-Length: 1048576\r\n\r\n" + b" " * 1_000_000)
        answered, _, _ = select.select(slow, [], [], PATIENCE)
        assert b" 503 " in answered[0].recv(65_536)
        assert server.memory() - before < 85_000_000
        assert server.post([{"type": "ping", "id": "1"}] * 9).status_code == 200


def test_http_2_is_not_offered_so_that_every_limit_holds(server: Server) -> None:
    """Behind HTTP/2's own flow control a client could keep whole answers in our memory for ever."""
    upgrade = ("Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    wish = ("Host: 127.0.0.1", "Connection: Upgrade, HTTP2-Settings, close", *upgrade)
    status, text = ask(server, "GET /v1/instances HTTP/1.1", *wish)
    assert status == 200
    assert "101" not in text
    twice = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    text = server.raw(twice + "\r\n".join(("GET / HTTP/1.1", *wish, "", "")).encode()).decode()
    assert re.findall(r"HTTP/1\.1 (\d+)", text) == ["200", "200"]


def test_an_upgrade_that_is_no_websockets_is_refused(server: Server) -> None:
    plain = UPGRADE.decode()
    for before, after in (
        ("HTTP/1.1", "HTTP/1.0"),
        ("Version: 13", "Version: 8"),
        ("AAAAAAAAAAAAAAAAAAAAAA==", "short"),
        ("Connection: Upgrade", "Connection: close"),
        ("/v1/ws", "/v1/elsewhere"),
        ("/v1/ws", "http://[/v1/ws"),
    ):
        lines = plain.replace(before, after).strip().split("\r\n")
        assert ask(server, *lines)[0] in {400, 404, 426}
    status, text = ask(server, "GET /v1/ws HTTP/1.1", *NEAR)
    assert status == 426
    assert "upgrade: websocket" in text.lower()


def test_too_many_requests_are_rate_limited_and_health_is_not(strict: Server) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), PATIENCE) as sock:
        sock.sendall(b"GET /v1/participants HTTP/1.1\r\nHost: localhost\r\n\r\n" * 600)
        got = b""
        while got.count(b"HTTP/1.1 ") < 600:
            got += sock.recv(65_536)
    refused = got.count(b"HTTP/1.1 429")
    assert refused > 100
    assert got.count(b"HTTP/1.1 200") + refused == 600
    response = strict.http.get("/v1/participants")
    if response.status_code == 429:
        assert response.json()["code"] == "rate_limited"
        assert int(response.headers["retry-after"]) >= 1
        assert response.json()["retry_after"] > 0
    assert strict.http.get("/healthz").status_code == 200


def test_no_answer_contains_a_token(server: Server) -> None:
    token = new_token()
    with server.feed() as feed:
        feed.ready()
        feed.join("Keeper", token)
        answers = [
            feed.ask("join", nickname="you", token=token),
            feed.ask("join", nickname="Keeper", token=token + "x"),
            feed.say_raw(json.dumps({"type": "join", "token": token})),
            feed.say_raw(json.dumps({"type": "join", "id": token * 3, "token": token})),
        ]
        assert token not in json.dumps([answers, feed.events, feed.others])


@pytest.mark.parametrize("size", [2, 20_000, 200_000])
def test_a_request_that_is_refused_leaves_its_connection_in_order(
    server: Server, size: int
) -> None:
    """Its body was not wanted; the next request on the connection is answered, or told not to come."""
    content = b'"' + b"x" * (size - 2) + b'"'
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as sock:
        for _ in range(3):
            head = f"POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n"
            sock.sendall(head.encode() + content)
            got = b""
            while not got.endswith(b"}"):
                part = sock.recv(65_536)
                assert part, "closed without a word"
                got += part
            assert got.split()[1] == b"404"
            if b"\r\nconnection: close\r\n" in got.lower():
                break


def test_a_body_that_does_not_come_costs_the_connection_and_says_so(strict: Server) -> None:
    head = "POST /v1/nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
    answer = strict.raw(head.encode()).lower()
    assert answer.split()[1] in {b"404", b"429"}
    assert b"\r\nconnection: close\r\n" in answer
