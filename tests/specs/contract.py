"""Holds what a server says to its own specifications, strictly: what it says and they do not describe is wrong too.

Nothing of cloudchat is imported: the two documents are all that there is to know.
"""

from __future__ import annotations

import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jsonschema_rs

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEM = "application/problem+json"


class Contract:
    """An OpenAPI and an AsyncAPI document, compiled."""

    def __init__(self, openapi: Any, asyncapi: Any) -> None:
        self._openapi, self._asyncapi = openapi, asyncapi
        self._compiled: dict[tuple[str, ...], Any] = {}
        self.frames_seen = 0
        self.answers_seen = 0

    def frame(self, channel: str, frame: Any) -> None:
        """Hold a frame that came over a channel (`ws`, `sse`, `poll`) to what the server says it sends there."""
        self.frames_seen += 1
        kind = frame["type"]
        sent = self._sent[channel]
        assert kind in sent, f"{kind} is no frame of {channel}: {frame}"
        key = ("frame", kind)
        if key not in self._compiled:
            self._compiled[key] = self._compile(self._asyncapi, sent[kind])
        _hold(self._compiled[key], frame)

    def command(self, command: Any) -> None:
        """Hold a command to what the server says it takes."""
        key = ("command", command["type"])
        if key not in self._compiled:
            message = self._asyncapi["components"]["messages"][command["type"]]
            self._compiled[key] = self._compile(self._asyncapi, message["payload"])
        _hold(self._compiled[key], command)

    def resource(self, name: str, value: Any) -> None:
        """Hold a value to the schema of this name."""
        key = ("resource", name)
        if key not in self._compiled:
            schema = {"$ref": f"#/components/schemas/{name}"}
            self._compiled[key] = self._compile(self._openapi, schema)
        _hold(self._compiled[key], value)

    def answer(
        self, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Hold an HTTP answer to what is described: its status, its headers (names in lower case), its body.

        `path` may have a query. What is described nowhere may only be refused.
        """
        self.answers_seen += 1
        path = path.partition("?")[0]
        content_type = headers.get("content-type", "")
        if method == "HEAD":
            method, body = "GET", b""
        described = self.described(method, path)
        if described is None:
            if content_type == PROBLEM and body:
                self.resource("ProblemDetails", json.loads(body))
            return
        where = f"{method} {path} {status}"
        assert str(status) in described["responses"], f"{where} is described nowhere: {body!r}"
        response = described["responses"][str(status)]
        for name in response.get("headers", ()):
            assert name.lower() in headers, f"{where} has no {name}"
        content = response.get("content", {})
        if not content:
            assert not body, f"{where} has a body: {body!r}"
            return
        assert content_type in content, f"{where} is {content_type}"
        if body and content_type in {"application/json", PROBLEM}:
            key = (described["operationId"], str(status), content_type)
            if key not in self._compiled:
                self._compiled[key] = self._compile(self._openapi, content[content_type]["schema"])
            _hold(self._compiled[key], json.loads(body))

    def described(self, method: str, path: str) -> Any:
        """Return the operation of a request; None where there is none."""
        for pattern, methods in self._paths:
            if pattern.fullmatch(path):
                return methods.get(method.lower())
        return None

    @cached_property
    def _paths(self) -> list[tuple[re.Pattern[str], Any]]:
        return [
            (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), methods)
            for path, methods in self._openapi["paths"].items()
        ]

    @cached_property
    def _sent(self) -> dict[str, dict[str, Any]]:
        """Payloads by channel and type of frame: what is sent, also as a reply, and what stands in a poll's answer."""
        found: dict[str, dict[str, Any]] = {}
        for operation in self._asyncapi["operations"].values():
            channel = operation["channel"]["$ref"].rpartition("/")[2]
            sent = operation["messages"] if operation["action"] == "send" else []
            for ref in (*sent, *operation.get("reply", {}).get("messages", ())):
                name = ref["$ref"].rpartition("/")[2]
                payload = self._asyncapi["components"]["messages"][name]["payload"]
                found.setdefault(channel, {})[name] = payload
        return found

    def _compile(self, document: Any, schema: Any) -> Any:
        asynchronous = "asyncapi" in document
        # What a `$ref` stands beside counts for nothing in the older draft, which AsyncAPI has.
        make = jsonschema_rs.Draft7Validator if asynchronous else jsonschema_rs.Draft202012Validator
        schemas = {"schemas": document["components"]["schemas"]}
        return make(closed({"allOf": [schema], "components": schemas}), validate_formats=True)


def closed(schema: Any) -> Any:
    """Return `schema` with no room for members that are not described; an object of which none is, stays open."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        made["additionalProperties"] = False
    return made


def _hold(validator: Any, value: Any) -> None:
    error = next(iter(validator.iter_errors(value)), None)
    assert error is None, f"{error}\n\n{json.dumps(value, ensure_ascii=False)}"
