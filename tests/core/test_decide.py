"""The rules, one by one: what each command does, and what it is refused for."""

from collections.abc import Callable

import msgspec
import pytest
from msgspec import UNSET

from cloudchat_core.clock import SECOND
from cloudchat_core.codec import encode
from cloudchat_core.commands import (
    NOBODY,
    Away,
    Caller,
    ClientCommand,
    Create,
    Depart,
    Join,
    Leave,
    Ping,
    Redact,
    Remove,
    Report,
    Say,
    Start,
    Stop,
    Tick,
)
from cloudchat_core.decide import next_deadline
from cloudchat_core.errors import Code
from cloudchat_core.events import (
    Accepted,
    Created,
    Failed,
    Forgotten,
    Joined,
    Left,
    Message,
    Received,
    Record,
    Redacted,
)
from cloudchat_core.frames import Ack, InstanceView, OperationRef, Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.memory import SHARED, SLACK
from cloudchat_core.testing import Driver

ANNA, BERT, OPS = Caller("a" * 64), Caller("b" * 64), Caller(identity="ops@example")

UUIDS = [f"00000000-0000-4000-8000-{number:012}" for number in range(4)]


def accepted(driver: Driver, command: ClientCommand, caller: Caller = ANNA) -> Ack:
    reply = driver.execute(command, caller).reply
    assert isinstance(reply, Ack), reply
    return reply


def refused(driver: Driver, command: ClientCommand, caller: Caller = ANNA) -> str:
    reply = driver.execute(command, caller).reply
    assert isinstance(reply, Refusal), reply
    return reply.code


def joined(limits: Limits | None = None) -> Driver:
    driver = Driver(limits)
    accepted(driver, Join("j", "Anna"), ANNA)
    return driver


def operation(ack: Ack) -> str:
    assert isinstance(ack.operation, OperationRef)
    return ack.operation.id


def instance(ack: Ack) -> str:
    assert isinstance(ack.instance, InstanceView)
    return ack.instance.id


def created(driver: Driver) -> str:
    ack = accepted(driver, Create(""))
    driver.execute(Report(operation(ack)))
    return instance(ack)


def kinds(records: tuple[Record, ...]) -> list[type]:
    return [type(record.event) for record in records]


# -- participants


def test_a_join_says_how_the_server_wrote_the_name_and_whether_it_knew_the_token() -> None:
    driver = Driver()
    first = accepted(driver, Join("1", " Anna  B "))
    assert (first.nickname, first.resumed, first.cursor) == ("Anna B", False, "e1-2")
    again = driver.execute(Join("2", "ANNA B"), ANNA)
    assert kinds(again.records) == [Accepted]
    assert again.reply == Ack("2", "e1-3", "Anna B", resumed=True)
    accepted(driver, Leave("3"))
    assert accepted(driver, Join("4", "Anna")).resumed is True


def test_a_page_that_goes_away_is_let_go_unless_it_has_come_back_before_its_goodbye() -> None:
    driver = joined()
    before = driver.state
    assert driver.execute(Away("w", "j"), ANNA).reply == Ack("w", "e1-2")
    assert driver.state is before
    assert refused(driver, Away("w", "j"), BERT) == Code.NOT_JOINED
    assert refused(driver, Away("w", "j"), Caller()) == Code.NOT_JOINED
    accepted(driver, Join("again", "Anna"))
    assert refused(driver, Away("w", "j")) == Code.NOT_JOINED
    assert driver.execute(Away("w", "again"), ANNA).reply == Ack("w", driver.state.cursor)
    accepted(driver, Leave("3"))
    assert refused(driver, Away("w", "again")) == Code.NOT_JOINED


def test_who_said_so_much_that_the_join_is_forgotten_may_still_go_away() -> None:
    driver = joined(Limits(command_ids=100, unanswered=100))
    for number in range(100):
        accepted(driver, Say(f"s{number}", "more"))
    accepted(driver, Away("w", "j"))


def test_another_name_of_the_same_token_lets_the_old_one_go_first() -> None:
    driver = joined()
    records = driver.execute(Join("2", "Berta"), ANNA).records
    assert [type(record.event) for record in records] == [Left, Joined]
    assert isinstance(records[0].event, Left)
    assert (records[0].event.nickname, records[0].event.reason) == ("Anna", "left")


def test_a_full_chat_takes_nobody_in_but_lets_those_inside_change_their_names() -> None:
    driver = joined(Limits(participants=1))
    assert refused(driver, Join("1", "Bert"), BERT) == Code.QUOTA_EXCEEDED
    accepted(driver, Join("2", "Berta"))


def test_a_join_needs_a_token() -> None:
    assert refused(Driver(), Join("1", "Anna"), NOBODY) == Code.BAD_COMMAND


@pytest.mark.parametrize("reason", ["left", "disconnected"])
def test_who_departs_is_gone_once(reason: str) -> None:
    driver = joined()
    (record,) = driver.execute(Depart(ANNA.scope, reason)).records
    assert isinstance(record.event, Left)
    assert record.event.reason == reason
    assert driver.execute(Depart(ANNA.scope, reason)).records == ()


# -- messages


def test_who_has_joined_speaks_under_the_name_as_the_server_wrote_it() -> None:
    driver = joined()
    for command in (Say("1", " hi\n"), Say("2", "hi", "ANNA")):
        (record,) = driver.execute(command, ANNA).records
        assert isinstance(record.event, Message)
        assert (record.event.nickname, record.event.text, record.event.ref) == (
            "Anna",
            "hi",
            command.id,
        )


def test_a_token_that_has_not_joined_speaks_under_a_free_name_without_being_present() -> None:
    driver = joined()
    assert accepted(driver, Say("1", "deployed", "Deploy Bot"), BERT) == Ack("1", "e1-3")
    assert refused(driver, Say("2", "deployed", "anna"), BERT) == Code.NICKNAME_TAKEN
    assert refused(driver, Say("3", "deployed"), BERT) == Code.NOT_JOINED
    assert refused(driver, Say("4", "deployed", "Deploy Bot"), NOBODY) == Code.NOT_JOINED
    assert [held.nickname for held in driver.state.participants.participants()] == ["Anna"]


@pytest.mark.parametrize("text", ["x" * 4096, "😀" * 4096, "a\tb\nc", "  " + "x" * 4096 + "\n"])
def test_a_text_within_the_limit_is_said(text: str) -> None:
    driver = joined()
    accepted(driver, Say("1", text))
    driver.check_snapshot(65_536)
    assert len(encode(driver.state.messages.values()[0].message)) < 65_536


@pytest.mark.parametrize("text", ["", " \n", "x" * 4097, "a\x00b", "a\rb", "a\x85b", "a\x1bb"])
def test_a_text_that_is_none_is_refused(text: str) -> None:
    assert refused(joined(), Say("1", text)) == Code.TEXT_INVALID


def test_ones_own_message_is_taken_back_once_however_old_it_is() -> None:
    driver = joined()
    cursor = accepted(driver, Say("1", "secret")).cursor
    for number in range(60):
        accepted(driver, Say("", f"later {number}"))
    (record,) = driver.execute(Redact("2", cursor), ANNA).records
    assert isinstance(record.event, Redacted)
    assert (record.event.message, record.event.by) == (cursor, "Anna")
    assert kinds(driver.execute(Redact("3", cursor), ANNA).records) == [Accepted]
    assert not any(b"secret" in stored.body for stored in driver.log)


@pytest.mark.parametrize(
    ("caller", "cursor", "code"),
    [
        (BERT, "e1-3", Code.NOT_JOINED),
        (ANNA, "e1-4", Code.FORBIDDEN),
        (ANNA, "e1-2", Code.MESSAGE_UNKNOWN),
        (ANNA, "e2-3", Code.MESSAGE_UNKNOWN),
        (ANNA, "e1-99", Code.MESSAGE_UNKNOWN),
        (ANNA, "nonsense", Code.MESSAGE_UNKNOWN),
    ],
)
def test_only_ones_own_message_can_be_taken_back(caller: Caller, cursor: str, code: Code) -> None:
    driver = joined()
    accepted(driver, Say("1", "mine"))
    accepted(driver, Say("1", "yours", "Bert"), BERT)
    assert refused(driver, Redact("2", cursor), caller) == code


# -- instances


def test_the_name_of_an_instance_is_a_short_label() -> None:
    driver = Driver()
    for name in ("", " a", "a\n", "x" * 65, "a\u200bb"):
        assert refused(driver, Create("1", name)) == Code.BAD_COMMAND
    ack = accepted(driver, Create("1", "x" * 64))
    driver.execute(Report(operation(ack)))
    assert driver.state.listed()[0].name == "x" * 64


def test_the_parameters_of_an_instance_are_bounded_however_they_come() -> None:
    driver = Driver()
    assert refused(driver, Create("1", spec={"a": "x" * 65_536})) == Code.TOO_LARGE
    accepted(driver, Create("1", spec={"a": "x" * 65_000}))


def test_there_are_no_more_instances_than_the_limit_those_on_their_way_included() -> None:
    driver = Driver(Limits(instances=1))
    ack = accepted(driver, Create("1"))
    assert refused(driver, Create("2")) == Code.QUOTA_EXCEEDED
    driver.execute(Report(operation(ack), "no_space"))
    accepted(driver, Create("2"))


def test_events_say_who_asked_by_nickname_or_identity() -> None:
    driver = joined()
    for caller, by in ((ANNA, "Anna"), (OPS, "ops@example"), (NOBODY, None), (BERT, None)):
        (record,) = driver.execute(Create(""), caller).records
        assert isinstance(record.event, Received)
        assert record.event.by == by


def test_an_operation_says_when_it_is_expected_and_fails_when_nothing_is_heard_of_it() -> None:
    driver = Driver(Limits(operation_time=600), expected={"create": 20, "start": None}.get)
    ack = accepted(driver, Create("1"))
    assert isinstance(ack.operation, OperationRef)
    now = driver.clock.now()
    assert ack.operation.expected == "2023-11-14T22:13:40.000Z"
    assert next_deadline(driver.state, driver.limits) == now + 620 * SECOND
    driver.execute(Report(operation(ack)))
    start = accepted(driver, Start("2", instance(ack)))
    assert isinstance(start.operation, OperationRef)
    assert start.operation.expected is UNSET
    driver.advance(600)
    (record,) = driver.execute(Tick()).records
    assert isinstance(record.event, Failed)
    assert (record.event.reason, record.event.instance.state) == ("timeout", "stopped")
    assert driver.state.operations.first() is None
    view = driver.state.finished.last()
    assert view is not None
    assert (view.view().done, view.view().outcome) == (True, "failed")


def test_deadlines_rise_so_that_the_oldest_operation_is_the_first_to_be_late() -> None:
    takes: dict[str, float] = {"create": 100}
    driver = Driver(expected=takes.get)
    accepted(driver, Create("1"))
    takes["create"] = 1
    accepted(driver, Create("2"))
    one, other = driver.state.operations.values()
    assert one.deadline == other.deadline


def test_one_tick_ends_a_hundred_late_operations_and_the_next_is_due_at_once() -> None:
    driver = Driver(Limits(finished_operations=30))
    for _ in range(150):
        accepted(driver, Create(""))
    driver.advance(10_000)
    assert len(driver.execute(Tick()).records) == 100
    driver.check_bounds()
    driver.settle()
    assert len(driver.state.operations) == 0
    driver.check_bounds()
    driver.check_replay(0)


def test_instances_are_listed_in_the_order_in_which_they_came_to_be() -> None:
    driver = Driver()
    first, second = accepted(driver, Create("1")), accepted(driver, Create("2"))
    driver.execute(Report(operation(second)))
    driver.execute(Report(operation(first)))
    assert [view.id for view in driver.state.listed()] == [instance(second), instance(first)]
    driver.check_mirror(0)


def test_what_a_provider_says_of_a_failure_always_fits_a_frame() -> None:
    driver = Driver()
    ack = accepted(driver, Create("1"))
    said = "\x1b[31m\udcff" + "😀" * 100_000
    (record,) = driver.execute(Report(operation(ack), said, said)).records
    assert isinstance(record.event, Failed)
    assert len(encode(record.event)) < driver.limits.frame
    assert record.event.detail.startswith(" [31m?")
    assert record.event.instance.state is UNSET


def test_the_answers_to_a_command_on_an_instance_name_the_way_out() -> None:
    driver = Driver()
    name = created(driver)
    start = accepted(driver, Start("1", name))
    busy = driver.execute(Stop("2", name), ANNA).reply
    assert isinstance(busy, Refusal)
    assert (busy.code, busy.operation) == (Code.INSTANCE_BUSY, start.operation)
    driver.execute(Report(operation(start)))
    assert refused(driver, Start("3", name)) == Code.INSTANCE_STATE
    driver.execute(Report(operation(accepted(driver, Remove("4", name)))))
    for kind in (Start, Stop, Remove):
        assert refused(driver, kind("5", name)) == Code.INSTANCE_UNKNOWN


def test_an_instance_under_way_shows_its_operation_to_newcomers() -> None:
    driver = Driver()
    name = created(driver)
    start = accepted(driver, Start("1", name))
    (view,) = driver.state.listed()
    assert (view.state, view.operation) == ("stopped", start.operation)
    assert start.instance == msgspec.structs.replace(view, operation=UNSET)


# -- exactly once


def test_a_ping_is_answered_with_the_head_and_leaves_no_trace() -> None:
    driver = joined()
    assert driver.execute(Ping("1"), ANNA).reply == Ack("1", "e1-2")
    assert driver.state.memories.get(ANNA.scope, "1") is None


def test_an_id_names_one_command_in_its_own_scope_only() -> None:
    driver = joined()
    first = accepted(driver, Create("1"))
    assert accepted(driver, Create("1")) == first
    assert refused(driver, Create("1", "other")) == Code.ID_REUSED
    assert accepted(driver, Create("1"), BERT) != first
    assert accepted(driver, Create("1"), NOBODY) != first


def test_a_refused_command_is_decided_anew_and_its_id_is_free() -> None:
    driver = joined()
    assert refused(driver, Say("1", "")) == Code.TEXT_INVALID
    accepted(driver, Say("1", "hi"))


def test_without_a_token_only_an_id_that_nobody_else_has_is_remembered() -> None:
    driver = Driver()
    mine = accepted(driver, Create("1"), NOBODY)
    theirs = accepted(driver, Create("1"), NOBODY)
    assert (theirs.id, theirs.instance) != (mine.id, mine.instance)
    assert accepted(driver, Create(UUIDS[1]), NOBODY) == accepted(driver, Create(UUIDS[1]), NOBODY)


def test_a_request_is_told_apart_by_its_own_content() -> None:
    driver = Driver()
    create = accepted(driver, Create(UUIDS[1]), Caller(content="POST /v1/instances"))
    assert (
        accepted(driver, Create(UUIDS[1], "other"), Caller(content="POST /v1/instances")) == create
    )
    assert refused(driver, Create(UUIDS[1]), Caller(content="POST /elsewhere")) == Code.ID_REUSED


@pytest.mark.parametrize("command_id", ["a b", "x" * 65, "ä", "a\n"])
def test_an_id_that_is_none_is_refused(command_id: str) -> None:
    assert refused(Driver(), Create(command_id)) == Code.BAD_COMMAND


def test_a_command_without_an_id_is_not_remembered() -> None:
    driver = joined()
    accepted(driver, Say("", "hi"))
    accepted(driver, Say("", "hi"))
    assert len(driver.state.messages) == 2
    assert driver.execute(Join("", "Anna"), ANNA).records == ()


def test_a_scope_remembers_its_newest_ids() -> None:
    driver = joined(Limits(command_ids=3))
    first = [accepted(driver, Say(name, "hi")) for name in "123"]
    assert [accepted(driver, Say(name, "hi")) for name in "123"] == first
    accepted(driver, Say("4", "hi"))
    assert [accepted(driver, Say(name, "hi")) for name in "23"] == first[1:]
    assert accepted(driver, Say("1", "hi")) != first[0]


def test_the_longest_unused_token_makes_room_for_a_new_one_but_no_participant_does() -> None:
    driver = joined(Limits(tokens=3))
    callers = [Caller(f"{number:064x}") for number in range(3)]
    for caller in callers:
        driver.advance(1)
        accepted(driver, Say("1", "hi", "Bot"), caller)
    known = driver.state.memories.scopes
    assert set(known) == {ANNA.scope, callers[1].scope, callers[2].scope}


def test_a_token_is_forgotten_a_week_after_its_last_command_or_its_leaving() -> None:
    driver = joined()
    accepted(driver, Say("1", "hi", "Bot"), BERT)
    week = Limits().token_memory
    driver.advance(week + SLACK / SECOND)
    accepted(driver, Create(UUIDS[1]), NOBODY)
    driver.settle()
    assert set(driver.state.memories.scopes) == {ANNA.scope, SHARED}
    driver.execute(Depart(ANNA.scope, "left"))
    driver.advance(week - 1)
    driver.settle()
    assert accepted(driver, Join("2", "Anna")).resumed is True
    driver.execute(Depart(ANNA.scope, "left"))
    driver.advance(week + SLACK / SECOND)
    driver.settle()
    assert accepted(driver, Join("2", "Anna")).resumed is False


def test_commands_without_a_token_are_remembered_for_a_day_and_up_to_a_number() -> None:
    driver = Driver(Limits(shared_ids=2))
    first = accepted(driver, Create(UUIDS[1]), NOBODY)
    driver.advance(7_200)
    accepted(driver, Create(UUIDS[2]), NOBODY)
    assert refused(driver, Create(UUIDS[3]), NOBODY) == Code.QUOTA_EXCEEDED
    assert accepted(driver, Create(UUIDS[1]), NOBODY) == first
    driver.advance(82_800)
    driver.settle()
    assert driver.state.memories.get(SHARED, UUIDS[1]) is None
    assert driver.state.memories.get(SHARED, UUIDS[2]) is not None
    accepted(driver, Create(UUIDS[3]), NOBODY)
    driver.advance(2 * 86_400)
    driver.settle()
    assert SHARED not in driver.state.memories.scopes


def test_young_memories_of_both_kinds_ask_for_no_tick_that_would_do_nothing() -> None:
    driver = Driver()
    accepted(driver, Say("1", "hi", "Bot"), BERT)
    driver.advance(5 * 86_400)
    accepted(driver, Create(UUIDS[1]), NOBODY)
    driver.settle()
    for _ in range(10):
        driver.advance(86_400)
        before = len(driver.log)
        driver.settle()
        assert sum(stored.kind == "forgotten" for stored in driver.log[before:]) <= 1


def test_time_that_goes_back_outside_does_not_go_back_in_the_log() -> None:
    driver = Driver()
    driver.advance(100)
    accepted(driver, Create("1"))
    at = driver.state.at
    driver.clock = type(driver.clock)(at - 50_000)
    (record,) = driver.execute(Create("2"), ANNA).records
    assert record.at == at


def test_a_tick_forgets_and_says_up_to_when() -> None:
    driver = Driver(Limits(token_memory=10, shared_memory=20))
    accepted(driver, Say("1", "hi", "Bot"), BERT)
    driver.advance(10 + SLACK / SECOND)
    (record,) = driver.execute(Tick()).records
    assert isinstance(record.event, Forgotten)
    assert record.event.tokens_before == driver.clock.now() - 10 * SECOND
    assert record.event.shared_before == driver.clock.now() - 20 * SECOND


@pytest.mark.parametrize("make", [lambda one: Start("1", one), lambda one: Remove("1", one)])
def test_a_failure_leaves_the_instance_as_it_was(make: Callable[[str], ClientCommand]) -> None:
    driver = Driver()
    name = created(driver)
    before = driver.state.listed()
    driver.execute(Report(operation(accepted(driver, make(name))), "no_space", "the disk is full"))
    assert driver.state.listed() == before
    done = driver.state.finished.last()
    assert done is not None
    assert msgspec.to_builtins(done.view())["error"] == {
        "reason": "no_space",
        "detail": "the disk is full",
    }


def test_a_created_instance_says_since_when() -> None:
    driver = Driver()
    ack = accepted(driver, Create("1", "web-1"))
    driver.advance(20)
    (record,) = driver.execute(Report(operation(ack))).records
    assert isinstance(record.event, Created)
    assert record.event.instance == InstanceView(
        instance(ack), "stopped", "web-1", UNSET, record.event.at
    )
    assert driver.state.listed() == [record.event.instance]
