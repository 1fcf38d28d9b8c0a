"""The resources and commands by HTTP: sections 6, 7, 9 and 13 of docs/protocol.md, with httpx and curl."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.protocol.server import Server, is_event, new_name, new_token

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from tests.protocol.server import Frame

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ABSENT = "00000000-0000-4000-8000-000000000000"
ARGUMENTS = (
    *("--limit", "requests_per_second=0", "--limit", "commands_per_second=0"),
    *("--limit", "instances=40"),
)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that a response is a problem with all that RFC 9457 and the protocol want, and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["code"], body["status"]) == (code, status)
    assert isinstance(body["detail"], str)
    assert {"type", "title"} <= body.keys()
    if status in {429, 503}:
        assert int(response.headers["retry-after"]) >= 1
    return body


def ended(outcome: str, operation: str) -> Callable[[Frame], bool]:
    """Tell the event that ends an operation so."""
    return lambda f: f["type"] == outcome and f["operation"]["id"] == operation


def make(server: Server, **body: object) -> str:
    """Create an instance, wait for it, and return its id."""
    with server.feed("?topics=instances") as feed:
        begun = server.http.post("/v1/instances", json=body)
        assert begun.status_code == 202
        operation = begun.json()["operation"]["id"]
        feed.find(ended("created", operation))
        instance: str = begun.json()["instance"]["id"]
        return instance


def test_curl_alone_makes_and_runs_an_instance(server: Server) -> None:
    with server.feed("?topics=instances") as feed:
        kind = ("-H", "Content-Type: application/json")
        status, headers, body = server.curl("/v1/instances", *kind, "-d", '{"name":"web-1"}')
        begun = json.loads(body)
        operation, instance = begun["operation"], begun["instance"]
        assert (status, begun["status"]) == (202, "ok")
        assert UUID.fullmatch(instance["id"])
        assert operation["url"] == headers["location"] == f"/v1/operations/{operation['id']}"
        feed.find(lambda f: f["type"] == "created" and f["instance"]["id"] == instance["id"])
        status, _, body = server.curl(headers["location"])
        done = json.loads(body)
        assert status == 200
        assert set(done) == {
            *("id", "command", "instance", "by", "done", "outcome"),
            *("received_at", "expected", "done_at"),
        }
        assert (done["instance"], done["by"]) == (instance["id"], None)
        assert (done["done"], done["outcome"], done["command"]) == (True, "created", "create")
        path = f"/v1/instances/{instance['id']}"
        status, _, body = server.curl(path)
        assert status == 200
        assert list(json.loads(body))[:2] == ["id", "state"]
        assert json.loads(body)["state"] == "stopped"
        for wish, outcome in (("running", "started"), ("stopped", "stopped")):
            status, _, body = server.curl(
                path, *kind, "-X", "PATCH", "-d", json.dumps({"state": wish})
            )
            assert (status, json.loads(body)["status"]) == (202, "ok")
            begun = json.loads(body)["operation"]["id"]
            feed.find(ended(outcome, begun))
            assert json.loads(server.curl(path)[2])["state"] == wish
        status, _, body = server.curl(path, "-X", "DELETE")
        assert (status, json.loads(body)["status"]) == (202, "ok")
        feed.find(lambda f: f["type"] == "removed" and f["instance"]["id"] == instance["id"])
        status, headers, body = server.curl(path)
        assert (status, json.loads(body)["code"]) == (404, "instance_unknown")
        assert headers["content-type"] == "application/problem+json"


def test_orders_that_cannot_be_are_problems(server: Server) -> None:
    http, path = server.http, f"/v1/instances/{ABSENT}"
    instance = f"/v1/instances/{make(server)}"
    problem(http.get(path), 404, "instance_unknown")
    problem(http.patch(path, json={"state": "running"}), 404, "instance_unknown")
    problem(http.delete(path), 404, "instance_unknown")
    problem(http.patch(instance, json={"state": "stopped"}), 409, "instance_state")
    problem(http.patch(instance, json={"state": "paused"}), 400, "bad_command")
    problem(http.patch(instance, json={}), 400, "bad_command")
    problem(http.post("/v1/instances", json={"name": 5}), 400, "bad_command")
    problem(http.post("/v1/instances", json={"name": "x" * 65}), 400, "bad_command")
    text = {"Content-Type": "application/json"}
    problem(http.post("/v1/instances", content="{", headers=text), 400, "bad_json")
    problem(http.patch(instance, content="", headers=text), 400, "bad_json")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_body_that_is_not_json_is_415(server: Server, content_type: str) -> None:
    """What a form of another page could send without asking first is never taken."""
    headers = {"Content-Type": content_type} if content_type else {}
    for path in ("/v1/instances", "/v1/commands"):
        response = server.http.post(path, content='{"name":"x"}', headers=headers)
        problem(response, 415, "unsupported_media_type")


def test_what_is_not_there_and_what_cannot_be_done_with_it(server: Server) -> None:
    http = server.http
    for path in ("/v1/nothing", "/v2/instances", "/v1/instances/", "/v1/login", "/v1/status"):
        problem(http.get(path), 404, "not_found")
    problem(http.get("/v1/operations/none"), 404, "not_found")
    for path in ("/v1/instances", "/v1/messages", "/v1/participants", "/v1/worklog"):
        problem(http.get(path, params={"workspace": "elsewhere"}), 404, "not_found")
        assert http.get(path, params={"workspace": "main"}).status_code == 200
        refused = http.put(path, json={})
        problem(refused, 405, "method_not_allowed")
        assert "GET" in refused.headers["allow"]
        assert http.head(path).status_code == 200
        assert http.head(path).content == b""
        assert "GET" in http.options(path).headers["allow"]
    for path in ("/healthz", "/readyz"):
        assert http.get(path).status_code == 200
    assert "# TYPE" in http.get("/metrics").text
    assert http.get("/").headers["content-type"].startswith("text/html")


def test_collections_say_what_the_feed_says(server: Server) -> None:
    with server.feed() as feed:
        name = new_name()
        joined = feed.join(name, new_token())
        said = feed.done("say", text="for the record")
        created = feed.done("create", name="listed")
        event = feed.until(is_event("created", operation=created["operation"]))
        since = feed.event(joined["cursor"])["at"]
        participants = server.http.get("/v1/participants").json()
        assert {"nickname": name, "since": since} in participants
        messages = server.http.get("/v1/messages").json()
        assert set(messages) == {"items", "next"}
        assert messages["items"][0] == feed.event(said["cursor"])
        worklog = server.http.get("/v1/worklog", params={"limit": 2}).json()
        assert worklog["items"] == [event, feed.event(created["cursor"])]
        assert event["instance"] in server.http.get("/v1/instances").json()
        operations = server.http.get("/v1/operations").json()
        assert operations[0]["id"] == created["operation"]["id"]
        times = [operation["received_at"] for operation in operations]
        assert times == sorted(times, reverse=True)
        with server.feed() as later:
            snapshot = later.ready()
            assert snapshot["participants"] == server.http.get("/v1/participants").json()
            assert snapshot["instances"] == server.http.get("/v1/instances").json()


def test_the_etag_of_a_collection_is_its_cursor(server: Server) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        head = feed.done("ping")["cursor"]
        for path in ("/v1/instances", "/v1/participants", "/v1/messages"):
            tag = server.http.get(path).headers["etag"]
            assert tag == f'"{head}"'
            again = server.http.get(path, headers={"If-None-Match": tag})
            assert (again.status_code, again.content) == (304, b"")
        feed.done("say", text="something new")
        assert server.http.get("/v1/messages", headers={"If-None-Match": tag}).status_code == 200


def test_pages_follow_each_other_without_gap_or_overlap(server: Server) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        ids = [feed.send("say", text=f"page {number}") for number in range(70)]
        last = [feed.answer(command)["cursor"] for command in ids][-1]
        feed.event(last)
    get = server.http.get
    assert len(get("/v1/messages").json()["items"]) == 50
    found: list[str] = []
    before: str | None = ""
    while before is not None and len(found) < 70:
        page = get("/v1/messages", params={"limit": 7, "before": before}).json()
        assert len(page["items"]) == 7
        found += [item["ref"] for item in page["items"]]
        before = page["next"]
    assert found == ids[::-1]
    page = get("/v1/messages", params={"limit": 1}).json()
    assert page["next"] == page["items"][-1]["cursor"]
    for limit, count in (("0", 1), ("-5", 1), ("1", 1), ("9" * 1000, 70), ("200", 70), ("", 50)):
        assert len(get("/v1/messages", params={"limit": limit}).json()["items"]) >= count
    for limit in ("x", "1.5", "0x10", "١", "1e3", "nan"):
        problem(get("/v1/messages", params={"limit": limit}), 400, "bad_request")
    for wrong in ("nonsense", "x-1", f"{last}9", "x-9223372036854775808", last.upper() + "A"):
        problem(get("/v1/messages", params={"before": wrong}), 410, "gone")


def test_commands_by_post_are_answered_in_the_200(server: Server) -> None:
    token, name = new_token(), new_name()
    header = {"cloudchat_token": token}
    one = server.post({"type": "join", "id": "1", "nickname": name}, **header)
    assert one.status_code == 200
    assert one.json()["type"] == "ack"
    assert (one.json()["nickname"], one.json()["resumed"]) == (name, False)
    many = server.post(
        [
            {"type": "say", "id": "2", "text": "first"},
            {"type": "dance", "id": "3"},
            "nonsense",
            {"type": "say", "id": "2", "text": "other"},
            {"type": "say", "id": "2", "text": "first"},
            {"type": "ping", "id": "4"},
            {"type": "leave", "id": "5"},
            {"type": "say", "id": "6", "text": "too late"},
        ],
        **header,
    )
    answers = many.json()
    assert [answer["id"] for answer in answers] == ["2", "3", None, "2", "2", "4", "5", "6"]
    assert [answer.get("code", "ack") for answer in answers] == [
        *("ack", "unknown_type", "bad_frame", "id_reused"),
        *("ack", "ack", "ack", "not_joined"),
    ]
    assert answers[0] == answers[4]
    assert server.post([]).json() == []
    messages = server.http.get("/v1/messages").json()["items"]
    assert [m["text"] for m in messages if m["nickname"] == name] == ["first"]


def test_a_join_may_stand_before_the_commands_that_need_it(server: Server) -> None:
    token, name = new_token(), new_name()
    answers = server.post(
        [
            {"type": "join", "id": "1", "nickname": name, "token": token},
            {"type": "say", "id": "2", "text": "hello"},
            {"type": "leave", "id": "3"},
        ]
    ).json()
    assert [answer["type"] for answer in answers] == ["ack"] * 3


def test_the_token_in_the_header_stands_for_the_field(server: Server) -> None:
    token, other = new_token(), new_token()
    join = {"type": "join", "id": "1", "nickname": new_name()}
    assert server.post({**join, "token": other}, cloudchat_token=token).json()["code"] == (
        "bad_command"
    )
    assert server.post({**join, "token": token}, cloudchat_token=token).json()["type"] == "ack"
    assert server.post(join).json()["code"] == "bad_command"
    assert server.post({"type": "leave", "id": "2"}).json()["code"] == "not_joined"
    assert server.post({"type": "leave", "id": "2"}, cloudchat_token=token).json()["type"] == "ack"
    for wrong in ("short", "x" * 129, "x" * 22 + "=", f"{token},{other}"):
        response = server.post(join, cloudchat_token=wrong)
        problem(response, 401, "token_invalid")
        assert token not in response.text
    response = server.http.post("/v1/commands", json=join, headers={"Cookie": f"token={token}"})
    assert response.json()["code"] == "bad_command", "no cookie names a participation"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        ("{", 400, "bad_json"),
        ("", 400, "bad_json"),
        ('{"type":"say","id":"1","text":"\\ud800"}', 400, "bad_json"),
        ("[" * 100_000, 400, "bad_json"),
        ('"ping"', 400, "bad_request"),
        ("5", 400, "bad_request"),
        ("null", 400, "bad_request"),
        (json.dumps([{"type": "ping", "id": "1"}] * 101), 413, "too_large"),
        (json.dumps({"x": "x" * 1_048_576}), 413, "too_large"),
    ],
    ids=str,
)
def test_a_post_that_is_refused_as_a_whole_is_a_problem(
    server: Server, content: str, status: int, code: str
) -> None:
    headers = {"Content-Type": "application/json"}
    problem(server.http.post("/v1/commands", content=content, headers=headers), status, code)


def test_a_hundred_commands_are_taken_at_once(server: Server) -> None:
    answers = server.post([{"type": "ping", "id": f"{n}"} for n in range(100)]).json()
    assert [answer["type"] for answer in answers] == ["ack"] * 100


def test_an_idempotency_key_makes_an_order_happen_once(server: Server) -> None:
    http, key = server.http, str(uuid.uuid4())
    first = http.post("/v1/instances", json={"name": "once"}, headers={"Idempotency-Key": key})
    quoted = {"Idempotency-Key": f'"{key}"', "Content-Type": "application/json"}
    again = http.post("/v1/instances", content=b'{ "name" : "once" }', headers=quoted)
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    names = [item["instance"].get("name") for item in http.get("/v1/worklog").json()["items"]]
    assert names.count("once") <= 2, "received and created of one instance"
    problem(http.post("/v1/instances", json={"name": "x"}, headers=quoted), 422, "id_reused")
    path = f"/v1/instances/{first.json()['instance']['id']}"
    problem(http.delete(path, headers={"Idempotency-Key": key}), 422, "id_reused")
    for wrong in ("not a uuid", "x" * 65, "", '"'):
        response = http.post("/v1/instances", headers={"Idempotency-Key": wrong})
        problem(response, 400, "bad_request")
    token = {"Cloudchat-Token": new_token(), "Idempotency-Key": "mine-1"}
    own = http.post("/v1/instances", headers=token)
    assert own.status_code == 202, "with a token a key is any id"
    assert http.post("/v1/instances", headers=token).json() == own.json()


def test_more_than_there_may_be_is_quota_exceeded(server: Server) -> None:
    with server.feed() as feed:
        while (answer := feed.ask("create"))["type"] == "ack":
            pass
        assert answer["code"] == "quota_exceeded"
    problem(server.http.post("/v1/instances"), 429, "quota_exceeded")
    assert len(server.http.get("/v1/operations").json()) <= 40 + 1_000


def test_a_list_may_be_as_large_as_a_hundred_full_texts(server: Server) -> None:
    token, name = new_token(), new_name("bot")
    texts = [f"{number:02} ".ljust(4096, "[") for number in range(100)]
    commands = [
        {"type": "say", "id": f"{number}", "nickname": name, "text": text}
        for number, text in enumerate(texts)
    ]
    answers = server.post(commands, cloudchat_token=token).json()
    assert [answer["type"] for answer in answers] == ["ack"] * 100
    items = server.http.get("/v1/messages", params={"limit": 100}).json()["items"]
    assert [item["text"] for item in reversed(items)] == texts
