"""One HTTP request, read as far as a handler asks for it, and no further than the limits allow.

Everything that may be wrong with a request raises `ProblemError` (or `RefusedError`) with what to answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from cloudchat_core.codec import decode_json, token_hash, valid_command_id
from cloudchat_core.errors import CloudchatError, Code
from cloudchat_core.rates import network
from cloudchat_transports.feeds import parse_query
from cloudchat_transports.responses import JSON, ProblemError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from cloudchat_core.limits import Limits
    from cloudchat_core.workspace import Workspace

Scope: TypeAlias = "Mapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Mapping[str, Any]]]"
Send: TypeAlias = "Callable[[dict[str, Any]], Awaitable[None]]"

T = TypeVar("T")

_TARGET: Final = re.compile(r"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)

LARGE: Final = 64
"""How many bodies of the largest size (`limits.body`) may be on their way at once."""


class DisconnectedError(CloudchatError):
    """The client is gone; there is nobody to answer."""


class Bodies:
    """The bodies of all requests that are on their way: `held` bytes.

    A body takes its time, and thousands of the largest would take all memory. When there is no room, those that are
    larger than any frame have to wait; the small ones, which most are, always pass.
    """

    def __init__(self, limits: Limits) -> None:
        """Give room to `LARGE` of the largest."""
        self.held = 0
        self._small, self._room = limits.frame, LARGE * limits.body
        self._reading = anyio.CapacityLimiter(1)

    async def read(self, body: bytes) -> Any:
        """Read JSON; a large one, which may take a tenth of a second, in a thread, one at a time."""
        if len(body) <= self._small:
            return decode_json(body)
        return await anyio.to_thread.run_sync(decode_json, body, limiter=self._reading)

    def check(self, size: int) -> None:
        """Raise `ProblemError` where there is no room for one that has come to `size` bytes."""
        if size > self._small and self.held > self._room:
            raise ProblemError(Code.UNAVAILABLE, "too many large bodies at once: try it again")


def mounted_path(scope: Scope, path: str) -> tuple[str, str]:
    """Return the place where the application is mounted (no slash at its end), and what follows it in `path`."""
    root: str = scope.get("root_path", "").rstrip("/")
    mounted = root and (path == root or path.startswith(root + "/"))
    return root, path[len(root) :] or "/" if mounted else path


class Request:
    """One request. `path` is what follows the place where the application is mounted, `root` (no slash at its end)."""

    def __init__(self, scope: Scope, receive: Receive, limits: Limits, bodies: Bodies) -> None:
        """Read nothing yet but what the scope has; `bodies` are those of all requests."""
        self.method: str = scope["method"]
        self.address = network((scope.get("client") or ("",))[0])
        self.http_version: str = scope.get("http_version", "1.1")
        self.scheme: str = scope.get("scheme", "http")
        self.name = ""
        self.state: Mapping[str, Any] = scope.get("state") or {}
        self._receive, self._limits, self._bodies = receive, limits, bodies
        self._query: bytes = scope.get("query_string", b"")
        self._parameters: dict[str, str] | None = None
        self._headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
        path: str = scope["path"]
        absolute = _TARGET.fullmatch(path)
        if absolute is not None:
            # A target in absolute form stands for the Host header as well (RFC 9112 §3.2.2).
            self._headers["host"] = [absolute[1]]
            path = absolute[2] or "/"
        self.root, self.path = mounted_path(scope, path)
        # Without either header there is no body (RFC 9112 §6.3); HTTP/2 needs neither to have one.
        framing = self._headers.keys() & {"content-length", "transfer-encoding"}
        self.unread = bool(framing) or self.http_version not in {"1.0", "1.1"}
        self.ambiguous = len(framing) > 1

    def header(self, name: str) -> str | None:
        """Return a header that may be there once (None: it is not); `name` is in lower case."""
        values = self._headers.get(name, [])
        if len(values) > 1:
            raise ProblemError(Code.BAD_REQUEST, f"the header {name} may be given once only")
        return values[0].strip(" \t") if values else None

    def header_list(self, name: str) -> list[str]:
        """Return the members of a header that is a list (RFC 9110 §5.6.1); for values without commas in them."""
        members = ",".join(self._headers.get(name, [])).split(",")
        return [member.strip(" \t") for member in members if member.strip(" \t")]

    def query(self) -> dict[str, str]:
        """Return the parameters of the query; empty ones are as left out."""
        if self._parameters is None:
            self._parameters = parse_query(self._query.decode("latin-1"))
        return self._parameters

    def token_scope(self) -> str:
        """Return the hash of the participation token in `Cloudchat-Token`; empty without one."""
        tokens = self._headers.get("cloudchat-token")
        if tokens is None:
            return ""
        scope = token_hash(",".join(tokens).strip(" \t"))
        if scope is None:
            detail = "Cloudchat-Token is one token: 22 to 128 of A-Z a-z 0-9 _ -"
            raise ProblemError(Code.TOKEN_INVALID, detail)
        return scope

    def feed_scopes(self, state: Workspace) -> list[str]:
        """Return the hashes of the participation tokens that a feed serves, from `Cloudchat-Token` (a list).

        One that is malformed, or that no `join` or `say` has introduced yet, is `token_invalid`.
        """
        tokens = self.header_list("cloudchat-token")
        if len(tokens) > self._limits.tokens_per_feed:
            detail = f"a feed serves up to {self._limits.tokens_per_feed} tokens"
            raise ProblemError(Code.BAD_REQUEST, detail)
        scopes = [token_hash(token) for token in tokens]
        known = [scope for scope in scopes if scope is not None and state.knows_token(scope)]
        if len(known) < len(scopes):
            detail = (
                "Cloudchat-Token names tokens that have joined; join by POST /v1/commands first"
            )
            raise ProblemError(Code.TOKEN_INVALID, detail)
        return known

    async def attended(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns; give it up and raise `DisconnectedError` when the client is gone before.

        To be called when the body was read. What `work` raises comes out as it is, not in a group.
        """
        outcome: list[T] = []
        failure: list[Exception] = []
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch, tasks.cancel_scope)
            try:
                outcome.append(await work())
            except Exception as error:  # noqa: BLE001 - it is raised below
                failure = [error]
            tasks.cancel_scope.cancel()
        if not outcome:
            raise failure[0] if failure else DisconnectedError("the client is gone")
        return outcome[0]

    async def disconnected(self) -> None:
        """Wait until the client is gone; to be called when the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def gone(self) -> None:
        """Wait until the client is gone, and raise `DisconnectedError`; to be called when the body was read."""
        await self.disconnected()
        raise DisconnectedError("the client is gone")

    async def _watch(self, working: anyio.CancelScope) -> None:
        await self.disconnected()
        working.cancel()

    def idempotency_key(self, scope: str) -> str:
        """Return the id that `Idempotency-Key` gives the command, quoted or bare; empty without one.

        The header is a string of RFC 8941 in draft-ietf-httpapi-idempotency-key-header; peers take it bare. Callers
        without a token (`scope` empty) share their ids, so theirs must be UUIDs.
        """
        key = self.header("idempotency-key")
        if key is None:
            return ""
        if len(key) >= 2 and key[0] == key[-1] == '"':
            key = key[1:-1]
        if not valid_command_id(key):
            detail = "an Idempotency-Key is 1 to 64 of A-Z a-z 0-9 . _ : -, in quotes or bare"
            raise ProblemError(Code.BAD_REQUEST, detail)
        if not scope and not _UUID.fullmatch(key):
            detail = "without a Cloudchat-Token an Idempotency-Key is a UUID"
            raise ProblemError(Code.BAD_REQUEST, detail)
        return key

    # -- the body

    async def json(self) -> Any:
        """Return the JSON value of the body; an empty one is `bad_json`."""
        return await self._bodies.read(await self._json_body())

    async def optional_json(self) -> Any:
        """Return the JSON value of the body; an empty one is an empty object."""
        body = await self._json_body()
        return await self._bodies.read(body) if body else {}

    async def _json_body(self) -> bytes:
        """Return the body; where it is not empty it must be declared as JSON."""
        content_type = self.header("content-type")
        body = await self.body()
        if body and not _is_json(content_type):
            detail = f"a body must have Content-Type: {JSON} (and be UTF-8)"
            raise ProblemError(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers=(("accept", JSON),))
        if self.header("content-encoding") not in {None, "identity"}:
            # RFC 9110 §15.5.16: Accept-Encoding says that it was the coding.
            detail = "a body must not be compressed"
            headers = (("accept-encoding", "identity"),)
            raise ProblemError(Code.UNSUPPORTED_MEDIA_TYPE, detail, headers=headers)
        return body

    async def body(self) -> bytes:
        """Read the whole body within `limits.body` bytes and `limits.body_time` seconds."""
        if not self.unread:
            return b""
        limit = self._limits.body
        too_large = ProblemError(Code.TOO_LARGE, f"a body has up to {limit} bytes")
        length = self.header("content-length")
        if length is not None and not _LENGTH.fullmatch(length):
            raise ProblemError(Code.BAD_REQUEST, "Content-Length is no number")
        if length is not None and int(length) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            with anyio.move_on_after(self._limits.body_time) as waiting:
                while part := await self._part():
                    parts.append(part)
                    size += len(part)
                    self._bodies.held += len(part)
                    if size > limit:
                        raise too_large
                    self._bodies.check(size)
        finally:
            self._bodies.held -= size
        if waiting.cancelled_caught:
            detail = f"the body did not arrive within {self._limits.body_time:g} s"
            raise ProblemError(Code.BAD_REQUEST, detail, status=408)
        return b"".join(parts)

    async def _part(self) -> bytes:
        """Return the next part of the body, empty at its end only."""
        part = b""
        while self.unread and not part:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DisconnectedError("the client is gone")
            part = message.get("body", b"")
            self.unread = message.get("more_body", False)
        return part

    async def discard(self) -> None:
        """Read and forget what is left of the body, until the client is gone."""
        while self.unread:
            message = await self._receive()
            self.unread = message["type"] != "http.disconnect" and message.get("more_body", False)


def _is_json(content_type: str | None) -> bool:
    media_type, _, parameters = (content_type or "").partition(";")
    charset = re.search(r"""\bcharset\s*=\s*"?([^\s;"]*)""", parameters, re.IGNORECASE)
    if charset is not None and charset[1].lower() not in {"utf-8", "utf8"}:
        return False
    return media_type.strip().lower() == JSON
