"""The two documents are what they claim to be, say all that there is, and are served wherever the application is."""

from __future__ import annotations

import copy
import gzip
import json
import re
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from cloudchat_core.codec import decode_command, encode
from cloudchat_core.commands import ClientCommand
from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits
from cloudchat_core.schemas import COMMANDS, FRAMES, example, tag
from cloudchat_transports.feeds import TRANSPORTS
from cloudchat_transports.responses import STATUS
from cloudchat_transports.specs.operations import OPERATIONS
from cloudchat_transports.specs.server import Specifications
from tests.specs.contract import closed
from tests.specs.generated import ASYNCAPI, CONTRACT, OPENAPI
from tests.transports.web import ask, site
from tests.web.tools import WEB, install

ROOT = Path(__file__).parents[2]


def asyncapi_errors(document: Any) -> list[str]:
    install()
    schema = WEB / "node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json"
    validator = jsonschema_rs.validator_for(json.loads(schema.read_text()))
    return [str(error) for error in validator.iter_errors(document)]


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        mapped = value.get("discriminator", {}).get("mapping", {}).values()
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(mapped, *map(references, value.values()))
    return set()


def target(document: Any, reference: str) -> Any:
    found = document
    for part in reference.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def test_the_openapi_document_is_one() -> None:
    assert [str(error) for error in OpenAPIV31SpecValidator(OPENAPI).iter_errors()] == []


def test_the_asyncapi_document_is_one() -> None:
    assert asyncapi_errors(ASYNCAPI) == []


def test_a_document_that_is_none_is_told_from_them() -> None:
    openapi, asyncapi = copy.deepcopy(OPENAPI), copy.deepcopy(ASYNCAPI)
    openapi["paths"]["/v1/instances"]["get"]["responses"]["200"].pop("description")
    asyncapi["operations"]["sendOnSse"]["action"] = "shout"
    assert list(OpenAPIV31SpecValidator(openapi).iter_errors())
    assert asyncapi_errors(asyncapi)


@pytest.mark.parametrize("document", [OPENAPI, ASYNCAPI], ids=["openapi", "asyncapi"])
def test_every_reference_leads_somewhere_and_every_component_is_used(document: Any) -> None:
    used = references(document)
    assert all(target(document, reference) for reference in used)
    names = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "parameters", "headers", "messages")
        for name in document["components"].get(kind, ())
    }
    assert names - used == set()


@pytest.mark.parametrize("kind", [*COMMANDS, *FRAMES], ids=tag)
def test_every_message_has_an_example_that_fits_it_and_is_read_as_what_it_is(kind: Any) -> None:
    message = ASYNCAPI["components"]["messages"][tag(kind)]
    shown = message["examples"][0]["payload"]
    assert shown == example(kind)
    if kind in COMMANDS:
        CONTRACT.command(shown)
        assert type(decode_command(json.dumps(shown))) is kind
    else:
        CONTRACT.frame("ws", shown)


def test_a_message_with_a_member_too_many_is_described_and_not_ours() -> None:
    """Clients may meet members of later versions; our own server may not say what it does not describe."""
    welcome = {**example(FRAMES[0]), "motd": "hello"}
    schema = {"$ref": "#/components/schemas/Welcome", "components": OPENAPI["components"]}
    assert jsonschema_rs.is_valid(schema, welcome)
    assert not jsonschema_rs.is_valid(closed(schema), welcome)
    with pytest.raises(AssertionError, match="motd"):
        CONTRACT.frame("ws", welcome)


def test_an_answer_that_is_described_nowhere_is_not_ours() -> None:
    headers = {"content-type": "application/json", "etag": '"k3f9-1"'}
    CONTRACT.answer("GET", "/v1/instances", 200, headers, b"[]")
    with pytest.raises(AssertionError, match="nowhere"):
        CONTRACT.answer("GET", "/v1/instances", 418, headers, b"[]")
    with pytest.raises(AssertionError, match="ETag"):
        CONTRACT.answer("GET", "/v1/instances", 200, {"content-type": "application/json"}, b"[]")
    with pytest.raises(AssertionError, match="moo"):
        CONTRACT.answer("GET", "/v1/instances", 200, headers, b'["moo"]')


def test_every_error_code_is_answered_with_its_status_or_never_over_http() -> None:
    told: dict[str, set[int]] = {}
    for methods in OPENAPI["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get("application/problem+json")
                codes = (
                    content["schema"]["allOf"][1]["properties"]["code"]["enum"] if content else ()
                )
                for code in codes:
                    told.setdefault(code, set()).add(int(status))
    assert all(STATUS[code] in statuses for code, statuses in told.items())
    # These answer commands alone, which are answered by themselves, or what is no operation.
    of_commands = {code for code in Code if code.startswith("nickname_")} | {
        *(Code.BAD_FRAME, Code.UNKNOWN_TYPE, Code.NOT_JOINED, Code.ALREADY_JOINED),
        *(Code.TEXT_INVALID, Code.MESSAGE_UNKNOWN, Code.METHOD_NOT_ALLOWED),
    }
    assert told.keys() == set(Code) - of_commands


def test_every_resource_that_the_protocol_names_is_described() -> None:
    section = (
        (ROOT / "docs/protocol.md").read_text().partition("\n## 13. ")[2].partition("\n## ")[0]
    )
    first_cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    named: set[tuple[str, str]] = set()
    for cell in first_cells:
        method, _, path = re.sub(r"\?.*", "", cell.split("`")[1]).partition(" ")
        more = [word.partition("?")[0] for word in cell.split("`")[3::2] if word.startswith("/")]
        named |= {(method, each) for each in (path, *more)}
    described = {(m.upper(), path) for path, ms in OPENAPI["paths"].items() for m in ms}
    assert len(named) > 15
    assert described - named == {("GET", "/v1/ws"), ("GET", "/v1/sse"), ("GET", "/v1/poll")}
    assert named <= described


@pytest.mark.anyio
async def test_both_documents_are_served_as_they_are_made_and_asked_for_again_by_their_etag() -> (
    None
):
    async with site(base="http://localhost:8000") as web:
        for name, document in (("openapi", OPENAPI), ("asyncapi", ASYNCAPI)):
            answer = await web.get(f"/v1/{name}.json")
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["cache-control"] == "no-cache"
            assert answer.json() == document
            again = await web.get(f"/v1/{name}.json", if_none_match=answer.headers["etag"])
            assert (again.status_code, again.content) == (304, b"")
            plain = await ask(web.app, path=f"/v1/{name}.json")
            packed = await ask(
                web.app,
                path=f"/v1/{name}.json",
                headers=[(b"host", b"localhost:8000"), (b"accept-encoding", b"gzip")],
            )
            assert plain.headers["etag"] != packed.headers["etag"]
            assert gzip.decompress(packed.body) == plain.body
            assert len(packed.body) < len(plain.body) / 4


@pytest.mark.anyio
async def test_methods_that_are_described_are_those_that_are_allowed() -> None:
    async with site() as web:
        for path, methods in OPENAPI["paths"].items():
            answer = await web.client.request("OPTIONS", path.replace("{id}", "x"))
            allowed = set(answer.headers["allow"].split(", "))
            assert {method.upper() for method in methods} == allowed - {"HEAD", "OPTIONS"}
            assert ("HEAD" in allowed) is ("get" in methods)


def test_a_route_that_is_not_described_cannot_be_served() -> None:
    specifications = Specifications(Limits(), TRANSPORTS)
    specifications.describe(OPERATIONS)
    with pytest.raises(KeyError, match="sparkles"):
        specifications.describe([*OPERATIONS, ("GET", "/v1/sparkles")])


@pytest.mark.anyio
async def test_the_documents_say_where_the_server_is() -> None:
    async with site(root_path="/chat", base="https://localhost:8443/chat") as web:
        openapi = (await web.get("/v1/openapi.json")).json()
        assert openapi["servers"] == [{"url": "/chat"}]
        asyncapi = (await web.get("/v1/asyncapi.json")).json()
        assert asyncapi_errors(asyncapi) == []
        place = {"host": "localhost:8443", "pathname": "/chat"}
        assert asyncapi["servers"]["websocket"] == {**place, "protocol": "wss"}
        assert asyncapi["servers"]["http"].items() >= {**place, "protocol": "https"}.items()


@pytest.mark.anyio
async def test_what_is_switched_off_is_not_described() -> None:
    async with site(transports=("sse",)) as web:
        openapi = (await web.get("/v1/openapi.json")).json()
        assert openapi["paths"].keys() == OPENAPI["paths"].keys() - {"/v1/ws", "/v1/poll"}
        asyncapi = (await web.get("/v1/asyncapi.json")).json()
        assert asyncapi["channels"].keys() == {"sse", "commands"}
        assert asyncapi_errors(asyncapi) == []
        assert all(target(asyncapi, reference) for reference in references(asyncapi))


@pytest.mark.anyio
async def test_limits_are_told_as_they_are_set() -> None:
    async with site(Limits(text=280, nickname=12, name=20, commands_per_list=7)) as web:
        openapi = (await web.get("/v1/openapi.json")).json()
        schemas = openapi["components"]["schemas"]
        assert schemas["Say"]["properties"]["text"]["maxLength"] == 280
        assert schemas["Joined"]["properties"]["nickname"]["maxLength"] == 12
        assert schemas["InstancePlan"]["properties"]["name"]["anyOf"][0]["maxLength"] == 20
        body = openapi["paths"]["/v1/commands"]["post"]["requestBody"]
        assert body["content"]["application/json"]["schema"]["anyOf"][0]["maxItems"] == 7
        asyncapi = (await web.get("/v1/asyncapi.json")).json()
        assert (
            asyncapi["components"]["schemas"]["Message"]["properties"]["text"]["maxLength"] == 280
        )


def test_examples_are_written_as_messages_are() -> None:
    """Fields that a client may leave out are not shown as null, and `type` comes first, as on the wire."""
    for kind in get_args(ClientCommand):
        shown = example(kind)
        assert next(iter(shown)) == "type"
        assert None not in shown.values()
        assert json.loads(encode(shown)) == shown
