"""Every command's answer and every error: sections 6 to 9 and 12 of docs/protocol.md, over WebSocket."""

from __future__ import annotations

import uuid
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed

from tests.protocol.server import Server, is_event, new_name, new_token

ABSENT = "00000000-0000-4000-8000-000000000000"


def test_join_says_how_the_nickname_is_written_and_whether_it_was_known(server: Server) -> None:
    name, token = new_name("Ａlex"), new_token()  # a full-width letter
    with server.feed() as feed:
        ack = feed.join(f"  {name} ", token)
        assert set(ack) == {"type", "id", "cursor", "nickname", "resumed"}
        assert ack["nickname"] == name.replace("Ａ", "A")
        assert ack["resumed"] is False
        again = feed.join(name, token)
        assert again["resumed"] is True
        assert again["nickname"] == ack["nickname"]
        events = [
            e for e in feed.events if e["type"] == "joined" and e["nickname"] in again.values()
        ]
        assert len(events) == 1, "who is in already does not enter again"


def test_a_token_that_takes_another_nickname_gives_up_the_old_one(server: Server) -> None:
    first, second = new_name(), new_name()
    with server.feed() as feed:
        token = new_token()
        feed.join(first, token)
        assert feed.join(second, token)["resumed"] is True
        feed.until(is_event("joined", nickname=second))
        kinds = [(e["type"], e["nickname"], e.get("reason")) for e in feed.events[-3:]]
        assert kinds == [
            ("joined", first, None),
            ("left", first, "left"),
            ("joined", second, None),
        ]


def test_acks_carry_the_cursor_of_the_last_event_and_ping_that_of_the_head(server: Server) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        said = feed.done("say", text="hello")
        assert set(said) == {"type", "id", "cursor"}
        assert feed.event(said["cursor"])["text"] == "hello"
        assert feed.done("ping")["cursor"] == said["cursor"]
        created = feed.done("create", name="web", spec={"size": [1, {"deep": None}]})
        assert set(created) == {"type", "id", "cursor", "operation", "instance"}
        assert feed.event(created["cursor"])["operation"] == created["operation"]
        assert set(feed.done("redact", message=said["cursor"])) == {"type", "id", "cursor"}
        assert set(feed.done("leave")) == {"type", "id", "cursor"}


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("nonsense", "bad_json"),
        ("", "bad_json"),
        ('{"type":"ping","id":"1"} {}', "bad_json"),
        ('{"type":"say","id":"1","text":NaN}', "bad_json"),
        ('{"type":"say","id":"1","text":"\\ud800"}', "bad_json"),
        ('{"type":"say","id":"1","other":"\\udfff"}', "bad_json"),
        ('{"type":"ping","id":"1","n":1e999}', "bad_json"),
        ('{"type":"ping","id":"1","deep":' + "[" * 30_000 + "]" * 30_000 + "}", "bad_json"),
        ("[]", "bad_frame"),
        ("null", "bad_frame"),
        ('"ping"', "bad_frame"),
        ("{}", "bad_command"),
        ('{"type":"ping"}', "bad_command"),
        ('{"type":"ping","id":1}', "bad_command"),
        ('{"type":"ping","id":""}', "bad_command"),
        ('{"type":"ping","id":"a b"}', "bad_command"),
        ('{"type":"ping","id":"é"}', "bad_command"),
        ('{"type":"ping","id":"1\\n"}', "bad_command"),
        ('{"type":"ping","id":"' + "x" * 65 + '"}', "bad_command"),
    ],
)
def test_a_frame_whose_id_cannot_be_read_is_answered_with_id_null(
    server: Server, frame: str, code: str
) -> None:
    with server.feed() as feed:
        error = feed.say_raw(frame)
        assert set(error) == {"type", "id", "code", "detail"}
        assert (error["type"], error["code"]) == ("error", code)
        assert feed.done("ping")["type"] == "ack", "it cost an error, not the connection"


@pytest.mark.parametrize(
    ("kind", "fields", "code"),
    [
        ("dance", {}, "unknown_type"),
        ("auth", {}, "unknown_type"),
        ("say", {}, "bad_command"),
        ("say", {"text": 1}, "bad_command"),
        ("say", {"text": "hi", "nickname": 1}, "bad_command"),
        ("redact", {}, "bad_command"),
        ("create", {"name": 1}, "bad_command"),
        ("create", {"spec": [1]}, "bad_command"),
        ("create", {"name": ""}, "bad_command"),
        ("create", {"name": "x" * 65}, "bad_command"),
        ("create", {"name": "a\x07b"}, "bad_command"),
        ("start", {}, "bad_command"),
        ("join", {"nickname": "A"}, "bad_command"),
        ("join", {"token": "x" * 22}, "bad_command"),
        ("join", {"nickname": "A", "token": 5}, "bad_command"),
        ("join", {"nickname": "A", "token": "x" * 21}, "token_invalid"),
        ("join", {"nickname": "A", "token": "x" * 129}, "token_invalid"),
        ("join", {"nickname": "A", "token": "x" * 22 + "+"}, "token_invalid"),
        ("join", {"nickname": "A", "token": "x" * 22 + "\n"}, "token_invalid"),
        ("join", {"nickname": "A", "token": "١" * 22}, "token_invalid"),
        ("say", {"text": "hi"}, "not_joined"),
        ("say", {"text": "hi", "nickname": "Ghost"}, "not_joined"),
        ("leave", {}, "not_joined"),
        ("redact", {"message": "a-1"}, "not_joined"),
        ("start", {"instance": ABSENT}, "instance_unknown"),
        ("stop", {"instance": ""}, "instance_unknown"),
        ("remove", {"instance": "x" * 60_000}, "instance_unknown"),
    ],
)
def test_a_command_that_is_wrong_is_refused_with_its_id(
    server: Server, kind: str, fields: dict[str, object], code: str
) -> None:
    with server.feed() as feed:
        assert feed.refused(kind, **fields) == code
        assert feed.done("ping")["type"] == "ack"


def test_unknown_fields_of_a_command_are_ignored(server: Server) -> None:
    with server.feed() as feed:
        assert feed.done("ping", since="yesterday", data={"a": [1]})["type"] == "ack"


@pytest.mark.parametrize(
    ("nickname", "code"),
    [
        ("", "nickname_invalid"),
        ("   ", "nickname_invalid"),
        ("x" * 33, "nickname_invalid"),
        ("x" * 60_000, "nickname_invalid"),
        ("ﷺ" * 30, "nickname_invalid"),
        ("漢" * 22, "nickname_invalid"),  # 66 bytes
        ("a\tb", "nickname_invalid"),
        ("a\x00b", "nickname_invalid"),
        ("a\u202eb", "nickname_invalid"),
        ("a\u200bb", "nickname_invalid"),
        ("a\u00adb", "nickname_invalid"),
        ("👩\u200d🚒", "nickname_invalid"),
        ("you", "nickname_reserved"),
        ("YOU", "nickname_reserved"),
        ("ВЫ", "nickname_reserved"),
        ("Ｓystem", "nickname_reserved"),
        (" admin ", "nickname_reserved"),
        ("server", "nickname_reserved"),
    ],
)
def test_a_nickname_that_cannot_be_is_refused_with_suggestions(
    server: Server, nickname: str, code: str
) -> None:
    with server.feed() as feed:
        token = new_token()
        error = feed.ask("join", nickname=nickname, token=token)
        assert (error["type"], error["code"]) == ("error", code)
        assert error["suggestions"]
        assert feed.join(error["suggestions"][0], token)["nickname"] == error["suggestions"][0]


def test_a_nickname_has_one_holder_whatever_its_case_and_width(server: Server) -> None:
    name = new_name("Alexandra")
    with server.feed() as holder, server.feed() as other:
        holder.join(name, new_token())
        for variant in (name, name.upper(), name.replace("A", "Ａ"), f" {name} "):
            error = other.ask("join", nickname=variant, token=new_token())
            assert error["code"] == "nickname_taken"
            assert name not in error["suggestions"]
        token = new_token()
        assert other.refused("join", nickname=name, token=token) == "nickname_taken"
        assert other.join(error["suggestions"][0], token)["resumed"] is False


def test_a_left_nickname_is_free_and_the_token_is_still_known(server: Server) -> None:
    name, token = new_name(), new_token()
    with server.feed() as feed, server.feed() as other:
        feed.join(name, token)
        feed.done("leave")
        assert feed.refused("say", text="anybody?") == "not_joined"
        assert other.join(name, new_token())["nickname"] == name
        assert feed.refused("join", nickname=name, token=token) == "nickname_taken"
        assert feed.join(new_name(), token)["resumed"] is True


@pytest.mark.parametrize(
    "text", ["", "  \n\t ", "x" * 4097, "a\x00b", "a\x1bb", "a\rb", "a\x7fb", "a\x85b"]
)
def test_a_text_that_cannot_be_is_refused(server: Server, text: str) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        assert feed.refused("say", text=text) == "text_invalid"


@pytest.mark.parametrize(
    "text", ["x", "😀" * 4096, '"\\\n\t' * 1023 + "<", "  " + "y" * 4096 + "\n"]
)
def test_a_text_that_can_be_is_told_trimmed(server: Server, text: str) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        said = feed.done("say", text=text)
        assert feed.event(said["cursor"])["text"] == text.strip()
        assert feed.largest <= feed.welcome["limits"]["frame"]


def test_a_second_join_with_another_token_is_already_joined(server: Server) -> None:
    with server.feed() as feed:
        feed.join(new_name(), new_token())
        assert feed.refused("join", nickname=new_name(), token=new_token()) == "already_joined"


def test_pipelined_commands_are_decided_in_order(server: Server) -> None:
    name, token = new_name(), new_token()
    with server.feed() as feed:
        ids = [
            feed.send("say", text="too early"),
            feed.send("join", nickname=name, token=token),
            feed.send("join", nickname=new_name(), token=new_token()),
            feed.send("say", text="in time"),
            feed.send("leave"),
            feed.send("say", text="too late"),
        ]
        answers = [feed.answer(command) for command in ids]
        assert [answer.get("code", "ack") for answer in answers] == [
            *("not_joined", "ack", "already_joined", "ack", "ack", "not_joined")
        ]


def test_a_pipelined_join_that_fails_leaves_the_connection_free_for_another_token(
    server: Server,
) -> None:
    with server.feed() as feed:
        feed.send("join", id="first", nickname="you", token=new_token())
        assert feed.answer("first")["code"] == "nickname_reserved"
        assert feed.join(new_name(), new_token())["resumed"] is False


def test_only_ones_own_message_can_be_redacted(server: Server) -> None:
    with server.feed() as author, server.feed() as other:
        author.join(new_name(), new_token())
        other.join(new_name(), new_token())
        said = author.done("say", text="mine")["cursor"]
        assert other.refused("redact", message=said) == "forbidden"
        for wrong in ("nonsense", "a-1", "x" * 60_000, author.welcome["cursor"]):
            assert author.refused("redact", message=wrong) == "message_unknown"
        assert author.done("redact", message=said)["type"] == "ack"


def test_an_accepted_command_sent_again_gets_the_same_answer_and_happens_no_second_time(
    server: Server,
) -> None:
    name, token = new_name(), new_token()
    with server.feed() as feed:
        join = feed.done("join", id="j", nickname=name, token=token)
        said = feed.done("say", id="s", text="once")
        created = feed.done("create", id="c", name="once")
        assert feed.done("join", id="j", nickname=name, token=token) == join
        assert feed.done("say", id="s", text="once", unknown="field") == said
        assert feed.done("create", id="c", name="once") == created
        feed.lose()
    with server.feed() as feed:
        feed.ready()
        feed.join(name, token)
        assert feed.done("say", id="s", text="once") == said
        assert feed.done("create", id="c", name="once") == created
        messages = server.http.get("/v1/messages").json()["items"]
        assert len([m for m in messages if m["nickname"] == name]) == 1
        posted = server.post({"type": "say", "id": "s", "text": "once"}, cloudchat_token=token)
        assert posted.json() == said, "on any transport"


def test_an_id_that_was_used_for_something_else_is_refused(server: Server) -> None:
    with server.feed() as feed:
        name, token = new_name(), new_token()
        feed.done("join", id="j", nickname=name, token=token)
        feed.done("say", id="s", text="this")
        assert feed.refused("say", id="s", text="that") == "id_reused"
        assert feed.refused("leave", id="s") == "id_reused"
        assert feed.refused("join", id="j", nickname=new_name(), token=token) == "id_reused"
    with server.feed() as other:
        other.join(new_name(), new_token())
        assert other.done("say", id="s", text="another token, another scope")["type"] == "ack"


def test_a_refused_command_is_decided_anew(server: Server) -> None:
    name = new_name()
    with server.feed() as feed, server.feed() as holder:
        holder.join(name, new_token())
        token = new_token()
        assert feed.refused("join", id="same", nickname=name, token=token) == "nickname_taken"
        holder.done("leave")
        assert feed.done("join", id="same", nickname=name, token=token)["nickname"] == name


def test_callers_without_a_token_create_by_uuid_exactly_once(server: Server) -> None:
    with server.feed() as one, server.feed() as other:
        command = str(uuid.uuid4())
        created = one.done("create", id=command)
        assert other.done("create", id=command) == created, "they share one scope"
        assert one.event(created["cursor"])["by"] is None


def test_the_newest_256_ids_of_a_token_are_remembered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    log = tmp_path_factory.mktemp("ids") / "log.sqlite"
    with Server(log, "--limit", "commands_per_second=0") as server, server.feed() as feed:
        feed.join(new_name(), new_token())
        acks = {}
        for start in range(0, 300, 100):
            ids = [feed.send("say", id=f"n{n}", text=f"{n}") for n in range(start, start + 100)]
            acks.update({command: feed.answer(command) for command in ids})
        for number in range(299, 299 - 256, -1):
            assert feed.done("say", id=f"n{number}", text=f"{number}") == acks[f"n{number}"]


def test_too_fast_is_rate_limited_and_a_flood_that_goes_on_is_closed_with_1008(
    server: Server,
) -> None:
    with server.feed() as feed, server.feed() as bystander:
        feed.join(new_name(), new_token())
        bystander.join(new_name(), new_token())
        ids = [feed.send("ping") for _ in range(260)]
        answers = [feed.answer(command) for command in ids]
        refused = [answer for answer in answers if answer["type"] == "error"]
        assert refused
        assert {answer["code"] for answer in refused} == {"rate_limited"}
        assert all(answer["retry_after"] > 0 for answer in refused)
        with suppress(ConnectionClosed):
            for _ in range(6000):
                feed.ws.send('{"type":"ping","id":"flood"}')
        assert feed.closed()[0] == 1008
        assert bystander.done("ping")["type"] == "ack"


def test_the_parameters_of_an_instance_have_a_size(server: Server) -> None:
    with server.feed() as feed:
        assert feed.done("create", spec={"x": "y" * 60_000})["type"] == "ack"
    large = {"spec": {"x": "y" * 65_536}}
    response = server.http.post("/v1/instances", json=large)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_ids_that_anybody_might_choose_are_not_shared_by_those_without_a_token(
    server: Server,
) -> None:
    with server.feed() as one, server.feed() as other:
        first = one.done("create", id="1")
        second = other.done("create", id="1")
        assert first["instance"]["id"] != second["instance"]["id"]
