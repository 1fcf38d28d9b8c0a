"""An event stream, as any client of HTTP reads it."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from tests.protocol.server import EVENTS, Frame, Server

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream(ExitStack):
    """An event stream, read as WHATWG HTML §9.2.6 has it; `ids` has the `id:` of each frame (None: it had none)."""

    def __init__(self, server: Server, query: str = "", **headers: str) -> None:
        super().__init__()
        self._contract = server.contract
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.response = self.enter_context(
            server.http.stream("GET", f"/v1/sse{query}", headers=names)
        )
        assert self.response.status_code == 200, self.response.read()
        assert self.response.headers["content-type"] == "text/event-stream"
        self._lines = self.response.iter_lines()
        self.first = next(self._lines)
        assert next(self._lines) == ""
        self.frames: list[Frame] = []
        self.ids: list[str | None] = []

    def __enter__(self) -> Self:
        return self

    def take(self) -> Frame:
        """Read one event; return its frame."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line:
                break
            name, _, value = line.partition(": ")
            assert name not in fields
            fields[name] = value
        assert fields.keys() <= {"event", "id", "data"}
        frame: Frame = json.loads(fields["data"])
        assert fields["event"] == frame["type"]
        self._contract.frame("sse", frame)
        self.frames.append(frame)
        self.ids.append(fields.get("id"))
        return frame

    def until(self, fact: Callable[[Frame], bool]) -> Frame:
        while not fact(frame := self.take()):
            pass
        return frame


def events(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame["type"] in EVENTS]
