"""The resources that are read: each shows the committed state, or a page of the log.

Reads never wait for the log to be writable. The ETag of a collection is the cursor of the log's head: whatever changes
a collection is an event.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from cloudchat_core.codec import encode
from cloudchat_core.cursor import CURSOR_LENGTH, Lost, locate
from cloudchat_core.errors import Code
from cloudchat_core.frames import OperationView, ParticipantView
from cloudchat_core.instances import ABSENT
from cloudchat_transports.derived import Derived
from cloudchat_transports.responses import (
    JSON,
    Headers,
    ProblemError,
    Response,
    json_response,
    problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cloudchat_core.workspace import Workspace
    from cloudchat_engine.node import Node
    from cloudchat_transports.requests import Request

PAGE: Final = 50
"""How many items a page has where the request does not say."""

LONGEST_PAGE: Final = 200
"""How many items a page has at most."""

_NUMBER: Final = re.compile(r"([+-]?)0*(\d+)", re.ASCII)


class Resources:
    """What the resources show; each public method is the handler of one."""

    def __init__(self, node: Node) -> None:
        """Show the workspace of `node`."""
        self._node = node
        self._written: defaultdict[str, Derived[bytes]] = defaultdict(Derived)

    async def instances(self, request: Request) -> Response:
        state = self._node.state
        parts = (state.instances, state.operations)
        return self._collection(request, "instances", parts, state.listed)

    async def instance(self, request: Request) -> Response:
        state = self._node.state
        instance = state.instances.get(request.name)
        if instance is None or instance.state == ABSENT:
            return problem(Code.INSTANCE_UNKNOWN, "there is no instance with this id")
        return json_response(state.view_of(instance))

    async def operations(self, request: Request) -> Response:
        state = self._node.state

        def newest_first() -> list[OperationView]:
            known = [*state.finished.values(), *state.operations.values()]
            known.sort(key=lambda operation: operation.received_at)
            return [operation.view() for operation in reversed(known)]

        parts = (state.operations, state.finished)
        return self._collection(request, "operations", parts, newest_first)

    async def operation(self, request: Request) -> Response:
        state = self._node.state
        operation = state.operations.get(request.name) or state.finished.get(request.name)
        if operation is None:
            return problem(Code.NOT_FOUND, "there is no operation with this id, or no longer")
        return json_response(operation.view())

    async def participants(self, request: Request) -> Response:
        state = self._node.state

        def all_of_them() -> list[ParticipantView]:
            held = state.participants.participants()
            return [ParticipantView(one.nickname, one.since) for one in held]

        return self._collection(request, "participants", (state.participants,), all_of_them)

    async def messages(self, request: Request) -> Response:
        return await self._page(request, "messages")

    async def worklog(self, request: Request) -> Response:
        return await self._page(request, "worklog")

    def _collection(
        self,
        request: Request,
        name: str,
        parts: tuple[object, ...],
        make: Callable[[], Sequence[object]],
    ) -> Response:
        """Answer with what `make` makes of `parts` of the state, written out once for all who ask."""
        state = self._node.state
        headers = (("etag", f'"{state.cursor}"'), ("cache-control", "no-cache"))
        if _is_current(request, state):
            return Response(304, headers=headers)
        body = self._written[name].get(parts, lambda: encode(make()))
        return Response(200, body, JSON, headers)

    async def _page(self, request: Request, what: Literal["messages", "worklog"]) -> Response:
        state, query = self._node.state, request.query()
        limit, before = _page_limit(query.get("limit")), state.offset + 1
        if (cursor := query.get("before")) is not None:
            before = self._place(cursor)
        headers = (("etag", f'"{state.cursor}"'), ("cache-control", "no-cache"))
        if _is_current(request, state):
            return Response(304, headers=headers)
        found = await self._node.page(what, before, limit + 1)
        items = found[:limit]
        following = state.cursor_at(items[-1].offset) if len(found) > limit else None
        page = {"items": [msgspec.Raw(record.body) for record in items], "next": following}
        return Response(200, encode(page), JSON, headers)

    def _place(self, cursor: str) -> int:
        """Return the offset of `cursor`, where it can be served."""
        if len(cursor) > CURSOR_LENGTH:
            detail = f"`before` is longer than {CURSOR_LENGTH} characters"
            raise ProblemError(Code.BAD_REQUEST, detail)
        state = self._node.state
        place = locate(cursor, state.epochs, self._node.first, state.offset)
        if isinstance(place, Lost):
            detail = "there is nothing to be had before this cursor: it is unknown, or too old"
            raise ProblemError(Code.GONE, detail, reason=place.reason)
        return place.offset

    # -- health

    async def alive(self, request: Request) -> Response:
        return json_response({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        if not self._node.state.epochs:
            return problem(Code.UNAVAILABLE, "the server has not opened its log yet")
        if self._node.problem is not None:
            # The reason names files of the server; it stands in the server's own log.
            return problem(Code.UNAVAILABLE, "the server cannot write its log now")
        return json_response({"status": "ok"})

    async def upgrade(self, request: Request) -> Response:
        """A WebSocket begins with an upgrade (RFC 6455 §4.1); RFC 9110 §15.5.22 says how to tell who sent none."""
        headers: Headers = (("upgrade", "websocket"),)
        if request.http_version.startswith("1."):  # RFC 9113 §8.2.2 has no such header
            headers = (*headers, ("connection", "upgrade"))
        detail = "this is a WebSocket: ask for an upgrade, or use the other resources"
        return problem(Code.BAD_REQUEST, detail, status=426, headers=headers)


def _is_current(request: Request, state: Workspace) -> bool:
    """Tell whether the client has this state already (RFC 9110 §13.1.2; cursors have no commas)."""
    known = [tag.removeprefix("W/") for tag in request.header_list("if-none-match")]
    return f'"{state.cursor}"' in known or known == ["*"]


def _page_limit(text: str | None) -> int:
    if text is None:
        return PAGE
    number = _NUMBER.fullmatch(text.strip())
    if number is None:
        raise ProblemError(Code.BAD_REQUEST, "`limit` is a whole number")
    if number[1] == "-":
        return 1
    return LONGEST_PAGE if len(number[2]) > 3 else min(max(int(number[2]), 1), LONGEST_PAGE)
