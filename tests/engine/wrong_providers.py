"""Providers and timers that break one promise each, and the test of the kit that says so."""

import time

import anyio
import anyio.lowlevel

from cloudchat_core.clock import ManualClock
from cloudchat_engine import ManualTimer, ProviderError, Work
from examples.folder_provider import FolderProvider, State


class TakesLessThanNoTime(FolderProvider):
    fails = "test_it_has_a_name_and_says_how_long_things_take"

    def expected(self, command: str) -> float:
        return -1


class StartsTwice(FolderProvider):
    fails = "test_what_it_ensures_is_so_however_often_it_is_asked"

    async def ensure_running(self, work: Work) -> None:
        if await self.observe(work) == "running":
            (self._folder / f"{work.instance}.second").write_text("running")
        await super().ensure_running(work)

    async def list_owned(self) -> list[str]:
        return [name.removesuffix(".second") for name in await super().list_owned()]


class MustHaveSomethingToRemove(FolderProvider):
    fails = "test_what_was_never_made_is_removed_already"

    async def ensure_absent(self, work: Work) -> None:
        (self._folder / work.instance).unlink()


class RefusesWhatIsSo(FolderProvider):
    fails = "test_what_is_so_already_is_ensured_by_another_operation_too"

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self._done: dict[str, str] = {}

    async def ensure_running(self, work: Work) -> None:
        if await self.observe(work) == "running" and self._done[work.instance] != work.operation:
            raise ProviderError("running", "it runs already")
        self._done[work.instance] = work.operation
        await super().ensure_running(work)


class HasOneForAll(FolderProvider):
    fails = "test_what_is_done_to_one_instance_changes_no_other"

    def _write(self, work: Work, state: State) -> None:
        super()._write(work, state)
        for file in self._folder.iterdir():
            file.write_text(state)


class TakesAllAlongWhenItCloses(FolderProvider):
    fails = "test_what_it_keeps_is_listed_once_and_is_there_for_who_comes_next"

    async def aclose(self) -> None:
        for file in self._folder.iterdir():
            file.unlink()


class LeavesHalfAnInstance(FolderProvider):
    fails = "test_what_cannot_be_made_is_said_with_a_reason_and_leaves_nothing"

    async def ensure_stopped(self, work: Work) -> None:
        self._write(work, "stopped")
        await super().ensure_stopped(work)


class TakesHalfForWhole(FolderProvider):
    fails = "test_work_that_was_cut_short_anywhere_is_finished_by_asking_again"

    async def ensure_running(self, work: Work) -> None:
        begun = self._folder / f".{work.instance}.begun"
        if begun.exists():
            return
        begun.touch()
        await anyio.lowlevel.checkpoint()
        await super().ensure_running(work)
        begun.unlink()


class StopsNothing(FolderProvider):
    fails = "test_a_node_sees_an_instance_through_its_life"

    async def ensure_stopped(self, work: Work) -> None:
        if work.command == "stop":
            raise RuntimeError("not today")
        await super().ensure_stopped(work)


PROVIDERS: list[type[FolderProvider]] = FolderProvider.__subclasses__()


class WaitsForNews(ManualTimer):
    fails = "test_a_moment_that_has_come_is_not_waited_for"

    async def wait_until(self, deadline: int) -> None:
        with anyio.fail_after(0.1):
            await super().wait_until(max(deadline, self._clock.now() + 1))


class IsEarly(ManualTimer):
    fails = "test_a_wait_ends_when_the_moment_has_come_and_not_before"

    async def wait_until(self, deadline: int) -> None:
        await super().wait_until(deadline - 1)


class WakesNobodyAfterOneHasLeft(ManualTimer):
    fails = "test_a_wait_can_be_given_up_and_the_others_go_on"

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self._left = False

    async def wait_until(self, deadline: int) -> None:
        try:
            await super().wait_until(deadline)
        except anyio.get_cancelled_exc_class():
            self._left = True
            raise
        assert not self._left


class HoldsUpTheLoop(ManualTimer):
    fails = "test_the_event_loop_goes_on_meanwhile"

    async def wait_until(self, deadline: int) -> None:
        while (left := deadline - self._clock.now()) > 0:
            time.sleep(0.001)  # noqa: ASYNC251 - that is what is wrong
            self._clock.advance(left / 1_000)


TIMERS: list[type[ManualTimer]] = ManualTimer.__subclasses__()
