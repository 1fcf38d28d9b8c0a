"""`POST /v1/commands`: the way upstream for whoever has no WebSocket."""

from __future__ import annotations

from typing import Any

import pytest

from cloudchat_core.limits import Limits
from tests.transports.web import ALEXANDRA, BORIS, Site, site, uuid

pytestmark = pytest.mark.anyio


async def post(web: Site, value: object, token: str = "") -> Any:
    headers = {"cloudchat_token": token} if token else {}
    answer = await web.post("/v1/commands", value, **headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def test_one_command_is_answered_by_one_object() -> None:
    async with site() as web:
        assert await post(web, {"type": "ping", "id": "p1"}) == {
            "type": "ack",
            "id": "p1",
            "cursor": "k3f9-1",
        }


async def test_a_list_is_answered_by_a_list_in_its_order() -> None:
    async with site() as web:
        answers = await post(
            web,
            [
                {"type": "join", "id": "c1", "nickname": "Alexandra", "token": ALEXANDRA},
                {"type": "say", "id": "c2", "text": "hello"},
                {"type": "dance", "id": "c3"},
                {"type": "create", "id": "c4", "name": "web-1"},
                {"type": "start", "id": "c5", "instance": "nonsense"},
                17,
                {"type": "say"},
                {"type": "leave", "id": "c6", "unknown": "fields are ignored"},
            ],
        )
        assert [(one["type"], one["id"], one.get("code")) for one in answers] == [
            ("ack", "c1", None),
            ("ack", "c2", None),
            ("error", "c3", "unknown_type"),
            ("ack", "c4", None),
            ("error", "c5", "instance_unknown"),
            ("error", None, "bad_frame"),
            ("error", None, "bad_command"),
            ("ack", "c6", None),
        ]
        assert answers[0]["nickname"] == "Alexandra"
        assert answers[3]["operation"]["command"] == "create"


async def test_an_empty_list_is_answered_by_an_empty_list() -> None:
    async with site() as web:
        assert await post(web, []) == []
        assert await post(web, [], ALEXANDRA) == []


async def test_a_hundred_commands_make_a_list_and_one_more_makes_none() -> None:
    async with site() as web:
        pings = [{"type": "ping", "id": f"p{number}"} for number in range(101)]
        assert [one["id"] for one in await post(web, pings[:100])] == [
            f"p{number}" for number in range(100)
        ]
        refused = await web.post("/v1/commands", pings)
        assert (refused.status_code, refused.json()["code"]) == (413, "too_large")


async def test_a_command_sent_again_gets_the_same_answer_and_happens_once() -> None:
    async with site() as web:
        say = {"type": "say", "id": "c1", "text": "hello", "nickname": "bot"}
        first = await post(web, say, ALEXANDRA)
        head = web.node.state.offset
        assert await post(web, say, ALEXANDRA) == first
        assert await post(web, [say, say], ALEXANDRA) == [first, first]
        assert web.node.state.offset == head
        assert (await post(web, say | {"text": "other"}, ALEXANDRA))["code"] == "id_reused"
        assert (await post(web, say, BORIS))["cursor"] != first["cursor"]


async def test_the_header_stands_for_the_token_of_a_join() -> None:
    async with site() as web:
        join = {"type": "join", "id": "c1", "nickname": "Alexandra"}
        assert (await post(web, join, ALEXANDRA))["type"] == "ack"
        assert (await post(web, join | {"token": ALEXANDRA}, ALEXANDRA))["type"] == "ack"
        assert (await post(web, join | {"token": BORIS}, ALEXANDRA))["code"] == "bad_command"
        assert (await post(web, join))["code"] == "bad_command"
        assert (await post(web, join | {"token": "short"}))["code"] == "token_invalid"


async def test_what_was_joined_with_one_post_goes_on_with_the_next() -> None:
    async with site() as web:
        say = {"type": "say", "id": "c2", "text": "hello"}
        assert (await post(web, say))["code"] == "not_joined"
        assert (await post(web, say, ALEXANDRA))["code"] == "not_joined"
        join = {"type": "join", "id": "c1", "nickname": "Alexandra", "token": ALEXANDRA}
        await post(web, join)
        assert (await post(web, say, ALEXANDRA))["type"] == "ack"
        assert (await post(web, say | {"id": "c3"}))["code"] == "not_joined"


async def test_a_taken_nickname_comes_with_suggestions() -> None:
    async with site() as web:
        await post(web, {"type": "join", "id": "c1", "nickname": "Alexandra"}, ALEXANDRA)
        refused = await post(web, {"type": "join", "id": "c1", "nickname": "ALEXANDRA"}, BORIS)
        assert refused["code"] == "nickname_taken"
        assert refused["suggestions"]


@pytest.mark.parametrize("body", [b"17", b'"say"', b"true", b"null", b"1.5"])
async def test_a_body_that_is_neither_object_nor_list_is_a_bad_request(body: bytes) -> None:
    async with site() as web:
        answer = await web.client.post(
            "/v1/commands", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"[1,]",
        b'{"a":NaN}',
        b"Infinity",
        b'"\xff"',
        b'{"type":"say","id":"c1","text":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        b"{} {}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
)
async def test_a_body_that_is_no_json_is_bad_json(body: bytes) -> None:
    async with site() as web:
        answer = await web.client.post(
            "/v1/commands", content=body, headers={"content-type": "application/json"}
        )
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_json")


@pytest.mark.parametrize(
    "token",
    [
        "",
        "short",
        "x" * 21,
        "x" * 129,
        "with a blank in the middle of it",
        f"{ALEXANDRA},{BORIS}",
        "tökens-are-ascii-by-all-means",
    ],
)
async def test_a_malformed_token_is_401_before_anything_is_done(token: str) -> None:
    async with site() as web:
        for answer in (
            await web.client.post(
                "/v1/commands",
                json={"type": "create", "id": uuid(1)},
                headers=[(b"cloudchat-token", token.encode())],
            ),
            await web.client.post("/v1/instances", headers=[(b"cloudchat-token", token.encode())]),
        ):
            assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")
            assert answer.headers["www-authenticate"]
            assert not token or token not in answer.text
        assert len(web.node.state.operations) == 0


async def test_two_headers_with_tokens_are_401() -> None:
    async with site() as web:
        answer = await web.client.post(
            "/v1/commands",
            json=[],
            headers=[("cloudchat-token", ALEXANDRA), ("cloudchat-token", BORIS)],
        )
        assert (answer.status_code, answer.json()["code"]) == (401, "token_invalid")


async def test_commands_that_come_too_fast_are_told_so_one_by_one() -> None:
    async with site(Limits(commands_per_second=1, commands_burst=3)) as web:
        pings = [{"type": "ping", "id": f"p{number}"} for number in range(5)]
        answers = await post(web, pings, ALEXANDRA)
        assert [one["type"] for one in answers] == ["ack", "ack", "ack", "error", "error"]
        assert answers[3]["code"] == "rate_limited"
        assert answers[3]["retry_after"] == 1
        # The rate is the token's, not the address's.
        assert (await post(web, pings[0], BORIS))["type"] == "ack"
        web.clock.advance(1)
        assert (await post(web, pings[0], ALEXANDRA))["type"] == "ack"


async def test_an_address_gets_no_more_by_making_up_ever_new_tokens() -> None:
    limits = Limits(commands_per_second=1, commands_burst=2, rates_per_address=3)
    async with site(limits) as web:
        fresh = [f"token-number-{number}-of-one-address" for number in range(9)]
        pings = [{"type": "ping", "id": "p1"}, {"type": "ping", "id": "p2"}]
        answers = [one for token in fresh for one in await post(web, pings, token)]
        assert [one["type"] for one in answers] == ["ack"] * 6 + ["error"] * 12
        assert {one["code"] for one in answers[6:]} == {"rate_limited"}
        order = await web.post("/v1/instances", cloudchat_token=BORIS)
        assert (order.status_code, order.json()["code"]) == (429, "rate_limited")
        web.clock.advance(1)
        answers = [one for token in fresh for one in await post(web, pings, token)]
        assert [one["type"] for one in answers].count("ack") == 3


async def test_a_flood_in_one_list_is_answered_to_its_end() -> None:
    async with site(Limits(commands_per_second=1, commands_burst=1, floods=2)) as web:
        answers = await post(web, [{"type": "ping", "id": f"p{n}"} for n in range(9)])
        assert [one.get("code", "") for one in answers] == ["", *["rate_limited"] * 8]


async def test_orders_of_resources_count_as_commands_of_their_token() -> None:
    async with site(Limits(commands_per_second=1, commands_burst=2)) as web:
        for _ in range(2):
            assert (await web.post("/v1/instances", cloudchat_token=BORIS)).status_code == 202
        refused = await web.post("/v1/instances", cloudchat_token=BORIS)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert refused.headers["retry-after"] == "1"
        assert (await web.post("/v1/instances")).status_code == 202
        web.clock.advance(1)
        assert (await web.post("/v1/instances", cloudchat_token=BORIS)).status_code == 202


async def test_while_the_log_is_full_the_whole_request_is_unavailable_and_its_ids_stay_free() -> (
    None
):
    async with site() as web:
        web.log.full = True
        say = {"type": "say", "id": "c1", "text": "hello", "nickname": "bot"}
        for value in (say, [say, say | {"id": "c2"}]):
            refused = await web.post("/v1/commands", value, cloudchat_token=ALEXANDRA)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert refused.headers["retry-after"]
            assert "secret" not in refused.text
        # What needs no log is answered still, and each command for itself.
        ping = {"type": "ping", "id": "p1"}
        assert (await post(web, ping))["type"] == "ack"
        refused = await web.post(
            "/v1/commands", [say, {"type": "dance", "id": "x"}], cloudchat_token=ALEXANDRA
        )
        assert [one["code"] for one in refused.json()] == ["unavailable", "unknown_type"]
        web.log.full = False
        assert (await post(web, say, ALEXANDRA))["type"] == "ack"
        assert [one["text"] for one in (await web.get("/v1/messages")).json()["items"]] == ["hello"]
