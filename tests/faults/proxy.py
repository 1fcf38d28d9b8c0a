"""Something between client and server that can go wrong in the ways in which networks do.

A network that fails seldom says so: it stalls. A browser's own offline switch may leave open sockets alone, so what is
lost here is lost by the proxy. Each connection has two threads, one a direction; both ask before they hand on.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD = b"\r\n\r\n"
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Weather:
    """How things are; `late` is by how many seconds what is handed on comes later."""

    stalled: bool = False
    down: bool = False
    refusing: bool = False
    dripping: bool = False
    late: float = 0


class Proxy:
    """A TCP proxy on a port of its own; it passes everything on until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._news = threading.Condition()
        self._weather = Weather()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._deaf: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((LOOPBACK, 0), backlog=256)
        self.url = f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cut()
        end(self._listener)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def stall(self) -> None:
        """Hand nothing on any more, in either direction; connections stay open, and new ones are taken."""
        self._become(Weather(stalled=True))

    def cut(self) -> None:
        """End all connections, with what was held back, and each new one at once."""
        self._become(Weather(down=True))
        for pair in self._open():
            for one in pair:
                end(one)

    def delay(self, seconds: float) -> None:
        """Hand everything on so much later, in both directions."""
        self._become(Weather(late=seconds))

    def drip(self) -> None:
        """Hand everything on in pieces of one byte."""
        self._become(Weather(dripping=True))

    def half_close(self, *, upwards: bool) -> None:
        """End one direction of all connections: the server (`upwards`), or else each client, hears no more."""
        for client, server in self._open():
            sink = server if upwards else client
            with self._news:
                self._deaf.add(sink)
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:  # it is not connected yet, or no more
                continue

    def refuse_upgrades(self) -> None:
        """Answer new requests for a WebSocket with 403."""
        self._become(Weather(refusing=True))

    def mend(self) -> None:
        """Hand everything on again, what was held back first."""
        self._become(Weather())

    def _become(self, weather: Weather) -> None:
        with self._news:
            self._weather = weather
            self._news.notify_all()

    def _open(self) -> list[tuple[socket.socket, socket.socket]]:
        with self._news:
            return list(self._pairs)

    def _start(self, run: object, *arguments: object) -> None:
        assert callable(run)
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was ended
                return
            self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket() as server:
            pair = client, server
            try:
                with self._news:
                    if self._weather.down:
                        return
                    self._pairs.add(pair)
                head = read_head(client)
                if self._weather.refusing and b"\nupgrade:" in head.lower():
                    client.sendall(REFUSAL)
                    return
                server.connect((LOOPBACK, self._target))
                for one in pair:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._hand_on(head, server)
                back = threading.Thread(target=self._pump, args=(server, client))
                back.start()
                self._pump(client, server)
                back.join()
            except OSError:  # one side is gone
                return
            finally:
                with self._news:
                    self._pairs.discard(pair)
                    self._deaf -= {client, server}

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                self._hand_on(data, sink)
        except OSError:
            pass
        # Neither HTTP nor WebSocket goes on in one direction alone.
        end(source)
        end(sink)

    def _hand_on(self, data: bytes, sink: socket.socket) -> None:
        with self._news:
            self._news.wait_for(lambda: self._weather.down or not self._weather.stalled)
            weather = self._weather
            if weather.down:
                raise ConnectionAbortedError
            if sink in self._deaf:
                return
        time.sleep(weather.late)
        while data and self._weather.dripping:
            sink.sendall(data[:1])
            data = data[1:]
        sink.sendall(data)


def read_head(client: socket.socket) -> bytes:
    """Return what comes up to the end of the first request's head, or of the connection."""
    head = b""
    while HEAD not in head and (data := client.recv(65_536)):
        head += data
    return head


def end(one: socket.socket) -> None:
    """End a socket under whoever waits for it."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
