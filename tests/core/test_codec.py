"""Whatever comes from outside becomes a command or a refusal; whatever the log has is read as it was written."""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudchat_core.codec import (
    DEEPEST,
    command_from,
    content_hash,
    decode_command,
    decode_json,
    encode,
    encode_event,
    load,
    store,
    token_hash,
)
from cloudchat_core.commands import ClientCommand, Create, Join, Say
from cloudchat_core.errors import Code, LocalProtocolError, RefusedError
from cloudchat_core.events import Record
from cloudchat_core.testing import commands, hostile_frames, json_values, records, tokens


def judge(
    read: Callable[[bytes | str], ClientCommand], data: bytes | str
) -> ClientCommand | RefusedError:
    try:
        return read(data)
    except RefusedError as error:
        return error


def refused(data: bytes | str) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        decode_command(data)
    return caught.value


@given(commands())
def test_a_command_is_read_as_it_was_written(command: ClientCommand) -> None:
    data = encode(command)
    assert decode_command(data) == decode_command(data.decode()) == command
    assert command_from(decode_json(data)) == command


@given(hostile_frames())
@example("[" * 100_000)
@example('{"type":"create","id":"a","spec":{"a":' + "[" * 980 + "]" * 980 + "}}")
@example(b'{"type":"say","id":"a","text":"\xed\xa0\x80"}')
def test_hostile_input_is_refused_or_a_command_that_can_be_written(data: bytes | str) -> None:
    judged = judge(decode_command, data)
    if isinstance(judged, RefusedError):
        assert judged.code in {Code.BAD_JSON, Code.BAD_FRAME, Code.BAD_COMMAND, Code.UNKNOWN_TYPE}
        assert encode(judged.detail)
    else:
        assert decode_command(encode(judged)) == judged
        assert content_hash(judged)


@given(hostile_frames())
@example(b'{"type":"say","id":"a","text":"x","type":"leave"}')
def test_a_frame_and_an_item_of_a_list_are_judged_alike(data: bytes | str) -> None:
    one = judge(decode_command, data)
    other = judge(lambda item: command_from(decode_json(item)), data)
    if isinstance(one, RefusedError):
        assert isinstance(other, RefusedError)
        assert (one.code, one.command_id) == (other.code, other.command_id)
    else:
        assert one == other


@given(json_values())
def test_no_value_but_a_command_is_taken_for_one(value: object) -> None:
    with pytest.raises(RefusedError):
        command_from(value)


@pytest.mark.parametrize(
    ("data", "code", "command_id"),
    [
        ("", Code.BAD_JSON, None),
        ("{", Code.BAD_JSON, None),
        ('{"type":"ping","id":"a","x":NaN}', Code.BAD_JSON, None),
        ('{"type":"ping","id":"a","x":"\\ud800"}', Code.BAD_JSON, None),
        ('{"type":"say","id":"a","text":"\ud800"}', Code.BAD_JSON, None),
        (b'{"type":"say","id":"a","text":"\xff"}', Code.BAD_JSON, None),
        ("[]", Code.BAD_FRAME, None),
        ("1", Code.BAD_FRAME, None),
        ("{}", Code.BAD_COMMAND, None),
        ('{"type":"ping"}', Code.BAD_COMMAND, None),
        ('{"type":"ping","id":1}', Code.BAD_COMMAND, None),
        ('{"type":"ping","id":""}', Code.BAD_COMMAND, None),
        ('{"type":"ping","id":"%s"}' % ("a" * 65), Code.BAD_COMMAND, None),
        ('{"type":"ping","id":"a b"}', Code.BAD_COMMAND, None),
        ('{"type":"ping","id":"a\\n"}', Code.BAD_COMMAND, None),
        ('{"id":"a"}', Code.BAD_COMMAND, "a"),
        ('{"type":1,"id":"a"}', Code.BAD_COMMAND, "a"),
        ('{"type":"say","id":"a"}', Code.BAD_COMMAND, "a"),
        ('{"type":"say","id":"a","text":1}', Code.BAD_COMMAND, "a"),
        ('{"type":"create","id":"a","spec":[]}', Code.BAD_COMMAND, "a"),
        ('{"type":"auth","id":"a"}', Code.UNKNOWN_TYPE, "a"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_with_which_command(
    data: bytes | str, code: Code, command_id: str | None
) -> None:
    error = refused(data)
    assert (error.code, error.command_id) == (code, command_id)


def test_unknown_fields_are_ignored() -> None:
    assert decode_command('{"type":"say","id":"a","text":"hi","x":{}}') == Say("a", "hi")


@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_may_be_nested_so_deep_and_no_deeper(opening: str) -> None:
    closing = {"[": "]"}.get(opening, "}")

    def nested(depth: int) -> str:
        return opening * depth + "1" + closing * depth

    assert decode_json(nested(DEEPEST)) == json.loads(nested(DEEPEST))
    for data in (nested(DEEPEST + 1), nested(DEEPEST + 1).encode(), nested(100_000)):
        with pytest.raises(RefusedError) as caught:
            decode_json(data)
        assert caught.value.code == Code.BAD_JSON


def test_wide_json_is_not_deep() -> None:
    assert decode_json("[" + "[]," * 200 + "[]]") == [[]] * 201


@given(tokens())
def test_a_token_is_known_by_its_hash_alone(token: str) -> None:
    hashed = token_hash(token)
    assert hashed is not None
    assert len(hashed) == 64
    assert token not in hashed
    assert (
        hashed == token_hash(token) != token_hash(token[:-1] + ("a" if token[-1] != "a" else "b"))
    )


@pytest.mark.parametrize(
    "token", ["", "a" * 21, "a" * 129, "a" * 21 + "!", "a" * 22 + "\n", "ä" * 22]
)
def test_what_is_no_token_has_no_hash(token: str) -> None:
    assert token_hash(token) is None


def test_content_is_what_is_asked_for_not_who_asks_or_under_which_id() -> None:
    first = content_hash(Join("a", "Alexandra", "t" * 22, "feed"))
    assert first == content_hash(Join("b", "Alexandra", "u" * 22))
    assert first != content_hash(Join("a", "alexandra", "t" * 22))
    assert content_hash(Create("a", spec={"x": 1, "y": 2})) == content_hash(
        Create("b", spec={"y": 2, "x": 1})
    )
    assert content_hash(Say("a", "x")) not in map(
        content_hash, [Say("a", "x", "Eve"), Say("a", "x ")]
    )


@given(records())
def test_a_record_is_read_as_it_was_stored(record: Record) -> None:
    stored = store(record)
    assert load(stored) == record
    assert stored.kind == json.loads(stored.body)["type"]
    assert encode_event(record) == (stored.body if stored.topic else b"")


@given(records(), st.data())
def test_a_damaged_record_names_itself(record: Record, data: st.DataObject) -> None:
    stored = store(record)
    cut = data.draw(st.integers(0, len(stored.body) - 1))
    damaged = type(stored)(
        stored.offset, stored.at, stored.kind, stored.topic, stored.body[:cut], stored.private
    )
    with pytest.raises(LocalProtocolError, match=str(record.offset)):
        load(damaged)


@given(records(), st.integers(-10_000, 10_000).filter(bool))
def test_a_record_whose_row_says_another_time_is_damaged(record: Record, by: int) -> None:
    stored = store(record)
    moved = type(stored)(
        stored.offset, stored.at + by, stored.kind, stored.topic, stored.body, stored.private
    )
    with pytest.raises(LocalProtocolError, match=str(record.offset)):
        load(moved)
