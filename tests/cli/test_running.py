"""How a signal ends what a command does."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import pytest

from cloudchat_cli.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """No test changes what a signal does to the others."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_what_waits_in_order_and_gives_its_number(number: signal.Signals) -> None:
    parted: list[str] = []

    async def command() -> None:
        try:
            signal.raise_signal(number)
            parted.append("goes on to where it waits")
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                parted.append("leaves")

    with pytest.raises(SystemExit) as ended:
        run(command)
    assert ended.value.code == 128 + number
    assert parted == ["goes on to where it waits", "leaves"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_second_signal_ends_what_does_not_wait(number: signal.Signals) -> None:
    async def command() -> None:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(number)
        raise AssertionError("it went on")

    with pytest.raises(SystemExit) as ended:
        run(command)
    assert ended.value.code == 128 + signal.SIGTERM


def test_a_signal_that_was_ignored_stays_ignored() -> None:
    """As below `nohup`, or in the background of a script."""

    async def command() -> str:
        signal.raise_signal(signal.SIGHUP)
        await anyio.lowlevel.checkpoint()
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(command) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


def test_what_goes_wrong_while_a_signal_ends_it_is_not_what_it_ends_with() -> None:
    async def command() -> None:
        signal.raise_signal(signal.SIGINT)
        try:
            await anyio.sleep_forever()
        finally:
            raise OSError("the other end is gone")

    with pytest.raises(SystemExit) as ended:
        run(command)
    assert ended.value.code == 130


def test_without_a_signal_a_command_ends_with_its_own_result_or_error() -> None:
    async def fail() -> None:
        await anyio.lowlevel.checkpoint()
        raise OSError("no room")

    async def succeed(number: int) -> int:
        await anyio.lowlevel.checkpoint()
        return number

    assert run(succeed, 3) == 3
    with pytest.raises(OSError, match="no room"):
        run(fail)
