"""Sees all that the HTTP application answers while a test runs, over whatever server, and holds it to the contract."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloudchat_transports.http import HttpApp
from tests.specs.generated import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return where what is wrong will be noted: it is the server that sees it, but the test that has to fail."""
    wrong: list[str] = []
    serve = HttpApp.__call__

    async def watched(app: HttpApp, scope: Any, receive: Any, send: Any) -> None:
        seen = _SEEN[scope["type"]](scope) if scope["type"] in _SEEN else None

        async def sending(message: Any) -> None:
            await send(message)
            if seen is not None:
                try:
                    seen.note(message)
                except (AssertionError, ValueError, KeyError) as error:
                    wrong.append(f"{scope['path']}: {error!r}")

        await serve(app, scope, receive, sending)

    monkeypatch.setattr(HttpApp, "__call__", watched)
    return wrong


class _Answer:
    """One answer of HTTP."""

    def __init__(self, scope: Any) -> None:
        root: str = scope.get("root_path", "").rstrip("/")
        self._method: str = scope["method"]
        self._path: str = scope["path"].removeprefix(root)
        self._status, self._headers, self._body = 0, dict[str, str](), b""

    def note(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {n.decode(): v.decode("latin-1") for n, v in message["headers"]}
            return
        self._body += message.get("body", b"")
        if self._headers.get("content-type") == "text/event-stream":
            *events, self._body = self._body.split(b"\n\n")
            for event in events:
                for line in event.splitlines():
                    if line.startswith(b"data: "):
                        CONTRACT.frame("sse", json.loads(line.removeprefix(b"data: ")))
        elif not message.get("more_body", False):
            body = b"" if "content-encoding" in self._headers else self._body
            CONTRACT.answer(self._method, self._path, self._status, self._headers, body)


class _Messages(_Answer):
    """What is said on a WebSocket, or instead of one: a handshake that is refused is an answer of HTTP."""

    def __init__(self, scope: Any) -> None:
        super().__init__({**scope, "method": "GET"})

    def note(self, message: Any) -> None:
        kind = message["type"]
        if kind == "websocket.send":
            CONTRACT.frame("ws", json.loads(message["text"]))
        elif kind.startswith("websocket.http.response."):
            super().note({**message, "type": kind.removeprefix("websocket.")})


_SEEN: dict[str, Callable[[Any], _Answer]] = {
    "http": _Answer,
    "websocket": _Messages,
}
