"""Requests as requests: what HTTP itself asks of a server, whatever the resource."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import msgspec
import pytest
from trio.testing import MockClock

from cloudchat_core.errors import Code, LocalProtocolError
from cloudchat_core.frames import Refusal
from cloudchat_core.limits import Limits
from cloudchat_engine import LogUnavailableError
from cloudchat_transports.access import Access
from cloudchat_transports.responses import STATUS, phrase, refused
from tests.transports.web import ask, site, uuid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

HOST = (b"host", b"localhost:8000")
JSON = (b"content-type", b"application/json")
RESOURCES = {
    "/": "GET, HEAD, OPTIONS",
    "/healthz": "GET, HEAD, OPTIONS",
    "/readyz": "GET, HEAD, OPTIONS",
    "/metrics": "GET, HEAD, OPTIONS",
    "/v1/commands": "POST, OPTIONS",
    "/v1/instances": "GET, HEAD, POST, OPTIONS",
    f"/v1/instances/{uuid(1)}": "GET, HEAD, PATCH, DELETE, OPTIONS",
    "/v1/operations": "GET, HEAD, OPTIONS",
    f"/v1/operations/{uuid(1)}": "GET, HEAD, OPTIONS",
    "/v1/worklog": "GET, HEAD, OPTIONS",
    "/v1/messages": "GET, HEAD, OPTIONS",
    "/v1/participants": "GET, HEAD, OPTIONS",
    "/v1/ws": "GET, HEAD, OPTIONS",
}


# -- errors


def test_every_error_of_the_protocol_has_a_status() -> None:
    assert set(STATUS) == set(Code)


@pytest.mark.parametrize("code", Code)
def test_a_refusal_becomes_a_problem_of_its_status(code: Code) -> None:
    operation = msgspec.UNSET
    response = refused(Refusal("c1", code, "for people", ("Alexandra2",), operation, 2.5))
    told = msgspec.json.decode(response.body)
    assert (response.status, response.content_type) == (STATUS[code], "application/problem+json")
    assert told["status"] == response.status
    assert told["code"] == code
    assert told["detail"] == "for people"
    assert told["suggestions"] == ["Alexandra2"]
    assert told["retry_after"] == 2.5
    assert dict(response.headers)["retry-after"] == "3"


@pytest.mark.parametrize("code", ["rate_limited", "quota_exceeded", "unavailable"])
def test_who_has_to_wait_is_told_how_long(code: str) -> None:
    response = refused(Refusal("c1", code, "for people"))
    assert int(dict(response.headers)["retry-after"]) >= 1
    assert msgspec.json.decode(response.body)["retry_after"] >= 1


MISTAKES: list[tuple[str, str, Any, int, str]] = [
    ("GET", "/v1/nothing", None, 404, "not_found"),
    ("GET", "/v1/sse?topics=weather", None, 404, "not_found"),
    ("GET", "/v1/poll?topics=weather", None, 404, "not_found"),
    ("GET", "/v2/instances", None, 404, "not_found"),
    ("POST", "/v1", {}, 404, "not_found"),
    ("GET", "/v1/instances/", None, 404, "not_found"),
    ("GET", "/v1//instances", None, 404, "not_found"),
    ("GET", "//v1/instances", None, 404, "not_found"),
    ("GET", f"/v1/instances/{uuid(9)}/", None, 404, "not_found"),
    ("GET", f"/v1/messages/{uuid(9)}", None, 404, "not_found"),
    ("GET", f"/v1/instances/{uuid(9)}", None, 404, "instance_unknown"),
    ("GET", "/v1/instances/%00", None, 404, "instance_unknown"),
    ("GET", "/v1/instances/%FF", None, 404, "instance_unknown"),
    ("GET", "/v1/instances/%F0%9F%98%80", None, 404, "instance_unknown"),
    ("PATCH", f"/v1/instances/{uuid(9)}", {"state": "running"}, 404, "instance_unknown"),
    ("DELETE", f"/v1/instances/{uuid(9)}", None, 404, "instance_unknown"),
    ("GET", f"/v1/operations/{uuid(9)}", None, 404, "not_found"),
    ("GET", "/v1/instances?workspace=other", None, 404, "not_found"),
    ("POST", "/v1/commands?workspace=other", [], 404, "not_found"),
    ("PUT", "/v1/instances", [], 405, "method_not_allowed"),
    ("DELETE", "/v1/instances", None, 405, "method_not_allowed"),
    ("GET", "/v1/commands", None, 405, "method_not_allowed"),
    ("TRACE", "/", None, 405, "method_not_allowed"),
    ("BREW", "/v1/instances", None, 405, "method_not_allowed"),
    ("POST", "/v1/instances", [], 400, "bad_request"),
    ("POST", "/v1/instances", "web-1", 400, "bad_request"),
    ("POST", "/v1/instances", 0, 400, "bad_request"),
    ("POST", "/v1/instances", {"name": 17}, 400, "bad_command"),
    ("POST", "/v1/instances", {"name": ""}, 400, "bad_command"),
    ("POST", "/v1/instances", {"name": "x" * 65}, 400, "bad_command"),
    ("POST", "/v1/instances", {"spec": []}, 400, "bad_command"),
    ("PATCH", f"/v1/instances/{uuid(9)}", {}, 400, "bad_command"),
    ("PATCH", f"/v1/instances/{uuid(9)}", [], 400, "bad_request"),
    ("PATCH", f"/v1/instances/{uuid(9)}", None, 400, "bad_json"),
    ("PATCH", f"/v1/instances/{uuid(9)}", {"state": "absent"}, 400, "bad_command"),
    ("PATCH", f"/v1/instances/{uuid(9)}", {"state": None}, 400, "bad_command"),
    ("GET", "/v1/messages?limit=many", None, 400, "bad_request"),
    ("GET", f"/v1/messages?{'a=1&' * 40}", None, 400, "bad_request"),
    ("GET", "/v1/messages?before=%FF", None, 400, "bad_request"),
    ("GET", "/v1/messages?before=k3f9-99", None, 410, "gone"),
    ("GET", "/v1/ws", None, 426, "bad_request"),
]


@pytest.mark.parametrize(
    ("method", "path", "value", "status", "code"),
    MISTAKES,
    ids=[
        f"{method} {path[:32]} {code} {n}" for n, (method, path, _, _, code) in enumerate(MISTAKES)
    ],
)
async def test_a_mistake_is_answered_by_its_problem(
    method: str, path: str, value: Any, status: int, code: str
) -> None:
    async with site() as web:
        given = {} if value is None else {"json": value}
        answer = await web.client.request(method, f"http://localhost:8000{path}", **given)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        told = answer.json()
        assert told["status"] == status
        assert (told["type"], told["title"]) == ("about:blank", phrase(status))
        assert told["detail"]


async def test_wrong_states_are_told_apart() -> None:
    async with site() as web:
        path = f"/v1/instances/{await web.create()}"
        refusal = await web.patch(path, {"state": "stopped"})
        assert (refusal.status_code, refusal.json()["code"]) == (409, "instance_state")
        begun = (await web.patch(path, {"state": "running"})).json()
        refusal = await web.delete(path)
        assert (refusal.status_code, refusal.json()["code"]) == (409, "instance_busy")
        assert refusal.json()["operation"] == {
            name: value for name, value in begun["operation"].items() if name != "url"
        }


async def test_too_many_instances_are_over_the_quota() -> None:
    async with site(Limits(instances=1)) as web:
        await web.create()
        refusal = await web.post("/v1/instances")
        assert (refusal.status_code, refusal.json()["code"]) == (429, "quota_exceeded")
        assert int(refusal.headers["retry-after"]) >= 1


async def test_empty_and_unknown_parameters_are_as_left_out() -> None:
    async with site() as web:
        for query in ("", "workspace=", "workspace=main", "before=&limit=", "unknown=1&x"):
            assert (await web.get(f"/v1/messages?{query}")).status_code == 200


async def test_a_bug_of_ours_is_internal_and_says_nothing_of_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with site() as web:
        web.log.unreadable = ZeroDivisionError("the secret of the house")
        answer = await web.get("/v1/messages")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert "secret" not in answer.text
        assert "the secret of the house" in caplog.text


async def test_a_log_that_cannot_be_read_is_unavailable() -> None:
    async with site() as web:
        web.log.unreadable = LogUnavailableError("a broken disk at /var/lib/secret")
        answer = await web.get("/v1/messages")
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "secret" not in answer.text


# -- methods


@pytest.mark.parametrize(("path", "allow"), RESOURCES.items())
async def test_every_resource_says_what_it_allows(path: str, allow: str) -> None:
    async with site() as web:
        asked = await web.client.options(path)
        assert (asked.status_code, asked.headers["allow"], asked.content) == (204, allow, b"")
        assert "content-length" not in asked.headers  # RFC 9110 §8.6
        refusal = await web.client.put(path)
        assert (refusal.status_code, refusal.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    "path", ["/v1/nothing", *(path for path, allow in RESOURCES.items() if "HEAD" in allow)]
)
async def test_head_is_get_without_the_body(path: str) -> None:
    async with site() as web:
        await web.create()
        # Under one clock, and with nothing counted between the two.
        get = await ask(web.app, "GET", path)
        head = await ask(web.app, "HEAD", path)
        assert head.body == b""
        assert head.status == get.status
        if path != "/metrics":
            assert head.headers == get.headers
            assert int(head.headers["content-length"]) == len(get.body)


async def test_the_server_as_a_whole_says_what_it_allows() -> None:
    async with site() as web:
        answer = await ask(web.app, "OPTIONS", "*")
        assert (answer.status, answer.body) == (204, b"")
        assert "PATCH" in answer.headers["allow"]


async def test_a_plain_request_for_the_websocket_is_told_to_upgrade() -> None:
    async with site() as web:
        answer = await web.get("/v1/ws")
        assert answer.status_code == 426
        assert answer.headers["upgrade"] == "websocket"
        assert answer.headers["connection"] == "upgrade"
        assert "WebSocket" in answer.json()["detail"]
        # HTTP/2 has no such header.
        answer2 = await ask(web.app, path="/v1/ws", http_version="2")
        assert "connection" not in answer2.headers


# -- headers of every answer


@pytest.mark.parametrize("path", [*RESOURCES, "/v1/nothing"])
async def test_no_answer_is_sniffed_or_embedded_and_none_has_a_banner(path: str) -> None:
    async with site() as web:
        answer = await web.get(path)
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "Origin" in answer.headers["vary"].split(", ")
        assert not {"server", "date", "set-cookie", "x-powered-by"} & set(answer.headers)
        assert "cache-control" in answer.headers


# -- bodies


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json ; profile=x",
    ],
)
async def test_json_is_json_with_parameters_too(content_type: bytes) -> None:
    async with site() as web:
        headers = [HOST, (b"content-type", content_type), (b"content-length", b"2")]
        assert (await ask(web.app, "POST", "/v1/commands", headers, [b"[]"])).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"")],
        [(b"content-type", b"text/plain")],
        [(b"content-type", b"application/x-www-form-urlencoded")],
        [(b"content-type", b"application/merge-patch+json")],
        [(b"content-type", b"application/json, text/plain")],
        [(b"content-type", b"application/json; charset=latin-1")],
        [(b"content-type", b"application/jsonp")],
        [JSON, (b"content-encoding", b"gzip")],
    ],
)
async def test_other_bodies_are_an_unsupported_media_type(headers: list[Any]) -> None:
    async with site() as web:
        given = [HOST, *headers, (b"content-length", b"2")]
        for method, path in (
            ("POST", "/v1/commands"),
            ("POST", "/v1/instances"),
            ("PATCH", f"/v1/instances/{uuid(1)}"),
            ("DELETE", f"/v1/instances/{uuid(1)}"),
        ):
            answer = await ask(web.app, method, path, given, [b"{}"])
            assert (answer.status, answer.code) == (415, "unsupported_media_type")
            assert "accept" in answer.headers or "accept-encoding" in answer.headers


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger() -> None:
    async with site(Limits(body=1_000)) as web:
        fits = b" " * 998 + b"[]"
        for length in ((b"content-length", b"1000"), (b"transfer-encoding", b"chunked")):
            headers = [HOST, JSON, length]
            assert (await ask(web.app, "POST", "/v1/commands", headers, [fits])).status == 200
            parts = [fits[:500], fits[500:]]
            assert (await ask(web.app, "POST", "/v1/commands", headers, parts)).status == 200
        for headers in (
            [HOST, JSON, (b"content-length", b"1001")],
            [HOST, JSON, (b"content-length", b"9" * 18)],
            [HOST, JSON, (b"transfer-encoding", b"chunked")],
        ):
            answer = await ask(web.app, "POST", "/v1/commands", headers, [fits, b" "])
            assert (answer.status, answer.code) == (413, "too_large")


@pytest.mark.parametrize("length", [b"x", b"-1", b"1,2", b"", b"9" * 30, b"0x1"])
async def test_a_length_that_is_no_number_is_a_bad_request(length: bytes) -> None:
    async with site() as web:
        headers = [HOST, JSON, (b"content-length", length)]
        answer = await ask(web.app, "POST", "/v1/commands", headers, [b"[]"])
        assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize(
    "name", [b"host", b"origin", b"content-type", b"content-length", b"idempotency-key"]
)
async def test_what_may_stand_once_may_not_stand_twice(name: bytes) -> None:
    async with site() as web:
        values = {
            b"host": b"localhost:8000",
            b"origin": b"http://localhost:8000",
            b"content-type": b"application/json",
            b"content-length": b"2",
            b"idempotency-key": uuid(1).encode(),
        }
        headers = [*values.items(), (name, values[name])]
        answer = await ask(web.app, "POST", "/v1/instances", headers, [b"{}"])
        assert (answer.status, answer.code) == (400, "bad_request")
        assert (await ask(web.app, "POST", "/v1/instances", values.items(), [b"{}"])).status == 202


async def test_a_client_that_goes_away_in_the_middle_of_its_body_is_answered_by_nothing() -> None:
    async with site() as web:
        sent: list[object] = []
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"[", "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return messages.pop(0)

        async def send(message: object) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/v1/commands",
            "headers": [HOST, JSON, (b"transfer-encoding", b"chunked")],
        }
        await web.app(scope, receive, send)
        assert sent == []


@pytest.mark.parametrize(
    "anyio_backend", [pytest.param(("trio", {"clock": MockClock(autojump_threshold=0)}), id="trio")]
)
async def test_a_body_that_drips_is_ended_and_its_time_counted_as_a_whole() -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield b"["
        for _ in range(100):
            await anyio.sleep(1)
            yield b" "
        yield b"]"

    async with site(Limits(body_time=15)) as web:
        headers = {"content-type": "application/json"}
        answer = await web.client.post("/v1/commands", content=drip(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (408, "bad_request")
    async with site(Limits(body_time=150)) as web:
        answer = await web.client.post("/v1/commands", content=drip(), headers=headers)
        assert (answer.status_code, answer.json()) == (200, [])


# -- who may call, and how often


async def test_without_a_host_a_request_is_bad() -> None:
    async with site() as web:
        for headers in ([], [(b"host", b"")], [(b"host", b"a b")], [HOST, HOST]):
            answer = await ask(web.app, headers=headers)
            assert (answer.status, answer.code) == (400, "bad_request")


@pytest.mark.parametrize("path", [*RESOURCES, "/v1/nothing"])
async def test_a_page_that_rebinds_its_name_to_us_gets_nothing(path: str) -> None:
    async with site() as web:
        for method in ("GET", "POST", "OPTIONS", "HEAD"):
            for headers in (
                [(b"host", b"evil.example:8000")],
                [(b"host", b"evil.example:8000"), (b"origin", b"http://evil.example:8000")],
                [HOST, (b"origin", b"http://evil.example:8000")],
                [HOST, (b"origin", b"null")],
            ):
                answer = await ask(web.app, method, path, headers)
                assert answer.status == 403
                assert "access-control-allow-origin" not in answer.headers
                assert method == "HEAD" or answer.code == "forbidden"
        assert len(web.node.state.operations) == 0


async def test_a_target_in_absolute_form_names_the_host() -> None:
    async with site() as web:
        path = "http://localhost:8000/v1/instances"
        assert (await ask(web.app, path=path)).status == 200
        assert (await ask(web.app, path=path, headers=[(b"host", b"evil.example")])).status == 200
        assert (await ask(web.app, path="http://localhost")).status == 200
        for path in ("http://evil.example/v1/instances", "HTTP://evil.example"):
            assert (await ask(web.app, path=path)).status == 403
        assert (await ask(web.app, path="http://a@localhost/")).status == 400


async def test_allowed_origins_may_read_answers_and_send_the_protocols_headers() -> None:
    access = Access(allow_origins=["https://app.example.org"])
    async with site(access=access) as web:
        for origin in ("https://app.example.org", "http://localhost:8000"):
            answer = await web.get("/v1/instances", origin=origin)
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["access-control-expose-headers"] == "ETag, Location, Retry-After"
            assert "access-control-allow-credentials" not in answer.headers
            assert answer.headers["vary"] == "Origin"
            asked = await web.client.options(
                "/v1/commands",
                headers={
                    "origin": origin,
                    "access-control-request-method": "POST",
                    "access-control-request-headers": "cloudchat-token,content-type",
                },
            )
            assert asked.status_code == 204
            assert asked.headers["access-control-allow-origin"] == origin
            assert set(asked.headers["access-control-allow-headers"].split(", ")) == {
                "Authorization",
                "Content-Type",
                "Cloudchat-Token",
                "Idempotency-Key",
                "Last-Event-ID",
            }
            assert {"GET", "POST", "PATCH", "DELETE"} <= set(
                asked.headers["access-control-allow-methods"].split(", ")
            )
            assert int(asked.headers["access-control-max-age"]) > 0
        for path in ("/v1/nothing", "/v1/messages?limit=x"):
            # A page can read what went wrong, too.
            answer = await web.get(path, origin="https://app.example.org")
            assert answer.headers["access-control-allow-origin"] == "https://app.example.org"


async def test_requests_without_an_origin_get_no_cors_headers() -> None:
    async with site() as web:
        answer = await web.get("/v1/instances")
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_too_many_requests_from_one_address_wait_and_others_do_not() -> None:
    async with site(Limits(requests_per_second=2, requests_burst=3)) as web:
        for _ in range(3):
            assert (await ask(web.app)).status == 200
        answer = await ask(web.app)
        assert (answer.status, answer.code) == (429, "rate_limited")
        assert answer.headers["retry-after"] == "1"
        assert (await ask(web.app, "POST", "/v1/nothing")).status == 429
        # A server that is asked too much is not therefore dead.
        assert (await ask(web.app, path="/healthz")).status == 200
        assert (await ask(web.app, client=("192.0.2.8", 1))).status == 200
        assert (await ask(web.app, client=None)).status == 200
        web.clock.advance(0.5)
        assert (await ask(web.app)).status == 200
        assert (await ask(web.app)).status == 429


async def test_a_rate_of_nought_is_no_limit() -> None:
    async with site(Limits(requests_per_second=0, requests_burst=1)) as web:
        assert {(await ask(web.app)).status for _ in range(20)} == {200}


# -- what is no request


async def test_a_websocket_is_refused_by_a_close_where_the_server_passes_no_problem_on() -> None:
    async with site() as web:
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "websocket.connect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/other", "headers": [HOST]}
        await web.app(scope, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


async def test_the_servers_lifespan_is_acknowledged() -> None:
    async with site() as web:
        told = ["lifespan.startup", "lifespan.shutdown"]
        sent: list[str] = []

        async def receive() -> dict[str, Any]:
            return {"type": told.pop(0)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message["type"])

        await web.app({"type": "lifespan"}, receive, send)
        assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_what_the_application_does_not_know_it_says() -> None:
    async with site() as web:
        with pytest.raises(LocalProtocolError, match="carrier pigeon"):
            await ask(web.app, type="carrier pigeon")
