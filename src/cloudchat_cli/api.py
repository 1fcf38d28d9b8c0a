"""The server's HTTP side, as the command line uses it: commands that are sent until they are answered, and lists."""

from __future__ import annotations

import ssl
import uuid
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

import anyio
import httpx
import msgspec

from cloudchat_cli.output import Exit, Failure, refused, unreachable
from cloudchat_core.client_session import decode_frame
from cloudchat_core.codec import encode
from cloudchat_core.errors import Code
from cloudchat_core.events import PublicEvent
from cloudchat_core.frames import Ack, InstanceView, OperationView, Refusal, Reply
from cloudchat_transports.client_transport import reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from cloudchat_core.client_session import Frame
    from cloudchat_core.commands import ClientCommand

ATTEMPTS = 5
"""How often a command is sent when the connection breaks or the server cannot do it for the moment."""
WAIT = 0.25
"""Seconds before the second attempt; each further one doubles it."""
TIMEOUT = 15.0
"""Seconds to wait for an answer."""


def new_command_id() -> str:
    """Return an id for a command; callers without a token share one scope, so it is a UUID."""
    return str(uuid.uuid4())


SHORTEST_PREFIX = 4
"""The fewest characters that stand for an instance's id."""
_UUID = 36  # characters


class _Page(msgspec.Struct):
    """A page of the log, newest first."""

    items: list[PublicEvent]
    next: str | None


class _Poll(msgspec.Struct):
    """The answer of a poll."""

    frames: list[msgspec.Raw]
    cursor: str


class Api:
    """A server at `url`."""

    def __init__(self, url: str) -> None:
        """Talk to `url`."""
        self.url = url
        parsed = httpx.URL(url)
        # The system's certificates, as the WebSocket has it; without TLS there is no need to load any.
        secure = parsed.scheme == "https"
        tls = ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Whoever runs a server on this machine does not mean a proxy's idea of it.
        local = parsed.host == "localhost" or parsed.host.startswith(("127.", "::1"))
        self._http = httpx.AsyncClient(timeout=TIMEOUT, trust_env=not local, verify=tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def execute(self, command: ClientCommand, token: str = "") -> Ack:
        """Have `command` done once and return the answer.

        It is sent again with its id when its outcome is unknown. Raises `Failure` where it was refused, or could not be
        brought to an end.
        """
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Cloudchat-Token"] = token
        wait, problem = WAIT, Failure("nothing was tried")
        for attempt in range(ATTEMPTS):
            if attempt:
                await anyio.sleep(wait)
                wait *= 2
            try:
                response = await self._http.post(
                    f"{self.url}/v1/commands", content=encode(command), headers=headers
                )
            except httpx.TransportError as error:
                problem = unreachable(f"{self.url}: {reason(error)}")
                if isinstance(error, httpx.ConnectError) and not attempt:
                    break  # nobody is there; a server that is restarting was there before
                continue
            try:
                reply = _read(response, Reply, self.url)
            except Failure as failure:
                if response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise
                problem = failure
                continue
            if isinstance(reply, Ack):
                return reply
            problem = refused(reply)
            if reply.code not in {Code.UNAVAILABLE, Code.INTERNAL}:
                break
        raise problem

    async def find(self, named: str) -> str:
        """Return the id of the instance that `named` is, or begins."""
        if len(named) == _UUID:
            return named
        if len(named) < SHORTEST_PREFIX:
            short = f"{named!r} is too short: {SHORTEST_PREFIX} characters at least"
            raise Failure(short, Exit.USAGE)
        found = [one.id for one in await self.instances() if one.id.startswith(named.lower())]
        if len(found) > 1:
            raise Failure(f"{named!r} could be any of: {', '.join(found)}", Exit.USAGE)
        if not found:
            raise Failure(f"there is no instance whose id begins with {named!r}", Exit.UNKNOWN)
        return found[0]

    async def instances(self) -> list[InstanceView]:
        """Return all instances."""
        listed: list[InstanceView] = await self._get("/v1/instances", list[InstanceView])
        return listed

    async def instance(self, instance: str) -> InstanceView:
        """Return one instance."""
        known: InstanceView = await self._get(f"/v1/instances/{_quoted(instance)}", InstanceView)
        return known

    async def operations(self) -> list[OperationView]:
        """Return the operations that the server knows, newest first."""
        listed: list[OperationView] = await self._get("/v1/operations", list[OperationView])
        return listed

    async def operation(self, operation: str) -> OperationView:
        """Return one operation; `Failure` where the server no longer knows it."""
        path = f"/v1/operations/{_quoted(operation)}"
        known: OperationView = await self._get(path, OperationView)
        return known

    async def newest(
        self, what: Literal["messages", "worklog"], limit: int, before: str | None = None
    ) -> tuple[list[PublicEvent], str]:
        """Return the newest `limit` events before `before`, oldest first, and the cursor of the log's head.

        What comes after that cursor is what is not among them.
        """
        found: list[PublicEvent] = []
        head = ""
        while len(found) < limit:
            query = {"limit": str(limit - len(found))} | ({"before": before} if before else {})
            page, cursor = await self._ask(f"/v1/{what}", _Page, query)
            head = head or cursor
            found += page.items
            before = page.next
            if before is None:
                break
        return found[::-1], head

    async def poll(self, after: str, topics: Sequence[str]) -> tuple[list[Frame], str]:
        """Return what the feed says after the cursor `after` (empty: a snapshot), and the cursor to go on from."""
        query = {"wait": "0"} | ({"after": after} if after else {})
        if topics:
            query["topics"] = ",".join(topics)
        try:
            answer, _ = await self._ask("/v1/poll", _Poll, query)
        except Failure as failure:
            # Nothing that was asked for is not found, but the transport: it is switched off.
            code = Exit.REFUSED if failure.code is Exit.UNKNOWN else failure.code
            raise Failure(str(failure), code) from None
        frames = [decode_frame(bytes(raw)) for raw in answer.frames]
        return [frame for frame in frames if frame is not None], answer.cursor

    async def _get(self, path: str, kind: Any) -> Any:
        answer, _ = await self._ask(path, kind, {})
        return answer

    async def _ask(self, path: str, kind: Any, query: dict[str, str]) -> tuple[Any, str]:
        """Read a resource, and the cursor that its ETag is."""
        try:
            response = await self._http.get(f"{self.url}{path}", params=query)
        except httpx.TransportError as error:
            raise unreachable(f"{self.url}: {reason(error)}") from None
        return _read(response, kind, self.url), response.headers.get("etag", "").strip('"')


def _quoted(text: str) -> str:
    """Write one segment of a path."""
    return quote(text, safe="") or "-"


def _read(response: httpx.Response, kind: Any, url: str) -> Any:
    """Read a 200, or turn a problem (RFC 9457) into the failure that it means."""
    try:
        if response.status_code == httpx.codes.OK:
            return msgspec.json.decode(response.content, type=kind)
        problem = msgspec.json.decode(response.content, type=dict[str, Any])
        refusal = Refusal(None, str(problem["code"]), str(problem["detail"]))
    except (msgspec.MsgspecError, UnicodeError, LookupError):
        raise Failure(
            f"what answers at {url} is no cloudchat server (HTTP status {response.status_code})",
            Exit.UNREACHABLE,
        ) from None
    raise refused(refusal)
