"""Who is connected keeps a nickname; who is gone for too long leaves; a moment away changes nothing."""

from collections.abc import Sequence

import anyio
import pytest

from cloudchat_core.commands import Away, Caller, Join, Leave, Ping, Say
from cloudchat_core.events import Left
from cloudchat_core.frames import Refusal
from cloudchat_core.limits import Limits
from cloudchat_core.presence import POLL_HOLD, Ending
from cloudchat_engine import Node
from tests.engine.world import ANN, BOB, RiggedLog, World, contents, kinds, ok, until

pytestmark = pytest.mark.anyio

HELD = 15
"""How long (seconds) a join without a feed counts as one."""


def here(node: Node) -> list[str]:
    return [held.nickname for held in node.state.participants.participants()]


class Feeds:
    """Feeds opened in a test, and the close codes they were ended with."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.ended: list[tuple[str, int]] = []

    def open(self, name: str, scopes: Sequence[str] = ()) -> None:
        def end(code: int) -> None:
            self.ended.append((name, code))
            self._node.close_feed(name, "lost")

        self._node.open_feed(name, end, scopes)


async def quiet(node: Node) -> None:
    """Return when everything that is due was done."""
    await anyio.wait_all_tasks_blocked()
    await ok(node, Ping("p"))


def reasons(records: Sequence[object]) -> list[str]:
    return [record.event.reason for record in records if isinstance(record.event, Left)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("ending", "after", "reason"),
    [("left", 0, "left"), ("away", 2, "disconnected"), ("lost", 5, "disconnected")],
)
async def test_who_has_no_feed_leaves_after_the_time_that_its_end_allows(
    ending: Ending, after: float, reason: str
) -> None:
    world = World()
    async with world.running() as node:
        Feeds(node).open("f")
        await ok(node, Join("j", "Ann", feed="f"))
        world.clock.advance(3600)
        await quiet(node)
        assert here(node) == ["Ann"]
        node.close_feed("f", ending)
        if after:
            world.clock.advance(after - 0.001)
            await quiet(node)
            assert here(node) == ["Ann"]
            world.clock.advance(0.001)
        await until(node, lambda: not here(node))
        assert reasons(await contents(world.log)) == [reason]


async def test_a_page_that_goes_away_is_gone_after_two_seconds_though_its_feed_serves_others() -> (
    None
):
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        await ok(node, Join("j", "Ann"), ANN)
        await ok(node, Join("j", "Bob"), BOB)
        feeds.open("shared", [ANN.scope, BOB.scope])
        await ok(node, Away("w", "j"), ANN)
        world.clock.advance(1.999)
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        world.clock.advance(0.001)
        await until(node, lambda: here(node) == ["Bob"])
        world.clock.advance(3600)
        await quiet(node)
        assert here(node) == ["Bob"]
        node.close_feed("shared", "lost")
        assert reasons(await contents(world.log)) == ["disconnected"]


async def test_a_feed_that_names_a_page_which_went_away_does_not_bring_it_back() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        await ok(node, Join("j", "Ann"), ANN)
        await ok(node, Join("j", "Bob"), BOB)
        await ok(node, Away("w", "j"), ANN)
        # The tab that shares its feed has not heard yet.
        feeds.open("shared", [ANN.scope, BOB.scope])
        world.clock.advance(2)
        await until(node, lambda: here(node) == ["Bob"])
        await ok(node, Join("j2", "Ann"), ANN)
        world.clock.advance(3600)
        await until(node, lambda: here(node) == ["Bob"])


async def test_a_reload_whose_feed_comes_before_its_join_is_served_by_it() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        await ok(node, Join("j", "Ann"), ANN)
        await ok(node, Away("w", "j"), ANN)
        feeds.open("poll", [ANN.scope])
        await ok(node, Join("j2", "Ann"), ANN)
        world.clock.advance(3600)
        await quiet(node)
        assert here(node) == ["Ann"]
        node.close_feed("poll", "left")
        await until(node, lambda: not here(node))
        assert reasons(await contents(world.log)) == ["left"]


async def test_of_too_many_feeds_that_wait_for_a_join_the_oldest_ends() -> None:
    world = World()
    async with world.running(limits=Limits(feeds_per_token=2)) as node:
        feeds = Feeds(node)
        await ok(node, Join("j", "Ann"), ANN)
        await ok(node, Away("w", "j"), ANN)
        for name in ("one", "two", "three"):
            feeds.open(name, [ANN.scope])
        await ok(node, Join("j2", "Ann"), ANN)
        assert feeds.ended == [("one", 4001)]


async def test_a_page_that_is_loaded_again_never_left() -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("j", "Ann"), ANN)
        await ok(node, Away("w", "j"), ANN)
        await ok(node, Join("j2", "Ann"), ANN)
        Feeds(node).open("f", [ANN.scope])
        # A goodbye that comes late is none.
        assert isinstance(await node.execute(Away("w", "j"), ANN), Refusal)
        world.clock.advance(3600)
        await quiet(node)
        assert here(node) == ["Ann"]
        assert reasons(await contents(world.log)) == []


async def test_a_feed_that_comes_back_in_time_leaves_no_trace() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        await ok(node, Join("j", "Ann", feed="f"))
        for turn in range(5):
            node.close_feed(f"{turn}" if turn else "f", "lost")
            world.clock.advance(4.9)
            feeds.open(str(turn + 1), [ANN.scope])
            world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann"]
        assert kinds(await contents(world.log)) == ["opened", "joined"]


async def test_one_open_feed_is_enough() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        await ok(node, Join("j", "Ann", feed="f"))
        feeds.open("g", [ANN.scope])
        node.close_feed("f", "left")
        world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann"]


async def test_a_ninth_feed_ends_the_oldest_and_nobody_leaves() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("0")
        await ok(node, Join("j", "Ann", feed="0"))
        for n in range(1, 10):
            feeds.open(str(n), [ANN.scope])
        assert feeds.ended == [("0", 4001), ("1", 4001)]
        world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann"]


async def test_a_feed_may_serve_several_participations() -> None:
    world = World()
    async with world.running() as node:
        Feeds(node).open("tabs", [ANN.scope, BOB.scope])
        await ok(node, Join("a", "Ann"))
        await ok(node, Join("b", "Bob"), BOB)
        world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        node.close_feed("tabs", "lost")
        world.clock.advance(5)
        await until(node, lambda: not here(node))


async def test_a_join_that_names_a_feed_without_room_counts_as_one_without_a_feed() -> None:
    world = World()
    async with world.running(limits=Limits(tokens_per_feed=1)) as node:
        Feeds(node).open("tabs")
        await ok(node, Join("a", "Ann", feed="tabs"))
        await ok(node, Join("b", "Bob", feed="tabs"), BOB)
        await ok(node, Join("c", "Anna", feed="tabs"))
        world.clock.advance(HELD - 0.001)
        await quiet(node)
        assert here(node) == ["Bob", "Anna"]
        world.clock.advance(0.001)
        await until(node, lambda: here(node) == ["Anna"])


async def test_a_join_without_a_feed_counts_as_one_for_a_while() -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("a", "Ann"))
        await ok(node, Join("b", "Bob", feed="gone"), BOB)
        world.clock.advance(HELD - 0.001)
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        world.clock.advance(0.001)
        await until(node, lambda: not here(node))


async def test_a_poll_counts_as_open_for_a_while_after_its_answer() -> None:
    world = World()
    async with world.running(grace=1) as node:
        feeds = Feeds(node)
        feeds.open("first")
        await ok(node, Join("j", "Ann", feed="first"))
        for poll in ("first", "second", "third"):
            feeds.open(poll, [ANN.scope])
            world.clock.advance(25)
            node.close_feed(poll, "lost", POLL_HOLD)
            world.clock.advance(4.9)
        await quiet(node)
        assert here(node) == ["Ann"]
        world.clock.advance(0.1)
        await until(node, lambda: not here(node))
        assert reasons(await contents(world.log)) == ["disconnected"]


async def test_a_grace_longer_than_that_holds_longer() -> None:
    world = World()
    async with world.running(grace=60) as node:
        await ok(node, Join("a", "Ann"))
        world.clock.advance(59)
        await quiet(node)
        assert here(node) == ["Ann"]
        world.clock.advance(1)
        await until(node, lambda: not here(node))


async def test_no_grace_means_at_once() -> None:
    world = World()
    async with world.running(grace=0) as node:
        Feeds(node).open("f")
        await ok(node, Join("j", "Ann", feed="f"))
        node.close_feed("f", "lost")
        await until(node, lambda: not here(node))


async def test_a_restart_gives_everybody_one_fresh_grace() -> None:
    world = World()
    async with world.running() as node:
        feeds = Feeds(node)
        for caller, name in ((ANN, "Ann"), (BOB, "Bob")):
            feeds.open(name)
            await ok(node, Join("j", name, feed=name), caller)
    world.clock.advance(3600)
    async with world.running() as node:
        world.clock.advance(4.9)
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        Feeds(node).open("back", [ANN.scope])
        world.clock.advance(0.1)
        await until(node, lambda: here(node) == ["Ann"])
        world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann"]
        assert kinds(await contents(world.log)).count("joined") == 2


async def test_a_departure_is_moot_when_who_was_gone_is_back_before_it_is_decided() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        feeds.open("b", [BOB.scope])
        await ok(node, Join("j", "Ann", feed="f"))
        await ok(node, Join("b", "Bob"), BOB)
        log.shut()
        node.submit(Say("1", "keeps the log busy"), BOB, lambda _: None)
        await log.wait_for_append()
        node.close_feed("f", "left")
        await anyio.wait_all_tasks_blocked()  # the departure waits for the next batch
        feeds.open("g", [ANN.scope])
        log.let_pass()
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        assert "left" not in kinds(await contents(log))


async def test_a_departure_is_moot_when_a_join_stands_before_it() -> None:
    """The join was acknowledged: who asked must not be sent away in the same breath."""
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        feeds.open("b", [BOB.scope])
        await ok(node, Join("j", "Ann", feed="f"))
        await ok(node, Join("b", "Bob"), BOB)
        log.shut()
        node.submit(Say("1", "keeps the log busy"), BOB, lambda _: None)
        await log.wait_for_append()
        node.submit(Join("k", "Ann"), ANN, lambda _: None)
        node.close_feed("f", "left")
        await anyio.wait_all_tasks_blocked()
        log.let_pass()
        await quiet(node)
        assert here(node) == ["Ann", "Bob"]
        world.clock.advance(HELD)
        await until(node, lambda: here(node) == ["Bob"])


async def test_a_departure_is_moot_when_a_join_stands_in_the_batch_before_that_is_not_answered_yet() -> (
    None
):
    """A batch may be decided while the one before is durable, but nobody was told so far."""
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        feeds.open("b", [BOB.scope])
        await ok(node, Join("j", "Ann", feed="f"))
        await ok(node, Join("b", "Bob"), BOB)
        log.shut()
        answers: list[object] = []
        node.submit(Join("k", "Ann"), ANN, answers.append)
        await log.wait_for_append()
        node.close_feed("f", "left")
        await anyio.wait_all_tasks_blocked()  # the departure waits for the next batch
        assert not answers
        log.let_pass()
        await quiet(node)
        assert answers
        assert here(node) == ["Ann", "Bob"]
        world.clock.advance(HELD)
        await until(node, lambda: here(node) == ["Bob"])


async def test_who_leaves_and_joins_again_on_an_open_feed_stays() -> None:
    world = World()
    async with world.running() as node:
        Feeds(node).open("f", [ANN.scope])
        await ok(node, Join("1", "Ann"))
        await ok(node, Leave("2"))
        assert here(node) == []
        await ok(node, Join("3", "Ann"))
        world.clock.advance(60)
        await quiet(node)
        assert here(node) == ["Ann"]
        node.close_feed("f", "lost")
        world.clock.advance(5)
        await until(node, lambda: not here(node))


async def test_a_leave_that_is_sent_again_does_not_make_a_ghost() -> None:
    world = World()
    async with world.running() as node:
        await ok(node, Join("1", "Ann"))
        await ok(node, Leave("2"))
        await ok(node, Join("3", "Ann"))
        await ok(node, Leave("2"))
        assert here(node) == ["Ann"]
        world.clock.advance(HELD)
        await until(node, lambda: not here(node))


async def test_who_left_of_itself_does_not_leave_twice() -> None:
    world = World()
    async with world.running() as node:
        Feeds(node).open("f", [ANN.scope])
        await ok(node, Join("1", "Ann"))
        await ok(node, Leave("2"))
        node.close_feed("f", "lost")
        world.clock.advance(60)
        await quiet(node)
        assert reasons(await contents(world.log)) == ["left"]


async def test_a_feed_of_somebody_who_never_joined_changes_nothing() -> None:
    world = World()
    async with world.running() as node:
        Feeds(node).open("f", [BOB.scope])
        node.close_feed("f", "left")
        node.close_feed("f", "left")
        node.close_feed("never opened", "lost")
        await quiet(node)
        assert kinds(await contents(world.log)) == ["opened"]


async def test_a_departure_waits_for_a_log_that_is_full_and_keeps_its_reason() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running(grace=60) as node:
        feeds = Feeds(node)
        feeds.open("f")
        feeds.open("b", [BOB.scope])
        await ok(node, Join("j", "Ann", feed="f"))
        await ok(node, Join("b", "Bob"), BOB)
        log.full = True
        node.close_feed("f", "left")
        for _ in range(3):
            await anyio.wait_all_tasks_blocked()
            world.clock.advance(1)
        assert here(node) == ["Ann", "Bob"]
        log.full = False
        world.clock.advance(1)
        await until(node, lambda: here(node) == ["Bob"])
        assert reasons(await contents(log)) == ["left"]


async def test_who_comes_back_while_its_departure_waits_for_the_log_stays() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        feeds = Feeds(node)
        feeds.open("f")
        await ok(node, Join("j", "Ann", feed="f"))
        log.full = True
        node.close_feed("f", "left")
        await anyio.wait_all_tasks_blocked()
        feeds.open("g", [ANN.scope])
        log.full = False
        world.clock.advance(1)
        await quiet(node)
        await ok(node, Say("s", "still here"))
        assert "left" not in kinds(await contents(log))


async def test_a_crowd_that_is_lost_at_once_leaves_in_one_batch() -> None:
    log = RiggedLog()
    world = World(log)
    async with world.running() as node:
        feeds = Feeds(node)
        for n in range(300):
            scope = f"{n:064}"
            feeds.open(str(n))
            await ok(node, Join("j", f"guest {n}", feed=str(n)), Caller(scope))
        appends = len(log.appended)
        for n in range(300):
            node.close_feed(str(n), "lost")
        world.clock.advance(5)
        await until(node, lambda: not here(node))
        assert len(log.appended) - appends <= 3
