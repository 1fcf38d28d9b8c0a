"""The application under other people's ASGI servers, alone and mounted: WebSockets are what they are under our own."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import anyio.to_thread
import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from cloudchat_core.limits import Limits
from tests.transports.portable import PLACES, Place, listening
from tests.transports.web import ALEXANDRA, BORIS, Site, site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

T = TypeVar("T")

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        ("place", "anyio_backend"), [pytest.param(p, p.backend, id=str(p)) for p in PLACES]
    ),
]


class Running:
    """A server, and stock clients that talk to it from threads of their own."""

    def __init__(self, url: str, web: Site) -> None:
        self.url, self.web = url, web

    async def visit(
        self, script: Callable[[ClientConnection], T], query: str = "", **options: Any
    ) -> T:
        """Run a stock client's `script` on a WebSocket."""

        def run() -> T:
            url = f"{self.url.replace('http', 'ws')}/v1/ws{query}"
            with connect(url, subprotocols=["cloudchat.v1"], **options) as websocket:  # type: ignore[list-item]
                return script(websocket)

        with anyio.fail_after(30):
            return await anyio.to_thread.run_sync(run)


@asynccontextmanager
async def running(place: Place, limits: Limits | None = None) -> AsyncIterator[Running]:
    async with site(limits) as web, listening(place, web.app) as url:
        yield Running(url, web)


def send(websocket: ClientConnection, kind: str, **fields: Any) -> None:
    websocket.send(json.dumps({"type": kind, "id": "c1", **fields}))


def until(websocket: ClientConnection, kind: str, **fields: Any) -> dict[str, Any]:
    """Read on to the first frame of this type with these fields."""
    while True:
        frame: dict[str, Any] = json.loads(websocket.recv(10))
        if {"type": kind, **fields}.items() <= frame.items():
            return frame


def join(websocket: ClientConnection) -> str:
    """Take part; the cursor of `joined`."""
    send(websocket, "join", nickname="Alexandra", token=ALEXANDRA)
    return str(until(websocket, "ack", nickname="Alexandra")["cursor"])


def closed(websocket: ClientConnection) -> int | None:
    """Read on to the end; the close code."""
    try:
        while True:
            websocket.recv(10)
    except ConnectionClosed as end:
        return end.rcvd.code if end.rcvd is not None else None


async def test_a_stock_client_takes_part(place: Place) -> None:
    def script(websocket: ClientConnection) -> None:
        assert websocket.subprotocol == "cloudchat.v1"
        assert json.loads(websocket.recv(10))["type"] == "welcome"
        assert json.loads(websocket.recv(10))["type"] == "snapshot"
        join(websocket)
        send(websocket, "say", id="c2", text="привет 😀")
        cursor = until(websocket, "message", text="привет 😀", ref="c2")["cursor"]
        websocket.send("no JSON")
        assert until(websocket, "error")["code"] == "bad_json"
        send(websocket, "say", id="c2", text="привет 😀")
        assert until(websocket, "ack", id="c2")["cursor"] == cursor

    async with running(place) as server:
        await server.visit(script)


async def test_a_feed_goes_on_where_another_ended_and_shows_its_topics(place: Place) -> None:
    def second(websocket: ClientConnection) -> list[str]:
        send(websocket, "ping", id="end")
        until(websocket, "ack", id="end")
        send(websocket, "create")
        return [json.loads(websocket.recv(10))["type"] for _ in range(2)]

    async with running(place) as server:
        cursor = (await server.web.command("join", ALEXANDRA, nickname="Alexandra"))["cursor"]
        await server.web.command("join", BORIS, nickname="Boris")
        frames = await server.visit(
            lambda w: [json.loads(w.recv(10)) for _ in range(2)], f"?after={cursor}"
        )
        assert [frame["type"] for frame in frames] == ["welcome", "joined"]
        assert sorted(await server.visit(second, "?topics=instances")) == ["ack", "received"]


def binary(websocket: ClientConnection) -> int | None:
    websocket.send(b"{}")
    return closed(websocket)


def oversize(websocket: ClientConnection) -> int | None:
    websocket.send("x" * (Limits().frame + 1))
    return closed(websocket)


def flood(websocket: ClientConnection) -> int | None:
    try:
        for _ in range(100):
            send(websocket, "ping")
    except ConnectionClosed:
        pass
    return closed(websocket)


@pytest.mark.parametrize(("script", "code"), [(binary, 1003), (oversize, 1009), (flood, 1008)])
async def test_what_costs_the_connection_is_said_by_its_close_code(
    place: Place, script: Callable[[ClientConnection], int | None], code: int
) -> None:
    async with running(place, Limits(commands_per_second=1, commands_burst=5, floods=5)) as server:
        assert await server.visit(script) == code


async def test_one_feed_too_many_of_a_token_ends_the_oldest(place: Place) -> None:
    def oldest(websocket: ClientConnection, other: Callable[[], None]) -> int | None:
        join(websocket)
        other()
        return closed(websocket)

    async with running(place, Limits(feeds_per_token=1)) as server:

        def other() -> None:
            anyio.from_thread.run(server.visit, join)

        assert await server.visit(partial(oldest, other=other)) == 4001


async def test_a_planned_restart_says_when_to_come_back_and_closes_with_1012(place: Place) -> None:
    def script(websocket: ClientConnection) -> int | None:
        join(websocket)
        anyio.from_thread.run_sync(server.web.app.wind_down)
        assert 0 < until(websocket, "closing")["retry_after"] <= 5
        return closed(websocket)

    async with running(place) as server:
        assert await server.visit(script) == 1012


async def test_a_restart_answers_first_what_it_has_taken(place: Place) -> None:
    async with running(place) as server:
        web, done = server.web, anyio.Event()

        def script(websocket: ClientConnection) -> int | None:
            join(websocket)
            web.log.done = done
            send(websocket, "say", id="c2", text="taken")
            anyio.from_thread.run(web.log.asked.wait)
            anyio.from_thread.run_sync(web.app.wind_down)
            until(websocket, "closing")
            anyio.from_thread.run_sync(done.set)
            until(websocket, "ack", id="c2")
            return closed(websocket)

        assert await server.visit(script) == 1012


def part(websocket: ClientConnection, code: int) -> str:
    cursor = join(websocket)
    if code == 1006:
        websocket.socket.close()
    else:
        websocket.close(code)
    return cursor


@pytest.mark.parametrize(
    ("code", "reason"), [(1000, "left"), (1001, "disconnected"), (1006, "disconnected")]
)
async def test_who_closes_has_left_and_who_is_lost_has_a_grace(
    place: Place, code: int, reason: str
) -> None:
    # Hypercorn keeps a client's close code to itself, so there all have a grace.
    at_once = code == 1000 and place.server == "uvicorn"
    async with running(place) as server:
        cursor = await server.visit(partial(part, code=code))
        site = server.web
        with anyio.fail_after(30):
            while (await site.get("/v1/participants")).json():
                site.clock.advance(0 if at_once else 1)
                await anyio.sleep(0.01)
        frames = (await site.get(f"/v1/poll?after={cursor}")).json()["frames"]
        told = "disconnected" if place.server == "hypercorn" else reason
        assert [(frame["type"], frame["reason"]) for frame in frames] == [("left", told)]


@pytest.mark.parametrize(
    ("path", "headers", "status", "code"),
    [
        ("/v1/other", {}, 404, "not_found"),
        ("/v1/ws?topics=weather", {}, 404, "not_found"),
        (f"/v1/ws?after={'x' * 129}", {}, 400, "bad_request"),
        ("/v1/ws", {"Origin": "http://evil.example"}, 403, "forbidden"),
        ("/v1/ws", {"Origin": "null"}, 403, "forbidden"),
    ],
)
async def test_a_refused_handshake_is_answered_by_a_problem(  # noqa: PLR0917 - a table's columns
    place: Place,
    path: str,
    headers: dict[str, str],
    status: int,
    code: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(place) as server:

        def script() -> InvalidStatus:
            with pytest.raises(InvalidStatus) as caught:
                connect(server.url.replace("http", "ws") + path, additional_headers=headers)
            return caught.value

        response = (await anyio.to_thread.run_sync(script)).response
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert json.loads(response.body)["code"] == code
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_transport_that_is_switched_off_is_said_to_be(place: Place) -> None:
    async with site(transports=["sse", "poll"]) as web, listening(place, web.app) as url:
        server = Running(url, web)
        with pytest.raises(InvalidStatus) as caught:
            await server.visit(closed)
        assert caught.value.response.status_code == 404
        assert b"switched off" in caught.value.response.body


async def test_resources_streams_and_polls_are_served_at_the_same_place(place: Place) -> None:
    async with running(place) as server, httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/v1/instances")).json() == []
        made = await client.post(f"{server.url}/v1/instances", json={})
        assert made.status_code == 202
        operation = httpx.URL(server.url).join(made.headers["location"])
        assert (await client.get(operation)).json()["command"] == "create"
        polled = (await client.get(f"{server.url}/v1/poll")).json()
        assert [frame["type"] for frame in polled["frames"]] == ["welcome", "snapshot"]

        def listen() -> str:
            stream = f"{server.url}/v1/sse?after={polled['cursor']}"
            with httpx.stream("GET", stream) as response:
                lines = response.iter_lines()
                assert next(lines) == "retry: 1000"
                anyio.from_thread.run(partial(speak, text="hi", nickname="Script"))
                assert "event: message" in lines
                assert next(lines).startswith("id: ")
                return next(lines)

        speak = partial(server.web.command, "say", BORIS)
        with anyio.fail_after(30):
            data = await anyio.to_thread.run_sync(listen)
        assert json.loads(data.removeprefix("data: "))["text"] == "hi"
