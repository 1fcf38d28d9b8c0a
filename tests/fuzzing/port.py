"""What arrives on the one port of a whole server: any bytes, at once and in pieces, and nobody else is hurt."""

from __future__ import annotations

import json
import logging
import re
import socket
from contextlib import closing, suppress

import trio
import trio.lowlevel
from wsproto.connection import Connection, ConnectionType

from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits
from tests.fuzzing.pieces import pieces
from tests.transports.whole import whole_server

PATIENCE = 60.0
"""Seconds after which an answer is not coming any more."""

ENOUGH = 0.1
"""Seconds of silence after which a client that has said everything goes."""

SMALL = Limits(head=1_000, frame=30_000, body=500)
"""Small bounds, so that the fuzzer gets beyond them."""

_HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_HEAD = re.compile(
    rb"HTTP/1\.1 (\d{3}) [\x20-\x7e]*\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\x20-\x7e\x80-\xff]*\r\n)*)\r\n"
)


def requests(data: bytes) -> None:
    """Every answer is a proper one, no bug is logged, the connection ends, and others are served as before."""
    bugs = _Bugs()
    logging.getLogger().addHandler(bugs)
    try:
        trio.run(_visit, data)
    finally:
        logging.getLogger().removeHandler(bugs)
    assert bugs.said == []


async def _visit(data: bytes) -> None:
    with trio.fail_after(PATIENCE):
        async with whole_server(SMALL, heartbeat=0.5) as listener:
            _, few = pieces(data)
            for parts in ([data], few):
                _check(await _ask(listener.port, parts))
            others = await _ask(listener.port, [_HEALTHY], PATIENCE)
            assert others.startswith(b"HTTP/1.1 200 ")
            while listener.connections:
                await trio.lowlevel.checkpoint()


class _Bugs(logging.Handler):
    """Collects what a server logs when something happened that its author had not thought of."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


async def _ask(port: int, parts: list[bytes], enough: float = ENOUGH) -> bytes:
    """Send something in these parts and nothing more; what comes back until the end, or `enough` seconds of silence."""
    with closing(socket.create_connection(("127.0.0.1", port))) as sock:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        answer = b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_send, stream, parts)
            more: bytes | None = None
            while more != b"":
                more = b""
                # A stream behind which something else was asked for goes on: its client may still be reading.
                with suppress(trio.BrokenResourceError), trio.move_on_after(enough):
                    more = await stream.receive_some()
                answer += more
            nursery.cancel_scope.cancel()
        return answer


async def _send(stream: trio.SocketStream, parts: list[bytes]) -> None:
    try:
        for part in parts:
            await stream.send_all(part)
            for _ in range(3):  # the server's turn, to read it
                await trio.lowlevel.checkpoint()
        await stream.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        pass


def _check(answer: bytes) -> None:
    if not answer:
        return
    head = _HEAD.match(answer)
    assert head is not None, answer
    status, rest = int(head[1]), answer[head.end() :]
    assert status < 500 or status in {501, 503, 505}
    if status == 101:
        peer = Connection(ConnectionType.CLIENT)
        peer.receive_data(rest)
        for event in peer.events():
            assert getattr(event, "code", 1000) != 1011, event
    elif (
        b"application/problem+json" in head[2] and b"content-length: %d\r\n" % len(rest) in head[2]
    ):
        assert json.loads(rest)["code"] in set(Code)
