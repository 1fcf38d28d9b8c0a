"""The resources: what curl sees of the workspace, and what it can do to it."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from cloudchat_engine import ManualTimer, Node, SimulatedProvider
from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp
from tests.transports.web import ALEXANDRA, BORIS, ask, site, uuid

pytestmark = pytest.mark.anyio

BEGUN = "2023-11-14T22:13:20.000Z"
DONE = "2023-11-14T22:13:40.000Z"


async def test_an_instance_is_created_started_stopped_and_removed() -> None:
    async with site() as web:
        begun = await web.post("/v1/instances", {"name": "web-1", "spec": {"size": 2}})
        assert begun.status_code == 202
        assert begun.json() == {
            "status": "ok",
            "operation": {
                "id": uuid(2),
                "url": f"/v1/operations/{uuid(2)}",
                "command": "create",
                "received_at": BEGUN,
                "expected": DONE,
            },
            "instance": {"id": uuid(1), "name": "web-1"},
        }
        assert begun.headers["location"] == f"/v1/operations/{uuid(2)}"
        await web.finish(uuid(2))
        shown = {"id": uuid(1), "state": "stopped", "name": "web-1", "created_at": DONE}
        instance = f"/v1/instances/{uuid(1)}"
        assert (await web.get(instance)).json() == shown
        assert (await web.get("/v1/instances")).json() == [shown]

        for wish, command, outcome in (
            ("running", "start", "started"),
            ("stopped", "stop", "stopped"),
        ):
            begun = await web.patch(instance, {"state": wish})
            assert begun.status_code == 202
            assert begun.json()["operation"]["command"] == command
            under_way = (await web.get(instance)).json()["operation"]
            assert under_way["id"] == begun.json()["operation"]["id"]
            await web.finish(under_way["id"])
            assert (await web.get(instance)).json()["state"] == wish
            done = (await web.get(begun.headers["location"])).json()
            assert (done["done"], done["outcome"]) == (True, outcome)

        begun = await web.delete(instance)
        assert begun.status_code == 202
        assert begun.json()["instance"]["id"] == uuid(1)
        await web.finish(begun.json()["operation"]["id"])
        assert (await web.get(instance)).status_code == 404
        assert (await web.get("/v1/instances")).json() == []


async def test_an_instance_needs_neither_a_name_nor_a_body() -> None:
    async with site() as web:
        assert (await web.post("/v1/instances")).status_code == 202
        assert (await web.post("/v1/instances", {})).status_code == 202
        assert (await web.post("/v1/instances", {"name": None, "more": 1})).status_code == 202
        # What `curl -d ''` sends.
        form = {"content-type": "application/x-www-form-urlencoded"}
        empty = await web.client.post("/v1/instances", content=b"", headers=form)
        assert empty.status_code == 202


async def test_the_first_thing_an_instance_says_is_its_id_and_then_its_state() -> None:
    async with site() as web:
        await web.create()
        listed = (await web.get("/v1/instances")).json()
        assert list(listed[0])[:2] == ["id", "state"]


async def test_an_instance_that_is_being_created_is_not_there_yet_but_busy() -> None:
    async with site() as web:
        begun = (await web.post("/v1/instances")).json()
        instance = f"/v1/instances/{begun['instance']['id']}"
        assert (await web.get(instance)).status_code == 404
        assert (await web.get("/v1/instances")).json() == []
        refused = await web.patch(instance, {"state": "running"})
        assert (refused.status_code, refused.json()["code"]) == (409, "instance_busy")
        assert refused.json()["operation"]["id"] == begun["operation"]["id"]


async def test_operations_are_listed_newest_first_those_under_way_among_the_finished() -> None:
    async with site() as web:
        first = (await web.post("/v1/instances")).json()["operation"]["id"]
        await web.finish(first)
        web.clock.advance(1)
        second = (await web.post("/v1/instances")).json()["operation"]["id"]
        listed = (await web.get("/v1/operations")).json()
        assert [(one["id"], one["done"]) for one in listed] == [(second, False), (first, True)]
        assert listed[1] == {
            "id": first,
            "command": "create",
            "instance": uuid(1),
            "by": None,
            "done": True,
            "received_at": BEGUN,
            "expected": DONE,
            "outcome": "created",
            "done_at": DONE,
        }
        assert (await web.get(f"/v1/operations/{first}")).json() == listed[1]


class StartsFast(SimulatedProvider):
    """A provider that starts an instance sooner than it creates one."""

    def expected(self, command: str) -> float:
        return 5 if command == "start" else 20


async def test_operations_are_newest_first_by_when_they_were_asked_for() -> None:
    async with site(provider=StartsFast) as web:
        instance = await web.create()
        slow = (await web.post("/v1/instances")).json()["operation"]["id"]
        web.clock.advance(1)
        fast = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        web.clock.advance(6)
        with anyio.fail_after(30):
            while len(web.node.state.operations) > 1:
                await anyio.lowlevel.checkpoint()
        listed = (await web.get("/v1/operations")).json()
        assert [one["id"] for one in listed[:2]] == [fast.json()["operation"]["id"], slow]
        assert [one["done"] for one in listed] == [True, False, True]


async def test_a_failed_operation_says_why() -> None:
    async with site() as web:
        begun = (await web.post("/v1/instances", {"spec": {"fail": "create"}})).json()
        await web.finish(begun["operation"]["id"])
        told = (await web.get(begun["operation"]["url"])).json()
        assert told["outcome"] == "failed"
        assert told["error"]["reason"] == "simulated_failure"
        assert told["error"]["detail"]


async def test_who_asked_is_known_by_the_nickname_of_the_token() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        begun = await web.post("/v1/instances", cloudchat_token=ALEXANDRA)
        told = (await web.get(begun.headers["location"])).json()
        assert told["by"] == "Alexandra"
        begun = await web.post("/v1/instances", cloudchat_token=BORIS)
        assert (await web.get(begun.headers["location"])).json()["by"] is None


async def test_participants_are_listed_with_since_when_they_are_here() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        web.clock.advance(1)
        await web.command("join", BORIS, nickname="Boris")
        assert (await web.get("/v1/participants")).json() == [
            {"nickname": "Alexandra", "since": BEGUN},
            {"nickname": "Boris", "since": "2023-11-14T22:13:21.000Z"},
        ]


# -- pages


async def pages(web: Any, path: str, limit: int) -> list[list[dict[str, Any]]]:
    """Turn pages until there is no more."""
    found, before = [], ""
    while True:
        page = (await web.get(f"{path}?limit={limit}&before={before}")).json()
        found.append(page["items"])
        if page["next"] is None:
            return found
        before = page["next"]


async def test_pages_of_messages_hold_all_of_them_once_newest_first() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        for number in range(7):
            await web.command("say", ALEXANDRA, text=f"message {number}")
        await web.create()
        turned = await pages(web, "/v1/messages", 3)
        assert [len(page) for page in turned] == [3, 3, 1]
        texts = [item["text"] for page in turned for item in page]
        assert texts == [f"message {number}" for number in reversed(range(7))]
        assert turned[0][0].keys() == {"type", "cursor", "at", "nickname", "text", "ref"}
        # The last page is known to be the last, also where it is full.
        assert [len(page) for page in await pages(web, "/v1/messages", 7)] == [7]


async def test_pages_of_the_worklog_hold_what_happened_to_instances() -> None:
    async with site() as web:
        instance = await web.create()
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        begun = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        await web.finish(begun.json()["operation"]["id"])
        turned = await pages(web, "/v1/worklog", 1)
        assert [item["type"] for page in turned for item in page] == [
            "started",
            "received",
            "created",
            "received",
        ]


@pytest.mark.parametrize(
    ("limit", "length"),
    [
        ("", 50),
        ("1", 1),
        ("007", 7),
        ("+3", 3),
        ("0", 1),
        ("-5", 1),
        ("200", 200),
        ("201", 200),
        ("9" * 5_000, 200),
        ("-" + "9" * 5_000, 1),
    ],
)
async def test_a_limit_outside_its_bounds_is_clamped(limit: str, length: int) -> None:
    async with site() as web:
        for batch in range(3):
            said = [
                {"type": "say", "id": f"{batch}.{n}", "text": "hello", "nickname": "bot"}
                for n in range(100)
            ]
            await web.post("/v1/commands", said[:70], cloudchat_token=ALEXANDRA)
            web.clock.advance(10)
        assert len(web.node.state.messages) == 50
        query = f"limit={limit}".replace("+", "%2B").encode()
        answer = await ask(web.app, path="/v1/messages", query=query)
        assert answer.body.count(b'"type":"message"') == length


@pytest.mark.parametrize("limit", ["x", "1.5", "1e2", "0x10", "٣", "1 2", "--1", "NaN"])
async def test_a_limit_that_is_no_number_is_a_bad_request(limit: str) -> None:
    async with site() as web:
        answer = await web.client.get("/v1/messages", params={"limit": limit})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("before", "reason"),
    [("k3f9-99", "future"), ("other-1", "epoch"), ("nonsense", "invalid"), ("k3f9-", "invalid")],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/worklog"])
async def test_a_cursor_that_cannot_be_served_is_gone(path: str, before: str, reason: str) -> None:
    async with site() as web:
        answer = await web.get(f"{path}?before={before}")
        assert answer.status_code == 410
        assert (answer.json()["code"], answer.json()["reason"]) == ("gone", reason)


async def test_pages_of_what_is_no_longer_kept_are_gone() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        for _ in range(5):
            said = await web.command("say", ALEXANDRA, text="hello")
        web.node.first = int(said["cursor"].rpartition("-")[2])
        assert (await web.get("/v1/messages?before=k3f9-3")).status_code == 410
        assert (await web.get(f"/v1/messages?before={said['cursor']}")).status_code == 200


async def test_a_cursor_longer_than_any_is_a_bad_request() -> None:
    async with site() as web:
        assert (await web.get(f"/v1/messages?before={'k' * 128}")).status_code == 410
        answer = await web.get(f"/v1/messages?before={'k' * 129}")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


async def test_a_message_that_was_taken_back_is_without_its_text_on_its_page() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        said = await web.command("say", ALEXANDRA, text="my password")
        await web.command("redact", ALEXANDRA, message=said["cursor"])
        page = await web.get("/v1/messages")
        assert "my password" not in page.text
        assert page.json()["items"][0]["redacted"] is True


# -- caches


COLLECTIONS = ["instances", "operations", "participants", "messages", "worklog"]


@pytest.mark.parametrize("name", COLLECTIONS)
async def test_a_collection_is_tagged_with_its_cursor_and_not_sent_twice(name: str) -> None:
    async with site() as web:
        first = await web.get(f"/v1/{name}")
        assert first.headers["etag"] == f'"{web.node.state.cursor}"'
        assert first.headers["cache-control"] == "no-cache"
        tag = first.headers["etag"]
        for tags in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = await web.get(f"/v1/{name}", if_none_match=tags)
            assert (again.status_code, again.content) == (304, b"")
            assert again.headers["etag"] == tag
            assert "content-length" not in again.headers
        await web.command("say", ALEXANDRA, text="hello", nickname="bot")
        changed = await web.get(f"/v1/{name}", if_none_match=tag)
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag


async def test_what_is_no_collection_is_not_kept_by_caches() -> None:
    async with site() as web:
        instance = await web.create()
        for path in (f"/v1/instances/{instance}", "/healthz", "/readyz", "/metrics", "/v1/nothing"):
            assert (await web.get(path)).headers["cache-control"] == "no-store"


# -- the idempotency key


async def test_a_request_sent_again_with_its_key_gets_the_same_answer_and_happens_once() -> None:
    async with site() as web:
        for key in (uuid(77), f'"{uuid(78)}"'):
            first = await web.post("/v1/instances", {"name": "a"}, idempotency_key=key)
            again = await web.post("/v1/instances", {"name": "a"}, idempotency_key=key)
            assert first.status_code == again.status_code == 202
            assert first.json() == again.json()
            assert first.headers["location"] == again.headers["location"]
        assert len((await web.get("/v1/operations")).json()) == 2
        # Quoted or bare, it is the same key.
        again = await web.post("/v1/instances", {"name": "a"}, idempotency_key=uuid(78))
        assert again.json() == first.json()


async def test_without_a_key_the_same_request_happens_again() -> None:
    async with site() as web:
        await web.post("/v1/instances", {"name": "a"})
        await web.post("/v1/instances", {"name": "a"})
        assert len((await web.get("/v1/operations")).json()) == 2


async def test_a_key_of_another_request_is_id_reused() -> None:
    async with site() as web:
        instance = await web.create()
        path = f"/v1/instances/{instance}"
        key = {"idempotency_key": uuid(77)}
        first = await web.patch(path, {"state": "running"}, **key)
        for answer in (
            await web.patch(path, {"state": "stopped"}, **key),
            await web.patch(path, {"state": "running", "why": "because"}, **key),
            await web.delete(path, **key),
            await web.post("/v1/instances", {"state": "running"}, **key),
            await web.patch(f"/v1/instances/{uuid(99)}", {"state": "running"}, **key),
            await web.client.request(
                "DELETE", path, json={"state": "running"}, headers={"idempotency-key": uuid(77)}
            ),
        ):
            assert (answer.status_code, answer.json()["code"]) == (422, "id_reused")
        again = await web.patch(path, {"state": "running"}, **key)
        assert again.json() == first.json()


async def test_the_order_of_members_does_not_make_another_request() -> None:
    async with site() as web:
        first, again = [
            await web.client.post(
                "/v1/instances",
                content=body,
                headers={"content-type": "application/json", "idempotency-key": uuid(77)},
            )
            for body in (
                b'{"name":"a","spec":{"b":1,"c":2}}',
                b' {"spec":{"c":2,"b":1},"name":"a"}',
            )
        ]
        assert first.json() == again.json()


async def test_keys_of_different_tokens_are_different_keys_and_need_be_no_uuids() -> None:
    async with site() as web:
        mine = await web.post("/v1/instances", cloudchat_token=ALEXANDRA, idempotency_key='"k-1"')
        theirs = await web.post("/v1/instances", cloudchat_token=BORIS, idempotency_key="k-1")
        assert mine.status_code == theirs.status_code == 202
        assert mine.json()["operation"]["id"] != theirs.json()["operation"]["id"]


async def test_a_key_is_the_commands_id_also_over_other_ways_in() -> None:
    async with site() as web:
        await web.command("join", ALEXANDRA, nickname="Alexandra", id="c1")
        answer = await web.post("/v1/instances", cloudchat_token=ALEXANDRA, idempotency_key="c1")
        assert (answer.status_code, answer.json()["code"]) == (422, "id_reused")


@pytest.mark.parametrize(
    "key", ["k-1", "", '""', '"', "a b", "x" * 65, '"a"b"', f'"{uuid(1)}', f"{uuid(1)}0"]
)
async def test_without_a_token_a_key_is_a_uuid(key: str) -> None:
    async with site() as web:
        for answer in (
            await web.post("/v1/instances", idempotency_key=key),
            await web.patch(f"/v1/instances/{uuid(1)}", {"state": "running"}, idempotency_key=key),
            await web.delete(f"/v1/instances/{uuid(1)}", idempotency_key=key),
        ):
            assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
        assert len(web.node.state.operations) == 0


async def test_a_key_is_remembered_for_a_day() -> None:
    async with site() as web:
        first = (await web.post("/v1/instances", idempotency_key=uuid(77))).json()
        web.clock.advance(20 * 3600)
        again = (await web.post("/v1/instances", idempotency_key=uuid(77))).json()
        assert again["operation"] == first["operation"]


# -- health


async def test_a_server_whose_log_is_full_is_alive_but_not_ready_and_reads_go_on() -> None:
    async with site() as web:
        instance = await web.create()
        assert (await web.get("/readyz")).json() == {"status": "ok"}
        web.log.full = True
        refused = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        ready = await web.get("/readyz")
        assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
        assert "secret" not in ready.text
        assert (await web.get("/healthz")).json() == {"status": "ok"}
        assert (await web.get("/v1/instances")).json()[0]["id"] == instance
        assert "cloudchat_ready 0\n" in (await web.get("/metrics")).text
        web.log.full = False
        assert (
            await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        ).status_code == 202
        assert (await web.get("/readyz")).status_code == 200


async def test_metrics_count_what_there_is_and_what_was_done() -> None:
    async with site() as web:
        instance = await web.create()
        begun = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        await web.finish(begun.json()["operation"]["id"])
        await web.command("join", ALEXANDRA, nickname="Alexandra")
        await web.command("join", BORIS, nickname="Alexandra")
        await web.post("/v1/instances")
        told = await web.get("/metrics")
        assert told.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        lines = told.text.splitlines()
        assert {
            "cloudchat_ready 1",
            f"cloudchat_log_offset {web.node.state.offset}",
            "cloudchat_participants 1",
            'cloudchat_instances{state="running"} 1',
            'cloudchat_instances{state="stopped"} 0',
            "cloudchat_operations 1",
            'cloudchat_http_commands_total{command="create",outcome="ack"} 2',
            'cloudchat_http_commands_total{command="join",outcome="ack"} 1',
            'cloudchat_http_commands_total{command="join",outcome="nickname_taken"} 1',
            'cloudchat_http_requests_total{method="POST",status="202"} 2',
        } <= set(lines)
        assert told.text.endswith("\n")


async def test_mounted_below_a_path_everything_is_found_and_links_stay_below_it() -> None:
    async with site(root_path="/ops/chat", base="http://localhost:8000/ops/chat") as web:
        instance = await web.create()
        begun = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        assert begun.headers["location"].startswith("/ops/chat/v1/operations/")
        assert begun.json()["operation"]["url"] == begun.headers["location"]
        # Some servers hand on the path without the root.
        for path, status in (
            ("/v1/instances", 200),
            ("/ops/chat/v1/instances", 200),
            ("/ops/chat", 200),
            ("/ops/chatter", 404),
            ("/ops/chat/ops/chat/v1/instances", 404),
        ):
            assert (await ask(web.app, path=path, root_path="/ops/chat")).status == status
        key = {"idempotency_key": uuid(7)}
        mounted = (await web.post("/v1/instances", **key)).json()
        headers = [(b"host", b"localhost"), (b"idempotency-key", uuid(7).encode())]
        bare = await ask(web.app, "POST", "/v1/instances", headers)
        assert mounted["operation"]["id"].encode() in bare.body


async def test_a_server_that_has_not_opened_its_log_is_not_ready() -> None:
    async with site() as web:
        node = Node(
            web.log,
            SimulatedProvider(ManualTimer(web.clock)),
            clock=web.clock,
            timer=ManualTimer(web.clock),
            new_id=str,
            new_epoch=str,
        )
        app = HttpApp(node, Access())
        assert (await ask(app, path="/healthz")).status == 200
        answer = await ask(app, path="/readyz")
        assert (answer.status, answer.code) == (503, "unavailable")
        answer = await ask(app, "POST", "/v1/instances")
        assert (answer.status, answer.code) == (503, "unavailable")


async def test_a_list_is_right_after_every_change_of_anything_in_it() -> None:
    async with site() as web:

        async def listed(name: str) -> Any:
            return (await web.get(f"/v1/{name}")).json()

        instance = await web.create()
        assert (await listed("instances"))[0].get("operation") is None
        assert [one["done"] for one in await listed("operations")] == [True]
        begun = await web.patch(f"/v1/instances/{instance}", {"state": "running"})
        under_way = begun.json()["operation"]["id"]
        assert (await listed("instances"))[0]["operation"]["id"] == under_way
        assert (await listed("operations"))[0]["done"] is False
        await web.finish(under_way)
        assert (await listed("instances"))[0]["state"] == "running"
        assert (await listed("operations"))[0]["done"] is True
        for nickname in ("Alexandra", "Alex"):
            await web.command("join", ALEXANDRA, nickname=nickname)
            assert [one["nickname"] for one in await listed("participants")] == [nickname]
        await web.command("leave", ALEXANDRA)
        assert await listed("participants") == []
