"""A whole server as one application: run by an ASGI server's lifespan, or mounted in the example's site."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import httpx
import hypercorn.asyncio
import hypercorn.trio
import pytest
from hypercorn.config import Config

from cloudchat_core import Closing, Message
from cloudchat_engine import LogUnavailableError, Opened
from cloudchat_engine.logs import MemoryLog
from cloudchat_transports.client import Client, Disconnected
from cloudchat_transports.embedding import CloudchatApp

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.anyio

EXAMPLE = Path(__file__).parents[2] / "examples" / "mount_starlette.py"


class NoLog(MemoryLog):
    """A log that cannot be opened."""

    async def open(self) -> Opened:
        raise LogUnavailableError("the disk is not there")


async def test_the_servers_lifespan_runs_the_node(anyio_backend_name: str) -> None:
    config, over = Config(), anyio.Event()
    app: Any = CloudchatApp(MemoryLog())
    serve = hypercorn.trio.serve if anyio_backend_name == "trio" else hypercorn.asyncio.serve

    async def stop() -> None:
        await over.wait()
        await app.wind_down()

    with socket.create_server(("127.0.0.1", 0)) as listening, anyio.fail_after(30):
        config.bind = [f"fd://{os.dup(listening.fileno())}"]
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(serve, app, config, shutdown_trigger=stop))
            async with Client(url, nickname="Ann", transport="sse") as client:
                await client.say("hello")
                over.set()
                async for item in client:
                    if isinstance(item, Disconnected):
                        assert item.why == "the server restarts"
                        break


async def test_a_log_that_cannot_be_opened_fails_the_start_with_its_reason() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await CloudchatApp(NoLog())({"type": "lifespan"}, receive, send)
    assert sent == [{"type": "lifespan.startup.failed", "message": "the disk is not there"}]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The example as a program, and its URL."""
    with subprocess.Popen(
        [sys.executable, str(EXAMPLE), "0"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as program:
        assert program.stderr is not None
        try:
            for line in program.stderr:
                if found := re.search(r"running on (http://\S+)", line):
                    yield program, found[1]
                    break
        finally:
            program.kill()


async def test_the_example_serves_the_chat_inside_of_its_site(
    example: tuple[subprocess.Popen[str], str],
) -> None:
    _, url = example
    with anyio.fail_after(30):
        for transport in ("ws", "sse", "poll"):
            async with Client(f"{url}/chat", nickname="Ann", transport=transport) as client:
                await client.say(f"hello over {transport}")
                async for item in client:
                    if isinstance(item, Message):
                        assert item.text.startswith("hello over")
                        break
                async with httpx.AsyncClient() as web:
                    assert (await web.get(url)).text.startswith("1 of us")


async def test_the_example_lets_its_clients_go_in_order(
    example: tuple[subprocess.Popen[str], str],
) -> None:
    program, url = example
    with anyio.fail_after(30):
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(Client(f"{url}/chat", transport=transport))
                for transport in ("ws", "sse", "poll")
            ]
            program.send_signal(signal.SIGTERM)
            for client in clients:
                async for item in client:
                    if isinstance(item, Closing):
                        assert 0 < item.retry_after <= 5
                        break
            _, log = await anyio.to_thread.run_sync(program.communicate)
    assert "Application shutdown complete" in log
    assert "ERROR" not in log
