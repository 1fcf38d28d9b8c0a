"""A node and its HTTP application without a socket: asked by httpx, or by whatever scope a test makes up."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

import anyio
import httpx
import msgspec

from cloudchat_core.clock import ManualClock
from cloudchat_core.limits import Limits
from cloudchat_engine import LogUnavailableError, ManualTimer, Node, SimulatedProvider
from cloudchat_engine.logs.memory import MemoryLog
from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from cloudchat_core.codec import StoredRecord
    from cloudchat_engine import Erasure

ALEXANDRA = "alexandras-own-token-1"
BORIS = "boris-has-this-token-2"
BASE = "http://localhost:8000"
DURATION = 20


def uuid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012}"


class FrailLog(MemoryLog):
    """A log whose disk can be full or slow (until `done`), and whose pages can be unreadable."""

    full = False
    done: anyio.Event | None = None

    def __init__(self) -> None:
        super().__init__()
        self.asked = anyio.Event()

    unreadable: Exception | None = None

    async def page(
        self, what: Literal["messages", "worklog"], before: int | None, limit: int
    ) -> list[StoredRecord]:
        if self.unreadable is not None:
            raise self.unreadable
        return await super().page(what, before, limit)

    async def append(
        self, records: Sequence[StoredRecord], expected: int, erased: Sequence[Erasure] = ()
    ) -> None:
        if self.full:
            raise LogUnavailableError("no space left on /var/lib/secret/place")
        if self.done is not None:
            self.asked.set()
            await self.done.wait()
        await super().append(records, expected, erased)


@dataclass
class Site:
    """What a test holds: the client asks `app`, which serves `node`, whose time is `clock`'s."""

    app: HttpApp
    node: Node
    clock: ManualClock
    log: FrailLog
    client: httpx.AsyncClient

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=_named(headers))

    async def post(self, path: str, value: object = None, **headers: str) -> httpx.Response:
        return await self._send("POST", path, value, headers)

    async def patch(self, path: str, value: object = None, **headers: str) -> httpx.Response:
        return await self._send("PATCH", path, value, headers)

    async def delete(self, path: str, **headers: str) -> httpx.Response:
        return await self._send("DELETE", path, None, headers)

    async def _send(
        self, method: str, path: str, value: object, headers: dict[str, str]
    ) -> httpx.Response:
        given: dict[str, Any] = {} if value is None else {"json": value}
        return await self.client.request(method, path, headers=_named(headers), **given)

    async def command(self, kind: str, token: str = "", **fields: Any) -> Any:
        """Send one command and return its answer."""
        headers = {"cloudchat_token": token} if token else {}
        fields = {"type": kind, "id": uuid(next(_ids)), **fields}
        answer = await self.post("/v1/commands", fields, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def create(self, name: str = "web-1") -> str:
        """Create an instance and wait until it is there; its id."""
        begun = (await self.post("/v1/instances", {"name": name})).json()
        await self.finish(begun["operation"]["id"])
        return str(begun["instance"]["id"])

    async def finish(self, operation: str) -> None:
        """Let the time of an operation pass."""
        self.clock.advance(DURATION)
        with anyio.fail_after(30):
            while operation in self.node.state.operations:
                await anyio.lowlevel.checkpoint()


_ids = count(900_000)


def _named(headers: dict[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


@asynccontextmanager
async def site(
    limits: Limits | None = None,
    *,
    access: Access | None = None,
    root_path: str = "",
    base: str = BASE,
    provider: type[SimulatedProvider] = SimulatedProvider,
    grace: float = 5,
    heartbeat: float = 15,
    **options: Any,
) -> AsyncIterator[Site]:
    """A running node and a client of its application; ids are counted, time stands still."""
    clock, ids, log = ManualClock(), count(1), FrailLog()
    timer = ManualTimer(clock)
    node = Node(
        log,
        provider(timer, DURATION),
        clock=clock,
        timer=timer,
        new_id=lambda: uuid(next(ids)),
        new_epoch=lambda: "k3f9",
        limits=limits or Limits(),
        grace=grace,
        heartbeat=heartbeat,
    )
    app = HttpApp(node, access or Access(), **options)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1234), root_path=root_path)
    async with anyio.create_task_group() as tasks:
        await tasks.start(node.run)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            yield Site(app, node, clock, log, client)
        tasks.cancel_scope.cancel()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The code of a problem; whatever is no proper problem fails here."""
        assert self.headers["content-type"] == "application/problem+json"
        problem = msgspec.json.decode(self.body)
        assert problem["status"] == self.status
        assert {"type", "title", "detail"} <= problem.keys()
        return str(problem["code"])


async def ask(  # noqa: PLR0917 - the parts of a request in their own order
    app: Any,
    method: str = "GET",
    path: str = "/v1/instances",
    headers: Iterable[tuple[bytes, bytes]] = ((b"host", b"localhost:8000"),),
    body: Iterable[bytes] = (),
    query: bytes = b"",
    **scope: Any,
) -> Answer:
    """Ask an ASGI application exactly this; the parts of the body come one by one, then nothing more."""
    parts = [*body, b""]
    number = count()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        place = next(number)
        if place < len(parts):
            more = place < len(parts) - 1
            return {"type": "http.request", "body": parts[place], "more_body": more}
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        sent.append(message)

    whole: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": query,
        "headers": list(headers),
        "client": ("192.0.2.7", 1234),
        "server": ("127.0.0.1", 8000),
    }
    await app({**whole, **scope}, receive, send)
    start, *rest = sent
    assert start["type"] == "http.response.start"
    assert [message["more_body"] for message in rest] == [False]
    known = {name.decode(): value.decode() for name, value in start["headers"]}
    assert len(known) == len(start["headers"]), "a header stands there twice"
    return Answer(start["status"], known, rest[0]["body"])
