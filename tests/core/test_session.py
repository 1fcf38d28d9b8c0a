"""Whatever a client sends, its session gives a submission or an answer, or ends; a feed begins as the protocol says."""

import json
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.codec import encode, token_hash
from cloudchat_core.commands import Caller, Join, Ping, Say
from cloudchat_core.cursor import Epoch
from cloudchat_core.errors import Code, RemoteProtocolError
from cloudchat_core.frames import Ack, Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.rates import Rates
from cloudchat_core.session import PROTOCOL, Beginning, Session, Submission, begin
from cloudchat_core.testing import commands, hostile_frames
from cloudchat_core.workspace import Workspace

TOKEN, OTHER = "t" * 22, "u" * 22
SCOPE, OTHER_SCOPE = token_hash(TOKEN) or "", token_hash(OTHER) or ""
LIMITS = Limits(unanswered=3, floods=5, commands_per_second=0)


def session(limits: Limits = LIMITS, scope: str = "", feed: str = "") -> Session:
    rates = Rates(limits.commands_per_second, limits.commands_burst, limits.rates_per_address)
    return Session(limits, rates, "127.0.0.1", scope=scope, feed=feed, identity="ops@example")


def send(one: Session, command: Join | Say | Ping, now: int = 0) -> Submission | Refusal:
    return one.receive(encode(command), now)


def submitted(one: Session, command: Join | Say | Ping) -> Submission:
    answer = send(one, command)
    assert isinstance(answer, Submission), answer
    return answer


def refused(one: Session, command: Join | Say | Ping) -> str:
    answer = send(one, command)
    assert isinstance(answer, Refusal), answer
    assert answer.id == command.id
    return answer.code


def test_a_join_gives_the_session_its_scope_and_hides_the_token() -> None:
    one = session(feed="feed-1")
    join = submitted(one, Join("a", "Eve", TOKEN))
    assert join == Submission(Join("a", "Eve", None, "feed-1"), Caller(SCOPE, "ops@example"))
    assert submitted(one, Say("b", "hi")).caller.scope == SCOPE == one.scope
    assert not one.joined
    one.answered(join, Ack("a", "k-1"))
    assert one.joined


def test_a_join_over_http_names_the_feed_it_is_for() -> None:
    one = session(scope=SCOPE)
    join = submitted(one, Join("a", "Eve", feed="feed-2")).command
    assert join == Join("a", "Eve", None, "feed-2")


def test_a_token_in_the_header_stands_for_the_field() -> None:
    assert submitted(session(scope=SCOPE), Join("a", "Eve")).caller.scope == SCOPE
    assert submitted(session(scope=SCOPE), Join("a", "Eve", TOKEN)).caller.scope == SCOPE
    assert refused(session(scope=SCOPE), Join("a", "Eve", OTHER)) == Code.BAD_COMMAND


@pytest.mark.parametrize(
    ("token", "code"),
    [(None, Code.BAD_COMMAND), ("short", Code.TOKEN_INVALID), ("", Code.TOKEN_INVALID)],
)
def test_a_join_without_a_good_token_is_refused(token: str | None, code: Code) -> None:
    one = session()
    assert refused(one, Join("a", "Eve", token)) == code
    assert one.scope == ""


def test_a_connection_speaks_for_one_token() -> None:
    one = session()
    join = submitted(one, Join("a", "Eve", TOKEN))
    assert refused(one, Join("b", "Eve", OTHER)) == Code.ALREADY_JOINED
    one.answered(join, Ack("a", "k-1"))
    assert refused(one, Join("c", "Eve", OTHER)) == Code.ALREADY_JOINED
    again = submitted(one, Join("d", "Mallory", TOKEN))
    one.answered(again, Refusal("d", Code.NICKNAME_TAKEN, ""))
    assert one.scope == SCOPE


def test_a_refused_join_leaves_the_session_free_for_another_token() -> None:
    one = session()
    first, second = (submitted(one, Join(name, "Eve", TOKEN)) for name in "ab")
    one.answered(first, Refusal("a", Code.NICKNAME_TAKEN, ""))
    assert one.scope == SCOPE
    one.answered(second, Refusal("b", Code.NICKNAME_TAKEN, ""))
    assert one.scope == ""
    assert submitted(one, Join("c", "Eve", OTHER)).caller.scope == OTHER_SCOPE


def test_no_more_than_the_limit_is_unanswered() -> None:
    one = session()
    out = deque(submitted(one, Ping(name)) for name in "abc")
    answer = send(one, Ping("d"))
    assert isinstance(answer, Refusal)
    assert (answer.code, answer.retry_after) == (Code.RATE_LIMITED, 1)
    assert one.unanswered == 3
    one.answered(out.popleft(), Ack("a", "k-1"))
    assert one.unanswered == 2
    submitted(one, Ping("d"))


def test_who_is_too_fast_is_told_when_to_come_back_and_ends_when_it_does_not_listen() -> None:
    one = session(Limits(commands_per_second=10, commands_burst=1, floods=5))
    submitted(one, Ping("a"))
    for data in (encode(Ping("b")), b"noise", b"{}", encode(Ping("c")), b""):
        answer = one.receive(data, 0)
        assert isinstance(answer, Refusal)
        assert (answer.code, answer.retry_after) == (Code.RATE_LIMITED, 0.1)
    with pytest.raises(RemoteProtocolError) as caught:
        one.receive(b"more", 0)
    assert caught.value.close_code == 1008


def test_a_flood_that_finds_room_now_and_then_ends_all_the_same() -> None:
    one = session(Limits(commands_per_second=10, commands_burst=1, floods=50, unanswered=10_000))
    ended = 0
    for number in range(1_000):
        try:
            send(one, Ping(f"c{number}"), now=number * 20)
        except RemoteProtocolError:
            ended += 1
    assert ended


def test_who_is_a_little_too_fast_for_ever_is_never_ended() -> None:
    one = session(Limits(commands_per_second=10, commands_burst=1, floods=5, unanswered=10_000))
    answers = [send(one, Ping(f"c{number}"), now=number * 90) for number in range(1_000)]
    assert sum(isinstance(answer, Refusal) for answer in answers) > 50


def test_a_value_is_taken_as_a_frame_is() -> None:
    one = session()
    assert isinstance(one.receive_value({"type": "ping", "id": "a"}, 0), Submission)
    answer = one.receive_value([], 0)
    assert isinstance(answer, Refusal)
    assert (answer.id, answer.code) == (None, Code.BAD_FRAME)


@given(
    st.lists(
        st.one_of(hostile_frames(), commands().map(encode), st.booleans(), st.integers(1, 500)),
        max_size=40,
    ),
    st.sampled_from(["", SCOPE]),
)
def test_any_sequence_of_frames_gives_values_or_the_one_end(
    steps: list[bytes | str | bool | int], scope: str
) -> None:
    limits = Limits(unanswered=3, floods=4, commands_per_second=20, commands_burst=10)
    one, out, now = session(limits, scope), deque[Submission](), 0
    for step in steps:
        if isinstance(step, bool):
            if out:
                submission = out.popleft()
                name = submission.command.id
                one.answered(
                    submission, Ack(name, "k-1") if step else Refusal(name, "internal", "")
                )
        elif isinstance(step, int):
            now += step
        else:
            try:
                answer = one.receive(step, now)
            except RemoteProtocolError as error:
                assert error.close_code == 1008  # noqa: PT017 - one of the two outcomes
                return
            if isinstance(answer, Submission):
                assert answer.command.id
                assert getattr(answer.command, "token", None) is None
                assert answer.caller.scope in ({SCOPE} if scope else {one.scope})
                out.append(answer)
            else:
                assert encode(answer)
        assert len(out) <= limits.unanswered


# -- how a feed begins

STATE = Workspace(offset=30, epochs=(Epoch("a", 1), Epoch("b", 20)))


def beginning(after: str, first: int = 1, heartbeat: float = 15) -> Beginning:
    return begin(
        STATE,
        first,
        after,
        lambda: [b"part-1", b"part-2"],
        feed="feed-1",
        heartbeat=heartbeat,
        limits=Limits(),
        now=1_795_428_000_000,
    )


def test_a_feed_without_a_cursor_begins_with_a_snapshot() -> None:
    begun = beginning("")
    assert begun.offset == 30
    assert begun.frames() == [begun.welcome, b"part-1", b"part-2"]
    assert json.loads(begun.welcome) == {
        "type": "welcome",
        "protocol": PROTOCOL,
        "feed": "feed-1",
        "cursor": "b-30",
        "at": "2026-11-23T10:00:00.000Z",
        "heartbeat": 15,
        "limits": {"text": 4096, "nickname": 32, "frame": 65536, "unanswered": 100},
    }


@pytest.mark.parametrize(
    ("after", "offset"), [("b-30", 30), ("b-19", 19), ("a-19", 19), ("a-0", 0)]
)
def test_a_feed_goes_on_from_a_cursor_that_can_be_served(after: str, offset: int) -> None:
    begun = beginning(after, heartbeat=0.5)
    assert begun.offset == offset
    assert begun.frames() == [begun.welcome]
    welcome = json.loads(begun.welcome)
    assert welcome["cursor"] == ("b" if offset >= 20 else "a") + f"-{offset}"
    assert welcome["heartbeat"] == 0.5


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ("b-31", "future"),
        ("a-20", "epoch"),
        ("c-1", "epoch"),
        ("a-3", "retention"),
        ("nonsense", "invalid"),
    ],
)
def test_a_loss_is_said_before_the_snapshot(after: str, reason: str) -> None:
    begun = beginning(after, first=10)
    assert begun.offset == 30
    assert begun.gap is not None
    assert json.loads(begun.gap) == {"type": "gap", "after": after, "reason": reason}
    assert begun.frames() == [begun.welcome, begun.gap, b"part-1", b"part-2"]
