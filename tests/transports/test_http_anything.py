"""Whatever a client sends, the answer is proper: never the server's fault, and an error is one of the protocol."""

from __future__ import annotations

import json
from typing import Any

import anyio
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits
from tests.transports.web import ALEXANDRA, Answer, ask, site, uuid

METHODS = st.sampled_from(["GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS"]) | st.text(
    "ABCDEFG-!~09", min_size=1, max_size=9
)
IDS = st.sampled_from([uuid(number) for number in range(1, 6)]) | st.text(max_size=9)
PATHS = st.one_of(
    st.sampled_from(["/", "*", "", "/healthz", "/readyz", "/metrics", "/v1", "/v1/ws"]),
    st.sampled_from(
        ["commands", "instances", "operations", "participants", "messages", "worklog"]
    ).map("/v1/{}".format),
    IDS.map("/v1/instances/{}".format),
    IDS.map("/v1/operations/{}".format),
    st.text(max_size=20).map("/{}".format),
    st.from_regex(r"https?://[a-z.:@\[\]0-9]{0,12}/?", fullmatch=True),
)
CURSORS = st.sampled_from(["k3f9-1", "k3f9-3", "k3f9-999", "x-1"]) | st.text(max_size=9)
PARAMETERS = st.dictionaries(
    st.sampled_from(["before", "limit", "workspace", "after"]) | st.text(max_size=4),
    CURSORS | st.integers().map(str),
    max_size=3,
)
QUERIES = st.binary(max_size=20) | PARAMETERS.map(
    lambda given: "&".join(f"{name}={value}" for name, value in given.items()).encode()
)
VALUES = st.binary(max_size=40).filter(lambda value: b"\r" not in value and b"\n" not in value)
HEADERS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(
                b"host origin content-type content-length content-encoding transfer-encoding x-other "
                b"cloudchat-token idempotency-key if-none-match access-control-request-method".split()
            ),
            VALUES,
        ),
        st.sampled_from(
            [
                (b"origin", b"http://localhost:8000"),
                (b"cloudchat-token", ALEXANDRA.encode()),
                (b"idempotency-key", b"key-1"),
                (b"idempotency-key", uuid(1).encode()),
                (b"content-type", b"application/json; charset=utf-8"),
                (b"content-length", b"99"),
                (b"content-length", b"99999999"),
                (b"if-none-match", b'"k3f9-1"'),
            ]
        ),
    ),
    max_size=4,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELDS: dict[str, Any] = {
    "id": st.sampled_from(["c1", "c2"]) | JSON,
    "type": st.sampled_from(
        ["join", "leave", "say", "redact", "create", "start", "stop", "remove", "ping"]
    )
    | JSON,
}
COMMANDS = st.fixed_dictionaries(
    FIELDS,
    optional={
        "nickname": st.text(max_size=9) | JSON,
        "token": st.just(ALEXANDRA) | JSON,
        "text": st.text(max_size=9) | JSON,
        "message": CURSORS | JSON,
        "instance": IDS | JSON,
        "state": st.sampled_from(["running", "stopped"]) | JSON,
        "name": st.text(max_size=9) | JSON,
        "spec": st.dictionaries(st.text(max_size=3), JSON, max_size=2) | JSON,
        "feed": JSON,
    },
)
BODIES = st.one_of(
    st.binary(max_size=60),
    JSON.map(lambda value: json.dumps(value).encode()),
    COMMANDS.map(lambda value: json.dumps(value).encode()),
    st.lists(COMMANDS, max_size=4).map(lambda value: json.dumps(value).encode()),
    st.integers(1, 100_000).map(lambda depth: b"[" * depth),
    st.integers(1, 1_200).map(lambda depth: b'{"spec":{"a":' + b"[" * depth + b"]" * depth + b"}}"),
)
HOST, TYPE = (b"host", b"localhost:8000"), (b"content-type", b"application/json")
REQUESTS = st.tuples(
    METHODS,
    PATHS,
    st.tuples(
        st.sampled_from([[HOST], [HOST, TYPE, (b"transfer-encoding", b"chunked")], []]), HEADERS
    ).map(lambda both: [*both[0], *both[1]]),
    BODIES.flatmap(lambda body: st.sampled_from([[body], [body[:3], b"", body[3:]]])),
    QUERIES,
)


def check(method: str, answer: Answer) -> None:
    assert answer.status < 500, answer.body
    if answer.status >= 400 and method != "HEAD":
        assert answer.code in set(Code)
    if answer.status in {204, 304} or method == "HEAD":
        assert answer.body == b""
    else:
        assert int(answer.headers["content-length"]) == len(answer.body)
        if answer.headers["content-type"].endswith("json"):
            msgspec.json.decode(answer.body)
    assert not any("\r" in value or "\n" in value for value in answer.headers.values())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@given(requests=st.lists(REQUESTS, min_size=1, max_size=12))
@settings(max_examples=150)
def test_every_answer_is_proper_whatever_is_asked(backend: str, requests: list[Any]) -> None:
    async def main() -> None:
        async with site(Limits(body=50_000)) as web:
            await web.create()
            for method, path, headers, body, query in requests:
                check(method, await ask(web.app, method, path, headers, body, query))
            # And whoever asks properly is served as if nothing had been.
            assert (await ask(web.app)).status == 200
            assert (await web.post("/v1/instances", {"name": "web-2"})).status_code == 202

    anyio.run(main, backend=backend)
