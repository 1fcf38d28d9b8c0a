"""The server keeps RFC 6455, however what it is sent is cut; so it does where it runs on somebody else's WebSockets."""

from __future__ import annotations

import json
import socket
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import pytest
from anyio.from_thread import start_blocking_portal
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Pong, TextMessage

from cloudchat_core.limits import Limits
from tests.transports.portable import Place, listening
from tests.transports.rfc6455 import OPENINGS, ROWS, THEIRS, Opening, Said
from tests.transports.support import TEXT, frame, upgrade
from tests.transports.web import site
from tests.transports.whole import whole_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

PATIENCE = 30.0
"""Seconds after which the server is not going to say any more."""

ENDLESS = Limits(commands_per_second=0, requests_per_second=0)
WAYS = {"at once": 1 << 30, "in pieces": 97, "byte by byte": 1}
LONG = 2_000
"""Bytes after which bytes need not come alone any more."""

END = frame(TEXT, b'{"type":"ping","id":"end"}')


class Visitor:
    """A client that sends whatever bytes, so many at a time, and waits for the answer."""

    def __init__(self, port: int, size: int = 1 << 30) -> None:
        self._sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._size = size
        self._wsproto = Connection(ConnectionType.CLIENT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def send(self, data: bytes) -> None:
        at = 0
        with suppress(BrokenPipeError, ConnectionResetError):  # it has heard enough
            while at < len(data):
                step = self._size if at < LONG else max(self._size, LONG)
                self._sock.sendall(data[at : at + step])
                at += step

    def ask(self, request: bytes) -> tuple[int, dict[str, str]]:
        """Send a request; the status and the fields of the answer's head, which is read byte by byte."""
        self.send(request)
        head = b""
        while not head.endswith(b"\r\n\r\n") and (byte := self._sock.recv(1)):
            head += byte
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines if line]
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    def open(self, port: int, target: str = "/v1/ws") -> None:
        status, _ = self.ask(upgrade(port, target))
        assert status == 101

    def be_known(self) -> None:
        """Ask something else first: the connection's next request is somebody else's to read (Hypercorn's)."""
        status, fields = self.ask(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status == 200
        for _ in range(int(fields["content-length"])):
            self._sock.recv(1)

    def heard(self) -> list[Said]:
        """What the server says, its feed aside, until it has answered `END` or closed."""
        said: list[Said] = []
        while True:
            self._wsproto.receive_data(self._recv())
            for event in self._wsproto.events():
                match event:
                    case CloseConnection():
                        return [*said, ("close", int(event.code))]
                    case Pong():
                        said.append(("pong", bytes(event.payload)))
                    case TextMessage():
                        message = json.loads(event.data)
                        if message.get("id") == "end":
                            return said
                        if message["type"] in {"ack", "error"}:
                            what = message.get("code") or message["id"]
                            said.append((message["type"], what))

    def _recv(self) -> bytes | None:
        try:
            return self._sock.recv(65_536) or None
        except ConnectionResetError:
            return None

    def ended(self) -> bool:
        """Whether the server has closed the connection as well, and said nothing more."""
        return self._recv() is None


LOST = ("close", 1006)
VIOLATED = {LOST, *(("close", code) for code in (1002, 1003, 1007, 1009))}


@contextmanager
def on(place: Place | None) -> Iterator[int]:
    """A server in a thread of its own; its port. None: our own one port."""

    @asynccontextmanager
    async def elsewhere(place: Place) -> AsyncIterator[int]:
        async with site(ENDLESS) as web, listening(place, web.app) as url:
            yield int(url.rpartition(":")[2])

    @asynccontextmanager
    async def ours() -> AsyncIterator[int]:
        async with whole_server(ENDLESS) as listener:
            yield listener.port

    backend = "trio" if place is None else place.backend
    with start_blocking_portal(backend) as portal:
        server = ours() if place is None else elsewhere(place)
        with portal.wrap_async_context_manager(server) as port:
            yield port


def converse(visitor: Visitor, name: str) -> list[Said]:
    """Send what stands in a row, and return what the server says to it."""
    row = ROWS[name]
    visitor.send(row.sends)
    if not ends(row.says):
        visitor.send(END)
    return visitor.heard()


def ends(says: tuple[Said, ...]) -> bool:
    return says[-1][0] == "close"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with on(None) as port:
        yield port
        # And whatever others did, whoever comes now is served.
        with Visitor(port) as visitor:
            visitor.open(port)
            visitor.send(END)
            assert visitor.heard() == []


CASES = [
    (name, way)
    for name, row in ROWS.items()
    for way, size in WAYS.items()
    if size < len(row.sends) or way == "at once"
]


@pytest.mark.parametrize(("name", "way"), CASES)
def test_each_row_of_the_rfc_is_answered_as_it_has_it(port: int, name: str, way: str) -> None:
    with Visitor(port, WAYS[way]) as visitor:
        visitor.open(port)
        assert converse(visitor, name) == list(ROWS[name].says)
        if ends(ROWS[name].says):
            assert visitor.ended()


@pytest.mark.parametrize("place", ["a connection of ours that was used before", "uvicorn"])
def test_on_other_websockets_what_is_in_order_is_answered_alike_and_what_is_not_ends(
    place: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: dict[str, list[Said]] = {}
    uvicorn = place == "uvicorn"
    with on(Place("uvicorn", "asyncio") if uvicorn else None) as port:
        for name in ROWS.keys() - THEIRS:
            with Visitor(port) as visitor:
                if not uvicorn:
                    visitor.be_known()
                visitor.open(port)
                said, due = converse(visitor, name), list(ROWS[name].says)
            # A violation is for the server to see, and to say: uvicorn has a code for it, Hypercorn hangs up.
            broken = due[-1] in VIOLATED and said[-1] in VIOLATED
            if said != due and not (broken and said[:-1] in ([], due[:-1])):
                wrong[name] = said
    assert wrong == {}
    assert not caplog.records


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OPENINGS)
def test_each_opening_handshake_is_answered_as_the_rfc_has_it(
    port: int, name: str, way: str
) -> None:
    opening = OPENINGS[name]
    with Visitor(port, WAYS[way]) as visitor:
        status, fields = visitor.ask(request(port, opening))
        assert status == opening.status
        assert {field: fields.get(field) for field in opening.answer} == opening.answer
        if status == 101:
            assert fields["upgrade"].lower() == "websocket"
            assert fields["connection"].lower() == "upgrade"
            visitor.send(END)
            assert visitor.heard() == []


def request(port: int, opening: Opening) -> bytes:
    """The bytes of a request for a WebSocket."""
    given = "\r\n".join(f"{name}: {value}" for name, value in opening.fields.items())
    data = upgrade(port, "", given).partition(b"\r\n")[2]
    for name in (name for name, value in opening.fields.items() if value is None):
        data = data.replace(f"{name}: None\r\n".encode(), b"")
    return f"{opening.first}\r\n".encode() + data
