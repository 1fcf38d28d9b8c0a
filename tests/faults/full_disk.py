"""A server whose disk fills up and is given room again: `python -m tests.faults.full_disk DIRECTORY [ROUNDS]`.

`DIRECTORY` is a small disk of its own. What breaks a promise raises AssertionError; what came of it is printed.
"""

import secrets
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.faults.harness import Publisher, Server, answer, check, hear, records_of, serve_command

BALLAST = "ballast"


def fill(directory: Path) -> None:
    """Leave no room on the disk."""
    with (directory / BALLAST).open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


def main() -> None:
    directory, rounds = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    path = directory / "log.db"
    server = Server(serve_command(path))
    one = Publisher("one")
    with server.connect(topics="chat") as socket:

        def say(key: str) -> dict[str, Any]:
            reply = answer(socket, {"type": "say", "id": key, "text": f"{key} {'long ' * 200}"})
            if reply["type"] == "ack":
                one.acked[key] = reply
            return reply

        joined = answer(socket, {"type": "join", "id": "j", "nickname": "One", "token": one.token})
        assert joined["type"] == "ack"
        for n in range(20):
            assert say(f"early{n}")["type"] == "ack"
        for _ in range(rounds):
            fill(directory)
            # The log may still have room inside the space that it has already.
            key = ""
            while not key:
                reply = say(f"late{len(one.acked)}")
                if reply["type"] == "error":
                    assert reply["code"] == "unavailable"
                    key = reply["id"]
            starve(server, say, key, list(one.acked))
            (directory / BALLAST).unlink()
            while say(key)["type"] != "ack":
                pass
            assert say(f"after{len(one.acked)}")["type"] == "ack"
            assert server.ask("/readyz")[0] == 200
        assert server.process.poll() is None
    assert server.end(signal.SIGTERM) == 0
    print(f"acknowledged {check(records_of(path), [one])}")  # noqa: T201 - what the test reads


def starve(
    server: Server, say: Callable[[str], dict[str, Any]], key: str, acked: list[str]
) -> None:
    """See that nothing is taken in while there is no room, and that readers go on."""
    assert [say(key)["code"] for _ in range(5)] == ["unavailable"] * 5
    said = server.get("/v1/messages?limit=200")["items"]
    assert [item["ref"] for item in said] == list(reversed(acked))[:200]
    assert server.ask("/healthz")[0] == 200
    assert server.ask("/readyz")[0] == 503
    with server.connect(topics="chat") as second:
        assert hear(second)["type"] == "welcome"
        shown = hear(second)
        assert [it["ref"] for it in shown["messages"]] == acked[-50:]
        other = {"type": "join", "id": "j", "nickname": "Two", "token": secrets.token_urlsafe()}
        assert answer(second, other)["code"] == "unavailable"


if __name__ == "__main__":
    main()
