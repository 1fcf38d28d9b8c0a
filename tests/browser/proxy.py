"""Something between browser and server that can go wrong in the ways in which networks do.

A network that fails seldom says so: it stalls. The browser's own offline switch may leave open sockets alone, so what
is lost here is lost by the proxy. Each connection has two threads, one a direction; both ask before they hand on.
"""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

REFUSAL = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HEAD = b"\r\n\r\n"


class Proxy:
    """A TCP proxy on a port of its own; it passes everything on until it is told otherwise."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._news = threading.Condition()
        self._stalled = self._down = self._refusing = False
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
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
        self._become(stalled=True)

    def cut(self) -> None:
        """End all connections, with what was held back, and each new one at once."""
        self._become(down=True)
        with self._news:
            sockets = list(self._sockets)
        for one in sockets:
            end(one)

    def refuse_upgrades(self) -> None:
        """Answer new requests for a WebSocket with 403."""
        self._become(refusing=True)

    def mend(self) -> None:
        """Hand everything on again, what was held back first."""
        self._become()

    def _become(self, *, stalled: bool = False, down: bool = False, refusing: bool = False) -> None:
        with self._news:
            self._stalled, self._down, self._refusing = stalled, down, refusing
            self._news.notify_all()

    def _start(self, run: object, *arguments: object) -> None:
        assert callable(run)
        thread = threading.Thread(target=run, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:  # it was ended
                return
            self._start(self._serve, browser)

    def _serve(self, browser: socket.socket) -> None:
        with browser, socket.socket() as server:
            try:
                with self._news:
                    if self._down:
                        return
                    self._sockets |= {browser, server}
                head = read_head(browser)
                if self._refusing and b"\nupgrade:" in head.lower():
                    browser.sendall(REFUSAL)
                    return
                server.connect(("127.0.0.1", self._target))
                self._hand_on(head, server)
                back = threading.Thread(target=self._pump, args=(server, browser))
                back.start()
                self._pump(browser, server)
                back.join()
            except OSError:  # one side is gone
                return
            finally:
                with self._news:
                    self._sockets -= {browser, server}

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
            self._news.wait_for(lambda: self._down or not self._stalled)
            if self._down:
                raise ConnectionAbortedError
        sink.sendall(data)


def read_head(browser: socket.socket) -> bytes:
    """Return what comes up to the end of the first request's head, or of the connection."""
    head = b""
    while HEAD not in head and (data := browser.recv(65_536)):
        head += data
    return head


def end(one: socket.socket) -> None:
    """End a socket under whoever waits for it."""
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
