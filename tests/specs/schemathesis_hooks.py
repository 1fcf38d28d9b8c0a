"""What schemathesis cannot read in a schema: loaded by it, as schemathesis.toml says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import jsonschema_rs
import schemathesis
from schemathesis import GenerationMode

if TYPE_CHECKING:
    from schemathesis import Case, CheckContext, HookContext, Response

UUID = re.compile(r'("?)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\1', re.IGNORECASE)


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Keep rules that two parameters make together: schemas describe each by itself."""
    key = case.headers.get("Idempotency-Key")
    if key is not None and "Cloudchat-Token" not in case.headers and not UUID.fullmatch(str(key)):
        del case.headers["Idempotency-Key"]
    body, plan = case.body, case.path == "/v1/instances" and case.method == "POST"
    positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
    if plan and positive and isinstance(body, dict) and not _is_name(body.get("name")):
        del body["name"]  # it was not made after the pattern, which Python's own `re` cannot read
    if "after" in case.query:  # or nobody would look at it
        case.headers.pop("Last-Event-ID", None)


def _is_name(name: object) -> bool:
    return not isinstance(name, str) or (name.isprintable() and name == name.strip())


@schemathesis.check
def a_command_that_is_none_is_answered_by_an_error(
    ctx: CheckContext, response: Response, case: Case[Any]
) -> None:
    if case.path != "/v1/commands" or response.status_code != 200:
        return
    sent, said = json.loads(cast("bytes", response.request.body)), response.json()
    assert isinstance(said, list) is isinstance(sent, list)
    components = case.operation.schema.raw_schema["components"]
    command = jsonschema_rs.Draft202012Validator(
        {"$ref": "#/components/schemas/Command", "components": components}
    )
    pairs = zip(sent, said, strict=True) if isinstance(said, list) else [(sent, said)]
    for value, reply in pairs:
        assert reply["type"] == "error" or command.is_valid(value), (value, reply)
