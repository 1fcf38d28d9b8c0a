"""The HTTP side as an OpenAPI 3.1 document: https://spec.openapis.org/oas/v3.1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cloudchat_core.errors import Code
from cloudchat_core.schemas import schemas
from cloudchat_transports.responses import JSON, PROBLEM, STATUS, ProblemDetails, phrase
from cloudchat_transports.specs.info import info
from cloudchat_transports.specs.operations import ERRORS, HEADERS, OPERATIONS, PARAMETERS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cloudchat_core.limits import Limits
    from cloudchat_transports.specs.operations import Operation

_TAGS: Final = {
    "resources": "What is so, and requests that change it",
    "feeds": "What happens, as it happens, and the commands of those who take part",
    "meta": "The server itself",
}
_SECURITY: Final = {
    "participation": {
        "type": "apiKey",
        "in": "header",
        "name": "Cloudchat-Token",
        "description": (
            "The participation token, a bearer's secret: 22 to 128 of `A-Za-z0-9_-`, made up by the client and "
            "introduced by `join`. Without one a caller is nobody in particular. A feed takes several, comma-separated."
        ),
    }
}
_ABOUT: Final = (
    "Resources for scripts, and feeds with commands for those who take part. Members that are not described here may "
    "be added to any object. Every `GET` also answers `HEAD`, every path `OPTIONS`. What a feed says over WebSocket "
    "and as server-sent events is described by AsyncAPI, at `/v1/asyncapi.json`."
)
_UNLIMITED: Final = frozenset({"/healthz", "/readyz", "/v1/sse"})
"""Paths on which nobody is told to slow down, or in the words of an event stream."""


def openapi(limits: Limits, routes: Iterable[tuple[str, str]], root: str = "") -> dict[str, Any]:
    """Return the document for a server with these `limits` that has these `routes` (method, path), mounted at `root`.

    Each route has to be one of `OPERATIONS`.
    """
    operations = {route: OPERATIONS[route] for route in routes}
    kinds = list(
        dict.fromkeys(
            kind
            for each in operations.values()
            for kind in (each.answer, each.body)
            if kind is not None
        )
    )
    found, shared = schemas([*kinds, ProblemDetails], limits)
    written = dict(zip(kinds, found, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for (method, path), operation in operations.items():
        limited = path not in _UNLIMITED
        paths.setdefault(path, {})[method.lower()] = _operation(operation, written, limited=limited)
    return {
        "openapi": "3.1.1",
        "info": info("cloudchat", _ABOUT),
        "servers": [{"url": root or "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": shared,
            "parameters": PARAMETERS,
            "headers": {name: {**header, "required": True} for name, header in HEADERS.items()},
            "securitySchemes": _SECURITY,
        },
    }


def _operation(operation: Operation, written: dict[Any, Any], *, limited: bool) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
    }
    if operation.details:
        described["description"] = operation.details
    names = ("Workspace", *operation.parameters)
    described["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in names]
    if operation.body is not None:
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {JSON: {"schema": written[operation.body]}},
        }
    if Code.TOKEN_INVALID in operation.codes:
        described["security"] = [{}, {"participation": []}]
    described["responses"] = _responses(operation, written, limited=limited)
    return described


def _responses(operation: Operation, written: dict[Any, Any], *, limited: bool) -> dict[str, Any]:
    good: dict[str, Any] = {"description": phrase(operation.status)}
    if operation.headers:
        good["headers"] = _headers(operation.headers)
    if operation.media:
        text = operation.answer is None
        schema = {"type": "string"} if text else written[operation.answer]
        good["content"] = {operation.media: {"schema": schema}}
    responses = {str(operation.status): good}
    if "IfNoneMatch" in operation.parameters:
        responses["304"] = {"description": phrase(304), "headers": _headers(("ETag",))}
    codes = (*ERRORS, *operation.codes, *((Code.RATE_LIMITED,) if limited else ()))
    errors: dict[int, list[Code]] = {}
    for status, code in (*((STATUS[code], code) for code in codes), *operation.statuses):
        errors.setdefault(status, []).append(code)
    return responses | {str(status): _error(status, errors[status]) for status in sorted(errors)}


def _error(status: int, codes: list[Code]) -> dict[str, Any]:
    told = {
        401: ("WWW-Authenticate",),
        426: ("Upgrade",),
        429: ("Retry-After",),
        503: ("Retry-After",),
    }
    said: dict[str, Any] = {
        "description": f"{phrase(status)}: {', '.join(f'`{c}`' for c in codes)}"
    }
    if status in told:
        said["headers"] = _headers(told[status])
    which = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    problem = {"$ref": "#/components/schemas/ProblemDetails"}
    return {**said, "content": {PROBLEM: {"schema": {"allOf": [problem, which]}}}}


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
