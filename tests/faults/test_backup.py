"""A copy of the log is taken and put back as docs/operations.md has it."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.faults.harness import Server, answer, serve_command


def say(server: Server, *texts: str) -> str:
    """Say things and return the cursor of the last."""
    cursor = ""
    with server.connect() as socket:
        answer(
            socket, {"type": "join", "id": f"join.{texts[0]}", "nickname": "Ann", "token": "t" * 22}
        )
        for text in texts:
            cursor = answer(socket, {"type": "say", "id": text, "text": text})["cursor"]
    return cursor


def feed(server: Server, after: str) -> list[dict[str, Any]]:
    """Return what a chat feed tells at once to who comes back with a cursor."""
    frames: list[dict[str, Any]] = server.get(f"/v1/poll?topics=chat&wait=0&after={after}")[
        "frames"
    ]
    return frames


def test_who_saw_more_than_a_restored_backup_has_is_told_so(tmp_path: Path) -> None:
    path, backup = tmp_path / "log.db", tmp_path / "backup.db"
    server = Server(serve_command(path))
    kept = say(server, "one", "two")
    # What `sqlite3 PATH ".backup backup.db"` does.
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as target:
        source.backup(target)
    lost = say(server, "three")
    assert [frame.get("text") for frame in feed(server, kept) if frame["type"] == "message"] == [
        "three"
    ]
    assert server.end(signal.SIGTERM) == 0

    backup.replace(path)
    for rest in ("-wal", "-shm"):
        Path(f"{path}{rest}").unlink(missing_ok=True)
    server = Server(serve_command(path))
    welcome, gap, snapshot = feed(server, lost)[:3]
    assert welcome["type"] == "welcome"
    assert (gap["type"], gap["after"], gap["reason"]) == ("gap", lost, "epoch")
    assert [message["text"] for message in snapshot["messages"]] == ["one", "two"]
    assert "gap" not in json.dumps(feed(server, kept))
    assert server.end(signal.SIGTERM) == 0
