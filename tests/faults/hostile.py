"""Clients that mean harm: limits hold, and everybody else is answered meanwhile."""

from __future__ import annotations

import json
import threading
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from tests.faults import raw
from tests.faults.harness import PATIENCE
from tests.faults.scene import Scene

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection
    from types import TracebackType

    from tests.faults.accounts import Result
    from tests.faults.harness import Server

SLOW: Final = 100
"""Connections that say one byte at a time, at once."""
FEW: Final = 3
"""Sorts of refusals that are named one by one."""

Attack: TypeAlias = "Callable[[Server, Attacker], None]"


@dataclass
class Attacker:
    """Attacks a server in a thread of its own while the body of a `with` runs, again and again.

    What the server did about it is counted in `met`, by name.
    """

    server: Server
    attack: Attack
    over: threading.Event = field(default_factory=threading.Event)
    met: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        self._thread.join(PATIENCE)
        if self.failure is not None and error is None:
            raise self.failure

    def _run(self) -> None:
        try:
            while not self.over.is_set():
                self.attack(self.server, self)
        except BaseException as error:  # noqa: BLE001 - raised where the attack ends
            self.failure = error


def _under(attack: Attack, met: Collection[str], rounds: int, seed: int, *options: str) -> Result:
    """Attack until all others were answered often enough, and everything in `met` has been met."""
    total: Counter[str] = Counter()
    with Scene(seed, *options) as it:
        crowd = it.crowd()
        lost = crowd.times("lost")
        for _ in range(rounds):
            with Attacker(it.server, attack) as attacker:
                crowd.wait("ack", it.chance.randrange(5, 20))
                while not all(attacker.met[name] for name in met) and attacker.failure is None:
                    crowd.wait("ack")
            total += attacker.met
        assert crowd.times("lost") == lost, "somebody was hurt"
        assert it.server.ask("/readyz")[0] == 200
        said = ", ".join(f"{name} {times:,} times" for name, times in total.items())
        if len(total) > FEW:
            said = f"{total.total():,} refusals of {len(total)} sorts"
        return it.result(rounds, said)


# ---------------------------------------------------------------- one byte at a time


def slow(rounds: int, seed: int) -> Result:
    """A hundred connections say their heads and bodies one byte at a time: each is ended in time (408)."""
    limits = ("--limit", "head_time=1", "--limit", "body_time=1")
    return _under(_crawl, ("head ended", "body ended"), rounds, seed, *limits)


def _crawl(server: Server, attacker: Attacker) -> None:
    head = raw.get("/v1/instances?" + "x" * 1_000)
    body = raw.post(b"[" + b" " * 1_000 + b"]")
    begun = body.index(b"[")
    with ExitStack() as stack:
        open_: list[tuple[str, socket.socket, bytes]] = []
        for number in range(SLOW):
            sock = stack.enter_context(closing(raw.opened(server)))
            sock.setblocking(False)
            if number % 2:
                sock.send(body[:begun])
                open_.append(("body ended", sock, body[begun:]))
            else:
                open_.append(("head ended", sock, head))
        for place in count():
            open_ = [one for one in open_ if not _ended(attacker, *one[:2])]
            if not open_ or attacker.over.wait(0.01):
                return
            for _, sock, data in open_:
                _try_to_send(sock, data[place : place + 1])


def _ended(attacker: Attacker, name: str, sock: socket.socket) -> bool:
    """Tell whether the server has ended a connection, and see that it said why."""
    try:
        data = sock.recv(65_536)
    except BlockingIOError:
        return False
    except ConnectionResetError:
        data = b""
    assert not data or raw.statuses(data) == [408], data
    attacker.met[name] += 1
    return True


def _try_to_send(sock: socket.socket, data: bytes) -> None:
    try:
        sock.send(data)
    except OSError:
        return  # it was ended: the next look tells


# ---------------------------------------------------------------- too much


def flood(rounds: int, seed: int) -> Result:
    """Requests, commands and pings as fast as a client can: the rate is kept, and who goes on is cut off."""
    rates = ("commands_per_second=200", "commands_burst=400", "requests_per_second=400")
    limits = [word for rate in rates for word in ("--limit", rate)]
    met = ("429", "rate_limited", "1008")
    return _under(_pour, met, rounds, seed, *limits)


def _pour(server: Server, attacker: Attacker) -> None:
    with closing(raw.opened(server)) as sock:
        last = raw.get("/healthz").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        _try_to_send_all(sock, raw.get("/v1/instances") * 2_000 + last)
        attacker.met["429"] += 429 in raw.statuses(raw.until(sock, b"HTTP/1.1 429"))
    ping = json.dumps({"type": "ping", "id": "p"}).encode()
    for frames in (raw.text(ping) * 3_000, raw.text(b"", 0x89) * 3_000):
        with closing(raw.opened(server)) as sock:
            sock.sendall(raw.UPGRADE)
            raw.until(sock, b'"welcome"')
            _try_to_send_all(sock, frames)
            said = raw.until(sock, raw.close_code(1008))
            attacker.met["rate_limited"] += b"rate_limited" in said
            attacker.met["1008"] += raw.close_code(1008) in said


def _try_to_send_all(sock: socket.socket, data: bytes) -> None:
    try:
        sock.sendall(data)
    except OSError:
        return


# ---------------------------------------------------------------- too large

_LONG = b"x" * 20_000
_HEAD = b"GET /v1/instances HTTP/1.1\r\nHost: localhost\r\n"
_POST = b"POST /v1/commands HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
_PING = b'{"type":"ping","id":"p"}'

LARGE: Final[dict[str, tuple[bytes, bytes]]] = {
    "a head": (_HEAD + b"X-Long: " + _LONG + b"\r\n\r\n", b"HTTP/1.1 431"),
    "a path": (b"GET /" + _LONG + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 431"),
    "many headers": (_HEAD + b"X: y\r\n" * 5_000 + b"\r\n", b"HTTP/1.1 431"),
    "a body": (_POST + b"Content-Length: 2000000\r\n\r\n", b"HTTP/1.1 413"),
    "a body in chunks": (
        _POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"10000\r\n%b\r\n" % (b" " * 65_536) * 17,
        b"HTTP/1.1 413",
    ),
    "a list": (raw.post(b"[%b]" % b",".join([_PING] * 101)), b"HTTP/1.1 413"),
    "a cursor": (raw.get("/v1/poll?after=" + "x" * 129), b"HTTP/1.1 400"),
    "a frame": (raw.UPGRADE + raw.text(b" " * 65_537)[:14], raw.close_code(1009)),
    "a frame of eight exabytes": (
        raw.UPGRADE + b"\x81\xff" + (2**63 - 1).to_bytes(8, "big") + bytes(4),
        raw.close_code(1009),
    ),
    "a message in pieces": (
        raw.UPGRADE + raw.text(b" " * 40_000, 0x01) + raw.text(b" " * 40_000, 0x80),
        raw.close_code(1009),
    ),
}
"""What is sent, and how it is answered."""


def oversized(rounds: int, seed: int) -> Result:
    """Heads, paths, bodies, lists, cursors, frames and messages over their limits: each is refused by its name."""
    return _under(_overdo, LARGE, rounds, seed)


def _overdo(server: Server, attacker: Attacker) -> None:
    for name, (data, refusal) in LARGE.items():
        with closing(raw.opened(server)) as sock:
            _try_to_send_all(sock, data)
            got = raw.until(sock, refusal)
            assert refusal in got, f"{name}: {got[:200]!r}"
            attacker.met[name] += 1
