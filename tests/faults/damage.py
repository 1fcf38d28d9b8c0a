"""A log whose file is not what was written: a page, a byte, the end of it, all of it.

Either the server does not start and says which file, where, and what to do; or it starts, since what is damaged is
history that its snapshot stands for. Then it serves what is sound as it was written, and of the rest it says that it
cannot.
"""

import json
import random
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.faults.accounts import Result
from tests.faults.harness import PATIENCE, Server, answer, records_of, serve_command

PAGE = 4096
COUNT = 1_800
"""More than a server reads when it starts: damage further back does not keep it from that."""


def zeroed(path: Path, source: random.Random) -> None:
    """A page is lost."""
    _overwrite(path, source.randrange(1, path.stat().st_size // PAGE) * PAGE, bytes(PAGE))


def scribbled(path: Path, source: random.Random) -> None:
    """Another file's block stands where a page was."""
    place = source.randrange(path.stat().st_size // PAGE) * PAGE
    _overwrite(path, place, source.randbytes(PAGE))


def flipped(path: Path, source: random.Random) -> None:
    """A bit of a text has changed."""
    texts = path.read_bytes().split(b'"text":"')
    chosen = source.randrange(1, len(texts))
    place = len(b'"text":"'.join(texts[:chosen])) + len(b'"text":"')
    _overwrite(path, place, bytes([texts[chosen][0] ^ 2]))


def cut(path: Path, source: random.Random) -> None:
    """The file system lost the end."""
    with path.open("r+b") as file:
        file.truncate(source.randrange(1, path.stat().st_size))


def foreign(path: Path, source: random.Random) -> None:
    """The path is another program's."""
    path.unlink()
    if source.random() < 0.5:
        path.write_text("Dear diary,\n" * 1_000)
        return
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE log (entry)")


def beheaded(path: Path, source: random.Random) -> None:
    """The newest records are gone from the table, and their snapshot is not believed either."""
    with closing(sqlite3.connect(path)) as other, other:
        other.execute('DELETE FROM log WHERE "offset" = (SELECT max("offset") - ? FROM log)',
                      (source.randrange(1, 500),))  # fmt: skip


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    zeroed,
    flipped,
    cut,
    foreign,
    scribbled,
    beheaded,
)


def _overwrite(path: Path, place: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        file.write(data)


def damaged(rounds: int, seed: int) -> Result:
    """What stands in the file is changed while no server has it."""
    source = random.Random(seed)
    with TemporaryDirectory() as directory:
        path, errors = Path(directory) / "log.db", Path(directory) / "errors"
        command = serve_command(path, "--limit", "snapshot_every=100000")
        server = Server(command)
        truth = _talk(server)
        assert server.end(signal.SIGTERM) == 0
        assert len(records_of(path)) > COUNT
        whole = path.read_bytes()
        refused = seen = unavailable = 0
        for round_ in range(rounds):
            path.write_bytes(whole)
            for rest in ("-wal", "-shm"):
                Path(f"{path}{rest}").unlink(missing_ok=True)
            KINDS[round_ % len(KINDS)](path, source)
            errors.write_bytes(b"")
            try:
                server = Server(command, errors=errors)
            except AssertionError:
                _named(errors.read_text(), path)
                refused += 1
                continue
            served, failed = _history(server, truth)
            seen += served
            unavailable += failed
            assert not failed or f"{path} is damaged" in errors.read_text()
            assert server.end(signal.SIGTERM) in {0, 1}
    note = f"{refused} times it did not start, else {unavailable} pages of history were refused"
    return Result(len(truth), seen, rounds=rounds, note=note)


def _talk(server: Server) -> dict[str, str]:
    """Say things of all lengths; return what was said, by cursor."""
    said: dict[str, str] = {}
    with server.connect(topics="chat") as socket:
        joined = {"type": "join", "id": "j", "nickname": "Ann", "token": "t" * 22}
        assert answer(socket, joined)["type"] == "ack"
        texts = [f"{n} {'long ' * (n % 60)}".strip() for n in range(COUNT)]
        for start in range(0, COUNT, 50):
            part = range(start, min(start + 50, COUNT))
            for n in part:
                socket.send(json.dumps({"type": "say", "id": f"{n}", "text": texts[n]}))
            acks: dict[str, str] = {}
            while len(acks) < len(part):
                frame = json.loads(socket.recv(PATIENCE))
                assert frame["type"] != "error", frame
                if frame["type"] == "ack":
                    acks[frame["id"]] = frame["cursor"]
            said |= {acks[str(n)]: texts[n] for n in part}
    return said


def _named(said: str, path: Path) -> None:
    """See that whoever started the server is told, in one line: the file, what is wrong and where, and what to do."""
    assert "Traceback" not in said, said
    last = said.splitlines()[-1]
    assert last.startswith("cloudchat: "), said
    assert str(path) in last, said
    assert any(word in last for word in ("damaged", "another program", "missing")), said
    assert any(word in last for word in ("restore a backup", "name another file")), said


def _history(server: Server, truth: dict[str, str]) -> tuple[int, int]:
    """Read all of the history in both directions; return how many events and how many refusals that came to."""
    served = refused = 0
    cursors = list(truth)
    for items in (*_pages(server, cursors), *_feeds(server, cursors), *_followed(server, cursors)):
        if items is None:
            refused += 1
            continue
        served += len(items)
        assert all(truth[item["cursor"]] == item["text"] for item in items), "not what was said"
    return served, refused


def _pages(server: Server, cursors: list[str]) -> Iterator[list[Any] | None]:
    for place in range(len(cursors) - 1, 0, -200):
        status, body = server.ask(f"/v1/messages?limit=200&before={cursors[place]}")
        assert status in {200, 503}, body
        yield None if status == 503 else json.loads(body)["items"]


def _feeds(server: Server, cursors: list[str]) -> Iterator[list[Any] | None]:
    for place in range(0, len(cursors), 500):
        status, body = server.ask(f"/v1/poll?topics=chat&wait=0&after={cursors[place]}")
        assert status in {200, 503}, body
        frames = [] if status == 503 else json.loads(body)["frames"]
        if status == 503 or any(frame["type"] == "gap" for frame in frames):
            yield None
        yield [it for it in frames if it["type"] == "message"]


def _followed(server: Server, cursors: list[str]) -> Iterator[list[Any] | None]:
    """Follow on a WebSocket from the first thing said: what the log cannot read is said by a `gap`."""
    brought: list[Any] = []
    with server.connect(topics=f"chat&after={cursors[0]}") as socket:
        try:
            while not brought or brought[-1]["cursor"] != cursors[-1]:
                frame = json.loads(socket.recv(PATIENCE))
                assert frame["type"] != "snapshot"
                if frame["type"] == "gap":
                    yield None
                    break
                if frame["type"] == "message":
                    brought.append(frame)
        except ConnectionClosed:
            yield None
    yield brought
    assert [it["cursor"] for it in brought] == cursors[1 : len(brought) + 1]
