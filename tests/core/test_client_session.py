"""A client between two connections: what it remembers, and what it says on the next one."""

import contextlib
import itertools
import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudchat_core.client_session import (
    Answered,
    ClientSession,
    Frame,
    Snapshot,
    Uncertain,
    decode_frame,
    may_return,
)
from cloudchat_core.codec import encode
from cloudchat_core.commands import Join, Leave, Ping, Say
from cloudchat_core.errors import Code, LocalProtocolError, RemoteProtocolError
from cloudchat_core.events import Joined, Left, Message
from cloudchat_core.frames import Ack, Closing, Gap, Heartbeat, Refusal, Welcome, WireLimits

TOKEN = "t" * 22
AT = "2026-11-23T10:00:00.000Z"


def make(token: str = TOKEN, cursor: str = "") -> ClientSession:
    ids = itertools.count(1)
    return ClientSession(lambda: f"j{next(ids)}", token=token, cursor=cursor)


def said(session: ClientSession) -> list[str]:
    """What the session sends now: `type:id` of each frame."""
    values = [json.loads(frame) for frame in session.transmit()]
    return [f"{value['type']}:{value['id']}" for value in values]


def test_what_is_no_unicode_text_is_told_to_who_says_it_and_changes_nothing() -> None:
    session = make()
    session.opened()
    with pytest.raises(LocalProtocolError, match="Unicode text"):
        session.join("\udcff")
    session.join("Ann")
    with pytest.raises(LocalProtocolError, match="Unicode text"):
        session.submit(Say("c1", "\udcff"))
    assert session.unanswered == []
    (sent,) = session.transmit()
    assert json.loads(sent)["nickname"] == "Ann"


def is_full(session: ClientSession) -> bool:
    return session.full


def is_postponed(session: ClientSession) -> bool:
    return session.postponed


def joined(
    *, resumed: bool = False, nickname: str = "Ann", session: ClientSession | None = None
) -> ClientSession:
    """A session that was let in, on a connection that is open."""
    session = session or make()
    if not session.nickname:
        session.join(nickname)
    session.opened()
    (join,) = (json.loads(frame) for frame in session.transmit())
    session.receive(Ack(join["id"], "e-1", nickname=join["nickname"], resumed=resumed))
    return session


def test_the_join_goes_first_and_everything_else_waits_for_its_answer() -> None:
    session = make()
    session.join("Ann")
    session.submit(Say("c1", "hello"))
    assert said(session) == []
    session.opened()
    assert said(session) == ["join:j2"]
    (outcome,) = session.receive(Ack("j2", "e-1", nickname="Ann", resumed=False))
    assert isinstance(outcome, Answered)
    assert isinstance(outcome.command, Join)
    assert (session.joined, session.nickname) == (True, "Ann")
    assert said(session) == ["say:c1"]
    assert said(session) == []


def test_the_token_stands_in_the_join_and_nowhere_else() -> None:
    session = make()
    session.join("Ann")
    session.submit(Say("c1", "hello"))
    session.opened()
    (join,) = session.transmit()
    assert json.loads(join)["token"] == TOKEN
    session.receive(Ack("j2", "e-1", nickname="Ann", resumed=False))
    (say,) = session.transmit()
    assert TOKEN.encode() not in say


def test_what_is_unanswered_is_sent_again_in_order_before_anything_new() -> None:
    session = joined()
    for name in ("c1", "c2", "c3"):
        session.submit(Say(name, "x"))
    assert said(session) == ["say:c1", "say:c2", "say:c3"]
    session.receive(Ack("c2", "e-2"))
    session.closed()
    assert not session.joined
    session.submit(Say("c4", "new"))
    assert said(session) == []
    joined(resumed=True, session=session)
    assert said(session) == ["say:c1", "say:c3", "say:c4"]


def test_who_was_given_up_without_noticing_joins_again_and_says_it_then() -> None:
    session = joined()
    for name in ("c1", "c2"):
        session.submit(Say(name, "x"))
    assert said(session) == ["say:c1", "say:c2"]
    for name in ("c1", "c2"):
        assert session.receive(Refusal(name, Code.NOT_JOINED, "join first")) == []
    assert said(session) == ["join:j3"]
    session.receive(Ack("j3", "e-5", nickname="Ann", resumed=True))
    assert said(session) == ["say:c1", "say:c2"]
    assert len(session.receive(Ack("c1", "e-6"))) == 1


def test_who_sees_that_it_was_given_up_joins_again() -> None:
    session = joined()
    session.receive(Left("e-2", AT, "Ann", "disconnected"))
    session.receive(Left("e-3", AT, "Ann", "disconnected"))
    assert said(session) == ["join:j3"]
    session.submit(Say("c1", "x"))
    assert said(session) == []
    session.receive(Refusal("j3", Code.NICKNAME_TAKEN, "taken"))
    assert session.nickname == ""


@pytest.mark.parametrize(
    "left",
    [
        Left("e-2", AT, "Ben", "disconnected"),  # somebody else
        Left("e-2", AT, "Ann", "left"),  # because somebody said so
        Left("e-1", AT, "Ann", "disconnected"),  # before it came back
    ],
)
def test_of_no_other_departure_anything_follows(left: Left) -> None:
    session = joined()
    session.receive(left)
    assert session.joined
    assert said(session) == []


def test_who_was_given_up_while_another_nickname_is_asked_for_goes_on_with_that() -> None:
    session = joined()
    session.join("Anna")
    session.receive(Left("e-2", AT, "Ann", "disconnected"))
    assert said(session) == ["join:j3"]


NOT_IN = "this client does not take part any more"


@pytest.mark.parametrize(
    "answer", [Ack("c1", "e-2"), Refusal("c1", Code.NOT_JOINED, "you have left already")]
)
def test_who_has_left_says_nothing_more_until_it_joins_again(answer: Ack | Refusal) -> None:
    session = joined()
    session.submit(Leave("c1"))
    assert said(session) == ["leave:c1"]
    assert session.receive(answer) == [Answered(Leave("c1"), answer)]
    assert (session.joined, session.joins) == (False, False)
    with pytest.raises(LocalProtocolError, match="joins before"):
        session.submit(Say("c2", "x"))
    session.closed()
    session.opened()
    assert said(session) == []
    session.join("Ann")
    assert said(session) == ["join:j3"]


def test_what_was_said_behind_a_leave_is_answered_or_given_up_with_its_connection() -> None:
    session = joined()
    for command in (Leave("c1"), Say("c2", "x"), Ping("c3"), Ping("c4")):
        session.submit(command)
    session.transmit()
    session.receive(Refusal("c3", Code.UNAVAILABLE, "disk full"))
    session.submit(Ping("c5"))
    assert session.receive(Ack("c1", "e-2")) == [
        Answered(Leave("c1"), Ack("c1", "e-2")),
        Uncertain(Ping("c3")),  # it would have been said again
        Answered(Ping("c5"), Refusal("c5", Code.NOT_JOINED, NOT_IN)),
    ]
    refusal = Refusal("c2", Code.NOT_JOINED, "join first")
    assert session.receive(refusal) == [Answered(Say("c2", "x"), refusal)]
    session.closed()
    session.opened()
    assert session.receive(WELCOME) == [Uncertain(Ping("c4"))]
    assert session.unanswered == []


def test_what_the_server_cannot_do_for_somebody_who_has_left_is_uncertain() -> None:
    session = joined()
    for command in (Leave("c1"), Ping("c2")):
        session.submit(command)
    session.transmit()
    session.receive(Ack("c1", "e-2"))
    refusal = Refusal("c2", Code.UNAVAILABLE, "disk full")
    assert session.receive(refusal) == [Uncertain(Ping("c2"))]
    assert not is_postponed(session)


def test_a_leave_that_the_next_join_undid_is_said_once_more() -> None:
    session = joined()
    session.submit(Leave("c1"))
    assert said(session) == ["leave:c1"]
    session.closed()
    session.opened()
    assert said(session) == ["join:j3"]
    session.receive(Ack("j3", "e-5", nickname="Ann", resumed=True))
    assert said(session) == ["leave:c1"]
    assert session.receive(Ack("c1", "e-3")) == []  # it happened before that join
    assert said(session) == ["leave:j4"]
    answer = Ack("j4", "e-6")
    assert session.receive(answer) == [Answered(Leave("c1"), answer)]
    assert (session.joined, session.nickname, session.unanswered) == (False, "", [])


def test_a_leave_that_had_not_happened_is_done_behind_the_next_join() -> None:
    session = joined()
    session.submit(Leave("c1"))
    session.transmit()
    session.closed()
    session.opened()
    session.transmit()
    session.receive(Ack("j3", "e-5", nickname="Ann", resumed=True))
    assert said(session) == ["leave:c1"]
    assert session.receive(Ack("c1", "e-6")) == [Answered(Leave("c1"), Ack("c1", "e-6"))]
    assert said(session) == []


def test_who_joins_again_behind_its_own_leave_is_in() -> None:
    session = joined()
    session.submit(Leave("c1"))
    session.transmit()
    session.join("Anna")
    session.submit(Say("c2", "x"))
    assert session.receive(Ack("c1", "e-2")) == [Answered(Leave("c1"), Ack("c1", "e-2"))]
    (join,) = (json.loads(frame) for frame in session.transmit() if b"join" in frame)
    session.receive(Ack(join["id"], "e-3", nickname="Anna", resumed=True))
    assert (session.joined, session.nickname) == (True, "Anna")
    assert [command.id for command in session.unanswered] == ["c2"]


def test_who_is_given_up_while_it_leaves_does_not_come_back() -> None:
    session = joined()
    session.submit(Say("c1", "x"))
    session.submit(Leave("c2"))
    session.transmit()
    session.receive(Left("e-2", AT, "Ann", "disconnected"))
    assert said(session) == []
    for command in (Say("c1", "x"), Leave("c2")):
        refusal = Refusal(command.id, Code.NOT_JOINED, "join first")
        assert session.receive(refusal) == [Answered(command, refusal)]
    assert (said(session), session.joins) == ([], False)


def test_what_was_not_joined_is_refused_where_the_nickname_is_lost() -> None:
    session = joined()
    for command in (Say("c1", "x"), Ping("c2"), Ping("c3")):
        session.submit(command)
    session.transmit()
    session.receive(Refusal("c1", Code.NOT_JOINED, "join first"))
    assert said(session) == ["join:j3"]
    taken = Refusal("j3", Code.NICKNAME_TAKEN, "taken")
    _, *others = session.receive(taken)
    assert others == [Answered(Say("c1", "x"), Refusal("c1", Code.NOT_JOINED, NOT_IN))]
    assert session.receive(Ack("c2", "e-7")) == [Answered(Ping("c2"), Ack("c2", "e-7"))]
    with pytest.raises(LocalProtocolError, match="joins before"):
        session.submit(Say("c4", "x", "Bot"))
    session.closed()
    session.opened()
    assert session.receive(WELCOME) == [Uncertain(Ping("c3"))]


def test_what_may_have_happened_is_said_again_under_another_nickname() -> None:
    session = joined()
    session.submit(Say("c1", "x"))
    session.transmit()
    session.closed()
    session.opened()
    assert session.receive(WELCOME) == []
    session.transmit()
    (outcome,) = session.receive(Refusal("j3", Code.NICKNAME_TAKEN, "taken"))
    assert isinstance(outcome.command, Join)
    session.join("Guest")
    assert said(session) == ["join:j4"]
    session.receive(Ack("j4", "e-5", nickname="Guest", resumed=True))
    assert said(session) == ["say:c1"]


def test_a_session_with_a_token_says_nothing_before_it_is_asked_to_join() -> None:
    session = make()
    with pytest.raises(LocalProtocolError, match="joins before"):
        session.submit(Say("c1", "x"))
    session.join("Ann")
    session.submit(Say("c1", "x"))


def test_each_connection_has_a_join_of_its_own() -> None:
    session = joined()
    session.closed()
    session.opened()
    first = said(session)
    session.closed()
    session.opened()
    assert said(session) != first


def test_what_a_forgotten_token_sent_is_uncertain_and_not_sent_again() -> None:
    session = joined()
    session.submit(Say("c1", "sent"))
    assert said(session) == ["say:c1"]
    session.closed()
    session.submit(Say("c2", "never sent"))
    session.opened()
    (join,) = (json.loads(frame) for frame in session.transmit())
    _, *lost = session.receive(Ack(join["id"], "f-1", nickname="Ann", resumed=False))
    assert lost == [Uncertain(Say("c1", "sent"))]
    assert said(session) == ["say:c2"]
    assert session.unanswered == [Say("c2", "never sent")]


def test_a_session_without_a_token_has_no_join_and_sends_again_at_once() -> None:
    session = make(token="")
    session.submit(Ping("c1"))
    session.opened()
    assert said(session) == ["ping:c1"]
    session.closed()
    session.opened()
    assert said(session) == ["ping:c1"]
    with pytest.raises(LocalProtocolError):
        session.join("Ann")


def test_each_command_is_settled_once() -> None:
    session = joined()
    session.submit(Say("c1", "x"))
    session.transmit()
    refusal = Refusal("c1", Code.TEXT_INVALID, "no")
    assert session.receive(refusal) == [Answered(Say("c1", "x"), refusal)]
    assert session.receive(refusal) == []
    assert session.receive(Refusal(None, Code.BAD_JSON, "no")) == []
    assert session.unanswered == []


def test_what_the_server_could_not_do_is_postponed_and_sent_again_with_the_same_id() -> None:
    session = joined()
    session.submit(Say("c1", "x"))
    session.submit(Say("c2", "y"))
    session.transmit()
    assert session.receive(Refusal("c1", Code.UNAVAILABLE, "disk full")) == []
    assert is_postponed(session)
    assert said(session) == []
    session.retry()
    assert not is_postponed(session)
    assert said(session) == ["say:c1"]
    assert [outcome.command.id for outcome in session.receive(Ack("c1", "e-5"))] == ["c1"]


def test_what_may_have_happened_is_not_refused_where_it_is_only_said_again_too_fast() -> None:
    session = joined()
    session.submit(Say("c1", "x"))
    assert said(session) == ["say:c1"]
    session.closed()
    session.opened()
    assert said(session) == ["join:j3"]
    session.receive(Ack("j3", "e-5", nickname="Ann", resumed=True))
    session.submit(Say("c2", "y"))
    assert said(session) == ["say:c1", "say:c2"]
    fast = Refusal("c2", Code.RATE_LIMITED, "too fast", retry_after=1)
    assert session.receive(fast) == [Answered(Say("c2", "y"), fast)]
    assert session.receive(Refusal("c1", Code.RATE_LIMITED, "too fast", retry_after=1)) == []
    assert is_postponed(session)
    session.retry()
    assert said(session) == ["say:c1"]
    answer = Ack("c1", "e-4")
    assert session.receive(answer) == [Answered(Say("c1", "x"), answer)]


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.RATE_LIMITED])
def test_a_join_survives_answers_that_say_nothing_about_the_nickname(code: Code) -> None:
    session = make()
    session.join("Ann")
    session.opened()
    assert said(session) == ["join:j2"]
    assert session.receive(Refusal("j2", code, "later")) == []
    assert said(session) == []
    session.retry()
    assert said(session) == ["join:j2"]


def test_after_a_refused_nickname_another_is_asked_for_and_what_waited_is_refused() -> None:
    session = make()
    session.join("Ann")
    session.submit(Say("c1", "x"))
    session.opened()
    session.transmit()
    taken = Refusal("j2", Code.NICKNAME_TAKEN, "taken", suggestions=("Ann2",))
    outcome, waited = session.receive(taken)
    assert isinstance(outcome, Answered)
    assert outcome.reply is taken
    assert waited == Answered(Say("c1", "x"), Refusal("c1", Code.NOT_JOINED, NOT_IN))
    with pytest.raises(LocalProtocolError, match="joins before"):
        session.submit(Say("c2", "x", "Bot"))
    assert said(session) == []
    session.closed()
    session.opened()
    assert said(session) == []
    session.join("Ann2")
    session.submit(Say("c2", "x"))
    assert said(session) == ["join:j3"]
    session.receive(Ack("j3", "e-1", nickname="Ann2", resumed=False))
    assert said(session) == ["say:c2"]


def test_who_is_refused_another_nickname_keeps_the_old_one() -> None:
    session = joined()
    session.join("Bob")
    (join,) = (json.loads(frame) for frame in session.transmit())
    session.receive(Refusal(join["id"], Code.NICKNAME_TAKEN, "taken"))
    assert (session.joined, session.nickname) == (True, "Ann")


def test_who_is_refused_another_nickname_after_a_broken_connection_asks_for_the_old_one() -> None:
    session = joined()
    session.join("Bob")
    session.transmit()
    session.closed()
    session.opened()
    (join,) = (json.loads(frame) for frame in session.transmit())
    assert join["nickname"] == "Bob"
    session.receive(Refusal(join["id"], Code.NICKNAME_TAKEN, "taken"))
    (join,) = (json.loads(frame) for frame in session.transmit())
    assert join["nickname"] == "Ann"
    session.receive(Refusal(join["id"], Code.NICKNAME_TAKEN, "taken"))
    assert (session.joined, session.nickname, said(session)) == (False, "", [])


def test_a_server_that_does_not_say_how_it_wrote_the_nickname_changes_nothing() -> None:
    session = joined()
    session.join("Bob")
    (join,) = (json.loads(frame) for frame in session.transmit())
    session.receive(Ack(join["id"], "e-4"))
    assert (session.joined, session.nickname) == (True, "Ann")


def test_no_more_commands_are_taken_than_the_server_remembers() -> None:
    session = joined()
    session.receive(Welcome("cloudchat.v1", "f", "e-0", AT, 15, WireLimits(10, 10, 100, 2)))
    session.submit(Say("c1", "x"))
    assert not is_full(session)
    session.submit(Say("c2", "x"))
    assert is_full(session)
    with pytest.raises(LocalProtocolError):
        session.submit(Say("c3", "x"))


@pytest.mark.parametrize(
    "command", [Say("c1", "again"), Say("c2", "x" * 200), Join("c3", "Bob", TOKEN)]
)
def test_a_command_that_could_never_be_answered_is_not_taken(command: Say | Join) -> None:
    session = joined()
    session.receive(Welcome("cloudchat.v1", "f", "e-0", AT, 15, WireLimits(10, 10, 100, 9)))
    session.submit(Say("c1", "x"))
    with pytest.raises(LocalProtocolError):
        session.submit(command)
    assert session.unanswered == [Say("c1", "x")]


WELCOME = Welcome("cloudchat.v1", "f", "e-9", AT, 15, WireLimits(1, 2, 3, 4))


@pytest.mark.parametrize(
    ("frame", "cursor"),
    [
        (Joined("e-2", AT, "Bob"), "e-2"),
        (Message("e-3", AT, "Bob", "hi", "c9"), "e-3"),
        (Heartbeat("e-7", AT), "e-7"),
        (Snapshot("e-8"), "e-8"),
        (Snapshot("e-8", more=True), "e-1"),
        (WELCOME, "e-1"),
        (Gap("e-1", "retention"), "e-1"),
        (Ack("c1", "e-9"), "e-1"),
        (Refusal("c1", Code.INTERNAL, "no"), "e-1"),
        (Closing(2.5), "e-1"),
    ],
)
def test_only_events_heartbeats_and_whole_snapshots_move_the_cursor(
    frame: Frame, cursor: str
) -> None:
    session = make(cursor="e-1")
    assert session.receive(frame) == []
    assert session.cursor == cursor


def test_what_two_feeds_both_say_is_known_after_the_first() -> None:
    session = make(cursor="e-7")
    assert session.is_stale(Joined("e-7", "", "Ann"))
    assert session.is_stale(Heartbeat("d-6", ""))
    assert not session.is_stale(Joined("e-8", "", "Ann"))
    assert not session.is_stale(Gap("e-1", "retention"))
    assert not make().is_stale(Joined("e-1", "", "Ann"))


def test_a_session_takes_part_from_its_first_wish_to_join() -> None:
    assert not make().joins
    wishing = make()
    wishing.join("Ann")
    assert wishing.joins
    assert joined().joins


def test_a_planned_end_says_when_to_come_back_until_one_has() -> None:
    session = make()
    session.opened()
    session.receive(WELCOME)
    session.receive(Closing(2.5))
    assert (session.retry_after, session.heartbeat) == (2.5, 15)
    session.closed()
    assert session.retry_after == 2.5
    session.opened()
    assert session.retry_after is None


@pytest.mark.parametrize("code", [1000, 1006, 1012, 4001, 4499, 5000])
def test_after_most_close_codes_a_client_comes_back(code: int) -> None:
    assert may_return(code)


@pytest.mark.parametrize("code", [4500, 4501, 4999])
def test_codes_from_4500_to_4999_say_do_not_come_back(code: int) -> None:
    assert not may_return(code)


FRAMES: list[Frame] = [
    WELCOME,
    Snapshot("e-8", more=True),
    Heartbeat("e-7", AT),
    Joined("e-2", AT, "Bob"),
    Ack("c1", "e-9"),
    Closing(2.5),
]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_every_frame_is_read_as_it_was_written(frame: Frame) -> None:
    assert decode_frame(encode(frame)) == frame
    assert decode_frame(encode(frame).decode()) == frame


def test_frames_and_fields_of_a_later_version_are_ignored() -> None:
    assert decode_frame('{"type":"sparkles","cursor":"e-1"}') is None
    assert decode_frame('{"type":"heartbeat","cursor":"e-1","at":"x","mood":1}') == Heartbeat(
        "e-1", "x"
    )


@pytest.mark.parametrize(
    "data",
    [
        "",
        "{",
        "[]",
        "7",
        '{"cursor":"e-1"}',
        '{"type":7}',
        '{"type":"ack"}',
        b"\xff",
        "[" * 100_000,
    ],
)
def test_what_is_no_frame_is_the_servers_fault(data: bytes | str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_frame(data)
    assert caught.value.close_code == 1002


@given(st.binary(max_size=60) | st.text(max_size=60))
def test_whatever_a_server_sends_raises_nothing_but_our_own_error(data: bytes | str) -> None:
    with contextlib.suppress(RemoteProtocolError):
        decode_frame(data)


class Server:
    """Remembers every command it was sent, as a server does; loses connections and answers when told to."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.token_known = False

    def take(self, frames: Iterable[bytes]) -> list[Frame]:
        answers: list[Frame] = []
        for data in frames:
            value = json.loads(data)
            if value["type"] == "join":
                answers.append(Ack(value["id"], "e-1", nickname="Ann", resumed=self.token_known))
                self.token_known = True
                continue
            if value["id"] not in self.applied:
                self.applied.append(value["id"])
            answers.append(Ack(value["id"], "e-2"))
        return answers


@given(st.lists(st.sampled_from(["say", "send", "lose before", "lose after", "lose half"])))
def test_whenever_the_connection_breaks_each_command_happens_once_and_in_order(
    steps: list[str],
) -> None:
    """The connection may break before the server has seen what was sent, after it, or between two answers."""
    server, session = Server(), make()
    session.join("Ann")
    session.opened()
    made: list[str] = []
    settled: list[str] = []

    def settle(frames: Iterable[Frame]) -> None:
        for frame in frames:
            settled.extend(
                o.command.id for o in session.receive(frame) if not isinstance(o.command, Join)
            )

    for step in [*steps, "send", "send"]:
        if step == "say":
            if not session.full:
                made.append(f"c{len(made)}")
                session.submit(Say(made[-1], "x"))
            continue
        frames = session.transmit()
        if step == "send":
            settle(server.take(frames))
            continue
        if step != "lose before":
            answers = server.take(frames)
            settle(answers[: len(answers) // 2] if step == "lose half" else [])
        session.closed()
        session.opened()
    assert server.applied == made
    assert settled == made
