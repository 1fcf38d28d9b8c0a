"""Three people talk on while their server is killed again and again."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from cloudchat_core.client_session import Uncertain
from cloudchat_core.events import Left, Message
from cloudchat_core.frames import Gap
from cloudchat_transports.client import Client, NicknameLost
from tests.cli.program import ABSENCE, Server
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

KILLS = 3
EACH = 25
"""Messages of each, before every kill and after the last."""


class Talker:
    """Says one thing after the other, and writes down what it hears."""

    def __init__(self, nickname: str) -> None:
        self.nickname = nickname
        self.said: list[str] = []
        self.heard: list[tuple[str, str]] = []
        self.odd: list[object] = []
        self._enough = anyio.Event()
        self._goal = 0

    async def says(self, number: int) -> None:
        """Wait until it has said `number` things, and heard them from all three."""
        self._goal, self._enough = number, anyio.Event()
        await self._enough.wait()

    async def run(self, url: str) -> None:
        async with (
            Client(url, nickname=self.nickname) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._listen, client)
            while True:
                text = f"{self.nickname} {len(self.said)}"
                await client.say(text)
                self.said.append(text)
                if len(self.said) >= self._goal:
                    self._enough.set()

    async def _listen(self, client: Client) -> None:
        async for item in client:
            if isinstance(item, Message):
                self.heard.append((item.cursor, item.text))
            elif isinstance(item, (Gap, Left, NicknameLost, Uncertain)):
                self.odd.append(item)


@pytest.mark.anyio
async def test_what_is_said_through_kills_is_heard_once_by_all_in_one_order_and_nobody_left(
    tmp_path: Path,
) -> None:
    options = ("--log", f"sqlite:{tmp_path / 'log'}", "--limit", "commands_per_second=0", *ABSENCE)
    port = free_port()
    talkers = [Talker(nickname) for nickname in ("Ann", "Bob", "Cat")]
    server = Server(*options, port=port)
    try:
        with anyio.fail_after(240):
            async with anyio.create_task_group() as tasks:
                for talker in talkers:
                    tasks.start_soon(talker.run, server.url)
                for kill in range(1, KILLS + 1):
                    for talker in talkers:
                        await talker.says(kill * EACH)
                    server.signal(signal.SIGKILL)
                    await anyio.to_thread.run_sync(server.ended)
                    server.__exit__(None, None, None)
                    restart = partial(Server, *options, port=port)
                    server = await anyio.to_thread.run_sync(restart)
                for talker in talkers:
                    await talker.says((KILLS + 1) * EACH)
                odd = [item for talker in talkers for item in talker.odd]
                said = {talker.nickname: list(talker.said) for talker in talkers}
                async with Client(server.url) as late:
                    end = (await late.ping()).cursor
                while any(number(talker.heard[-1][0]) < number(end) for talker in talkers):
                    await talkers[0].says(len(talkers[0].said) + 1)
                tasks.cancel_scope.cancel()
    finally:
        server.__exit__(None, None, None)
    assert odd == []
    heard = [
        [pair for pair in talker.heard if number(pair[0]) <= number(end)] for talker in talkers
    ]
    # Who came first heard the most; from where all were there, all heard the same.
    common = min(map(len, heard))
    assert heard[0][-common:] == heard[1][-common:] == heard[2][-common:]
    for talker in talkers:
        texts = [text for _, text in talker.heard]
        assert len(set(texts)) == len(texts)
        own = [text for text in texts if text.startswith(talker.nickname)]
        assert own[: len(said[talker.nickname])] == said[talker.nickname]


def number(cursor: str) -> int:
    """The offset of a cursor: it goes on through restarts."""
    return int(cursor.rpartition("-")[2])
