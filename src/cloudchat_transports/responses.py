"""What HTTP answers look like: plain responses, and errors as problems (RFC 9457) with the protocol's code.

`STATUS` is the one place where a code of the protocol becomes an HTTP status.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from math import ceil
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from cloudchat_core.codec import encode
from cloudchat_core.errors import CloudchatError, Code
from cloudchat_core.fields import ErrorCode, Nickname, Seconds
from cloudchat_core.frames import OperationRef, Refusal

JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"

STATUS: Final[dict[str, int]] = {
    Code.BAD_JSON: 400,
    Code.BAD_FRAME: 400,
    Code.BAD_COMMAND: 400,
    Code.BAD_REQUEST: 400,
    Code.UNKNOWN_TYPE: 400,
    Code.NICKNAME_INVALID: 400,
    Code.TEXT_INVALID: 400,
    Code.TOKEN_INVALID: 401,
    Code.FORBIDDEN: 403,
    Code.NOT_JOINED: 403,
    Code.INSTANCE_UNKNOWN: 404,
    Code.MESSAGE_UNKNOWN: 404,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NICKNAME_TAKEN: 409,
    Code.NICKNAME_CONFUSABLE: 409,
    Code.NICKNAME_RESERVED: 409,
    Code.ALREADY_JOINED: 409,
    Code.INSTANCE_BUSY: 409,
    Code.INSTANCE_STATE: 409,
    Code.GONE: 410,
    Code.TOO_LARGE: 413,
    Code.UNSUPPORTED_MEDIA_TYPE: 415,
    Code.ID_REUSED: 422,
    Code.RATE_LIMITED: 429,
    Code.QUOTA_EXCEEDED: 429,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
}
"""The HTTP status of each error code."""

_RETRY_AFTER: Final[dict[str, float]] = {
    Code.RATE_LIMITED: 1,
    Code.QUOTA_EXCEEDED: 60,
    Code.UNAVAILABLE: 1,
}
"""Seconds after which to come back, where nobody knows better (RFC 9110 §10.2.3)."""

_HEADERS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    # A 401 must say which scheme it asks for (RFC 9110 §15.5.2); ours is the header of that name.
    Code.TOKEN_INVALID: (("www-authenticate", "Cloudchat-Token"),),
}

_ALWAYS: Final[tuple[tuple[str, str], ...]] = (
    ("x-content-type-options", "nosniff"),
    # Pages of other origins read our answers through CORS or not at all (WHATWG Fetch, §3.7).
    ("cross-origin-resource-policy", "same-origin"),
    ("vary", "Origin"),
)
_RENAMED: Final = {413: "Content Too Large", 422: "Unprocessable Content"}

Headers = tuple[tuple[str, str], ...]
Write = Callable[[bytes], Awaitable[None]]


class Response(msgspec.Struct, frozen=True):
    """One answer: names of `headers` are in lower case; type and length of the body are added when it is sent."""

    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Headers = ()


def phrase(status: int) -> str:
    """Return the reason phrase of RFC 9110 §15; Python's own were renamed with 3.13."""
    return _RENAMED.get(status) or HTTPStatus(status).phrase


class Stream(msgspec.Struct, frozen=True):
    """An answer without an end of its own: `run` writes it, piece by piece, until the client or the server goes."""

    content_type: str
    headers: Headers
    run: Callable[[Write], Awaitable[None]]
    status: int = 200


class ProblemDetails(msgspec.Struct, frozen=True):
    """A problem (RFC 9457 §3); `type` is `about:blank`: what tells problems apart is `code`."""

    type: str
    title: str
    status: int
    code: ErrorCode
    detail: str
    suggestions: tuple[Nickname, ...] | UnsetType = UNSET
    operation: OperationRef | UnsetType = UNSET
    retry_after: Seconds | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class ProblemError(CloudchatError):
    """This request is answered by an error; `status` and `headers` where they are not those of the code."""

    def __init__(
        self, code: Code, detail: str, *, status: int = 0, headers: Headers = (), **members: Any
    ) -> None:
        super().__init__(detail)
        self.response = problem(code, detail, status=status, headers=headers, **members)


def problem(
    code: str, detail: str, *, status: int = 0, headers: Headers = (), **members: Any
) -> Response:
    """Return the response for an error; `members` are further members of `ProblemDetails`."""
    status = status or STATUS[code]
    if members.get("retry_after", UNSET) is UNSET and code in _RETRY_AFTER:
        members["retry_after"] = _RETRY_AFTER[code]
    if "retry_after" in members:
        headers = (*headers, ("retry-after", str(max(1, ceil(members["retry_after"])))))
    details = ProblemDetails("about:blank", phrase(status), status, code, detail, **members)
    headers = (("cache-control", "no-store"), *_HEADERS.get(code, ()), *headers)
    return Response(status, encode(details), PROBLEM, headers)


def refused(refusal: Refusal) -> Response:
    """Return the response for a command that was refused."""
    members: dict[str, Any] = {
        "suggestions": refusal.suggestions,
        "operation": refusal.operation,
        "retry_after": refusal.retry_after,
    }
    given = {name: value for name, value in members.items() if value is not UNSET}
    return problem(refusal.code, refusal.detail, **given)


def json_response(value: object, status: int = 200, headers: Headers = ()) -> Response:
    """Return `value` as JSON that no cache keeps."""
    return Response(status, encode(value), JSON, (("cache-control", "no-store"), *headers))


def _with_always(headers: Headers) -> Headers:
    """Add what every answer says, unless it says it in its own way."""
    said = {name for name, _ in headers}
    return (*headers, *(header for header in _ALWAYS if header[0] not in said))


def last_words(response: Response) -> bytes:
    """Return `response` in bytes of HTTP/1.1, for who writes to a connection and then closes it."""
    headers = (
        *_with_always(response.headers),
        ("content-type", response.content_type),
        ("content-length", str(len(response.body))),
        ("connection", "close"),
    )
    lines = (
        f"HTTP/1.1 {response.status} {phrase(response.status)}",
        *(f"{name}: {value}" for name, value in headers),
        "\r\n",
    )
    return "\r\n".join(lines).encode("latin-1") + response.body


async def send_stream(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    method: str,
    stream: Stream,
    headers: Headers = (),
) -> None:
    """Send `stream`, or only its head where the request was a `HEAD`, over ASGI."""

    async def write(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    headers = (*_with_always(stream.headers), *headers, ("content-type", stream.content_type))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": stream.status, "headers": encoded})
    if method != "HEAD":
        await stream.run(write)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_response(
    send: Callable[[dict[str, Any]], Awaitable[None]],
    method: str,
    response: Response,
    headers: Headers = (),
) -> None:
    """Send `response` (without its body where the request was a `HEAD`), with further `headers`, over ASGI."""
    headers = (*_with_always(response.headers), *headers)
    if response.status not in {204, 304}:
        length = str(len(response.body))
        headers = (*headers, ("content-type", response.content_type), ("content-length", length))
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": response.status, "headers": encoded})
    body = b"" if method == "HEAD" else response.body
    await send({"type": "http.response.body", "body": body, "more_body": False})
