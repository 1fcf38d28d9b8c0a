"""JSON as the documents write it: as it is, or with `…` for what is left out, names without values, and `?` for may be.

`fits` holds such an example to a schema, as strictly as what it says allows.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

import jsonschema_rs

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[A-Z]+ or null|[^\s])')


@dataclass
class Some:
    """An object of which some members are told: `maybe` are those marked by `?`, `more` says that there are others."""

    members: dict[str, Any] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)
    more: bool = False
    marked: bool = False
    """Whether members stand there by name alone, so that `?` says which of them may be absent."""


@dataclass
class Items:
    """An array, or the beginning of one."""

    items: list[Any]


class Gap:
    """What is left out."""


def read(text: str) -> list[Any]:
    """Return the values that stand in `text`; raises `ValueError` where something else does."""
    reader = _Reader(TOKEN.findall(text))
    found = []
    while reader.tokens:
        found.append(reader.value())
    return found


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens

    def value(self) -> Any:
        token = self._take()
        if token == "{":
            return self._object()
        if token == "[":
            return self._array()
        if token == "…" or token.endswith(" or null"):
            return Gap()
        return json.loads(token)

    def _object(self) -> Some:
        found = Some()
        while not self._comes("}"):
            if self._comes("…"):
                found.more = True
            else:
                name = json.loads(self._take())
                if self._comes("?"):
                    found.maybe.add(name)
                told = self._comes(":")
                found.members[name] = self.value() if told else Gap()
                found.marked |= not told
            self._comes(",")
        return found

    def _array(self) -> Items:
        items = []
        while not self._comes("]"):
            items.append(self.value())
            self._comes(",")
        return Items(items)

    def _take(self) -> str:
        if not self.tokens:
            raise ValueError("this ends too early")
        return self.tokens.pop(0)

    def _comes(self, token: str) -> bool:
        if not self.tokens:
            raise ValueError(f"this ends before a {token}")
        comes = self.tokens[0] == token
        if comes:
            self._take()
        return comes


def fits(value: Any, schema: Any, document: Any) -> bool:
    """Tell whether what is told of `value` may stand where `schema` (of `document`) says."""
    if "$ref" in schema:
        target = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return fits(value, target, document)
    if "anyOf" in schema:
        return any(fits(value, each, document) for each in schema["anyOf"])
    if "allOf" in schema:
        # Only the first says which members there are.
        return fits(value, schema["allOf"][0], document)
    match value:
        case Gap():
            return True
        case Items(items):
            inner = schema.get("items", {})
            return schema.get("type") == "array" and all(fits(e, inner, document) for e in items)
        case Some():
            return schema.get("type") == "object" and _members_fit(value, schema, document)
        case str() if "…" in value:
            return bool(schema.get("type") == "string")
        case _:
            return bool(jsonschema_rs.is_valid(schema, value))


def _members_fit(value: Some, schema: Any, document: Any) -> bool:
    if "properties" not in schema:
        return True
    properties, required = schema["properties"], set(schema.get("required", ()))
    given = value.members.keys()
    if not given <= properties.keys() or not (value.more or required <= given):
        return False
    if value.marked and value.maybe != given - required:
        return False
    return all(fits(each, properties[name], document) for name, each in value.members.items())
