"""The kits find what breaks a promise: each of their tests fails something that is wrong."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from cloudchat_core.clock import ManualClock
from cloudchat_engine import ManualTimer, Timer
from cloudchat_engine.logs import MemoryLog, SqliteLog, sqlite_reader
from cloudchat_engine.testing import (
    CheckedLogContract,
    DurableLogContract,
    DurableLogMachine,
    LogContract,
    LogFactory,
    LogMachine,
    ProviderContract,
    Timed,
    TimerContract,
)
from examples.folder_provider import FolderProvider
from examples.journal_log import JournalLog
from tests.engine import wrong_logs, wrong_providers
from tests.engine.kits import fails, names
from tests.engine.test_logs import spoiler

CHANGED = "test_a_record_that_was_changed_is_named_and_not_served"


class Provider(ProviderContract):
    impossible = {"size": "large"}  # noqa: RUF012 - as in the kit


def each(make: Callable[[Path], dict[str, Any]], directory: Path) -> Callable[[], dict[str, Any]]:
    """Return fixtures over another place each time."""
    numbers = itertools.count()

    def fixtures() -> dict[str, Any]:
        place = directory / str(next(numbers))
        place.mkdir(parents=True)
        return make(place)

    return fixtures


def log_fixtures(kind: Callable[..., Any], durable: bool, place: Path) -> dict[str, Any]:
    return {"make_log": (lambda: kind(place / "log")) if durable else kind}


@pytest.mark.parametrize("wrong", wrong_logs.IN_MEMORY, ids=lambda kind: kind.__name__)
def test_a_log_that_breaks_a_promise_is_found(wrong: Any, tmp_path: Path) -> None:
    for kind in (wrong, MemoryLog):
        make = each(partial(log_fixtures, kind, False), tmp_path / kind.__name__)
        assert fails(LogContract, wrong.fails, make) == (kind is wrong)


@pytest.mark.parametrize("wrong", wrong_logs.DURABLE, ids=lambda kind: kind.__name__)
def test_a_durable_log_that_breaks_a_promise_is_found(wrong: Any, tmp_path: Path) -> None:
    for kind in (wrong, JournalLog):
        make = each(partial(log_fixtures, kind, True), tmp_path / kind.__name__)
        assert fails(DurableLogContract, wrong.fails, make) == (kind is wrong)


def test_a_log_that_believes_what_stands_in_its_file_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fixtures(place: Path) -> dict[str, Any]:
        return {"make_log": lambda: SqliteLog(place / "log"), "spoil": spoiler(place / "log")}

    assert not fails(CheckedLogContract, CHANGED, each(fixtures, tmp_path / "right"))
    monkeypatch.setattr(sqlite_reader, "sound", lambda _row: True)
    assert fails(CheckedLogContract, CHANGED, each(fixtures, tmp_path / "wrong"))


@pytest.mark.parametrize("wrong", wrong_providers.PROVIDERS, ids=lambda kind: kind.__name__)
def test_a_provider_that_breaks_a_promise_is_found(wrong: Any, tmp_path: Path) -> None:
    for kind in (wrong, FolderProvider):

        def make(place: Path, kind: Any = kind) -> dict[str, Any]:
            return {"make_provider": lambda _timer: kind(place / "instances")}

        make_each = each(make, tmp_path / kind.__name__)
        assert fails(Provider, wrong.fails, make_each) == (kind is wrong)


@pytest.mark.parametrize("wrong", wrong_providers.TIMERS, ids=lambda kind: kind.__name__)
def test_a_timer_that_breaks_a_promise_is_found(wrong: Any) -> None:
    for kind in (wrong, ManualTimer):
        given = {"make_timer": partial(timed, kind)}
        assert fails(TimerContract, wrong.fails, given.copy) == (kind is wrong)


def timed(kind: Callable[[ManualClock], Timer]) -> Timed:
    clock = ManualClock()
    return Timed(clock, kind(clock), clock.advance)


def test_every_test_of_the_kits_is_one_that_can_fail() -> None:
    wrong: list[Any] = [
        *wrong_logs.IN_MEMORY,
        *wrong_logs.DURABLE,
        *wrong_providers.PROVIDERS,
        *wrong_providers.TIMERS,
    ]
    assert {CHANGED, *(kind.fails for kind in wrong)} == names(
        CheckedLogContract, Provider, TimerContract
    )


@pytest.mark.parametrize(
    "wrong",
    [
        wrong_logs.PagesIgnoreBefore,
        wrong_logs.ErasesBeforeItLooks,
        wrong_logs.SplitsBatches,
        wrong_logs.DropsWhatFollowsTheSnapshot,
        wrong_logs.LosesTheLastAtEachStart,
    ],
    ids=lambda kind: kind.__name__,
)
def test_the_state_machine_finds_it_too(wrong: Any) -> None:
    durable = issubclass(wrong, JournalLog)

    class Machine(DurableLogMachine if durable else LogMachine):  # type: ignore[misc]
        @contextmanager
        def storage(self) -> Iterator[LogFactory]:
            with TemporaryDirectory() as directory:
                yield (lambda: wrong(Path(directory, "journal"))) if durable else wrong

    few = settings(
        max_examples=200,
        phases=[Phase.generate],
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Machine, settings=few)
