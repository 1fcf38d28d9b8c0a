"""A WebSocket for Trio: trio-websocket, by its public API.

What it does not tell is told here: a peer that goes away during the handshake (it would wait for the answer until the
time is up), and a refusal, which it raises in its reader task. That task must outlive a cancelled user, or there would
be nobody to see the answer to our close frame; so it lives in a system task of Trio's, and is ended by hand.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from trio_websocket import ConnectionClosed, ConnectionRejected, wrap_client_stream

from cloudchat_core.session import PROTOCOL
from cloudchat_transports.client_transport import LOST, Connection, UnreachableError, reason
from cloudchat_transports.ws.client import MAX_MESSAGE, OPENING, Address, rejected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketConnection

_log = logging.getLogger(__name__)
_NO_SERVER: Final = "what answers there is no cloudchat server"


@asynccontextmanager
async def connect(address: Address) -> AsyncIterator[Connection]:
    """Open a WebSocket; raises `UnreachableError` or `RejectedError` when entered."""
    reader, stream, websocket = _Reader(), None, None
    try:
        with trio.move_on_after(OPENING) as opening:
            try:
                stream = _Watched(await _open_stream(address), opening)
            except (OSError, trio.BrokenResourceError) as error:
                raise UnreachableError(f"{address.url}: {reason(error)}") from error
            websocket = await wrap_client_stream(
                await reader.start(opening),
                stream,  # type: ignore[arg-type]  # any stream will do
                address.authority,
                address.target,
                subprotocols=[PROTOCOL],
                extra_headers=address.headers,
                max_message_size=MAX_MESSAGE,
            )
        if reader.refusal is not None:
            refusal = reader.refusal
            raise rejected(refusal.status_code, refusal.headers or (), refusal.body)
        if stream is None or websocket is None:
            gone = stream is not None and stream.gone
            why = _NO_SERVER if gone else f"no answer within {OPENING:g} s"
            raise UnreachableError(f"{address.url}: {why}")
        stream.opening = None
        yield _Connection(websocket)
    finally:
        reader.stop()
        if stream is not None:
            await trio.aclose_forcefully(stream)


class _Reader:
    """Where trio-websocket's reader task lives, and what it ended with."""

    def __init__(self) -> None:
        self.refusal: ConnectionRejected | None = None
        self._nursery: trio.Nursery | None = None
        self._life = trio.CancelScope()

    async def start(self, opening: trio.CancelScope) -> trio.Nursery:
        ready = trio.Event()
        trio.lowlevel.spawn_system_task(self._host, ready, opening)
        await ready.wait()
        assert self._nursery is not None, "it was opened before it was said to be ready"  # noqa: S101
        return self._nursery

    async def _host(self, ready: trio.Event, opening: trio.CancelScope) -> None:
        try:
            with self._life:
                async with trio.open_nursery() as self._nursery:
                    ready.set()
                    await trio.sleep_forever()
        except* ConnectionRejected as group:
            error: BaseException = group
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, ConnectionRejected):
                self.refusal = error
        except* Exception:  # noqa: BLE001 - whatever ends the reader ends the connection, as `receive` tells
            _log.debug("a WebSocket ended", exc_info=True)
        finally:
            opening.cancel()

    def stop(self) -> None:
        """End the task, also where it has not begun to run yet."""
        self._life.cancel()


async def _open_stream(address: Address) -> trio.abc.Stream:
    stream = await trio.open_tcp_stream(address.host, address.port)
    if address.tls is None:
        return stream
    return trio.SSLStream(stream, address.tls, server_hostname=address.host, https_compatible=True)


class _Watched(trio.abc.Stream):
    """A stream that ends the opening handshake when the peer is gone before it has answered."""

    def __init__(self, stream: trio.abc.Stream, opening: trio.CancelScope) -> None:
        self.opening: trio.CancelScope | None = opening
        self.gone = False
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError:
            self._lost()
            raise
        if not data:
            self._lost()
        return data

    def _lost(self) -> None:
        self.gone = True
        if self.opening is not None:
            self.opening.cancel()

    async def aclose(self) -> None:
        # trio-websocket closes in the middle of the handshake where what came was no answer to it.
        self._lost()
        await self._stream.aclose()


class _Connection:
    """A `Connection` over trio-websocket's."""

    def __init__(self, websocket: WebSocketConnection) -> None:
        self.close_code = LOST
        self._websocket = websocket

    async def receive(self) -> str | None:
        try:
            message = await self._websocket.get_message()
        except ConnectionClosed as closed:
            if closed.reason is not None:
                self.close_code = closed.reason.code
            return None
        # The protocol has no binary frames; read as text, the session says what is wrong.
        return message if isinstance(message, str) else message.decode("latin-1")

    async def send(self, frame: bytes) -> None:
        try:
            await self._websocket.send_message(frame.decode())
        except ConnectionClosed:
            await trio.lowlevel.checkpoint()

    async def close(self, code: int) -> None:
        await self._websocket.aclose(code)
