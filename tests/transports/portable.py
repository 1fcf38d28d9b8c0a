"""The same application under the ASGI servers that people have, alone or inside of somebody's site."""

from __future__ import annotations

import os
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import hypercorn.asyncio
import hypercorn.trio
import uvicorn
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.routing import Mount

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Place(NamedTuple):
    """Where an application runs: under which server, on which event loop, mounted where."""

    server: str
    backend: str
    root: str = ""

    def __str__(self) -> str:
        return "-".join(filter(None, (self.server, self.backend, self.root.strip("/"))))


PLACES = (
    Place("hypercorn", "asyncio"),
    Place("hypercorn", "trio"),
    Place("uvicorn", "asyncio"),
    Place("hypercorn", "trio", "/chat"),
    Place("uvicorn", "asyncio", "/chat"),
)


@asynccontextmanager
async def listening(place: Place, app: Any) -> AsyncIterator[str]:
    """Serve `app` there; the URL of what it serves."""
    if place.root:
        app = Starlette(routes=[Mount(place.root, app=app)])
    # It listens before the server runs: whoever connects early waits for it.
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        async with anyio.create_task_group() as tasks:
            if place.server == "uvicorn":
                server = uvicorn.Server(
                    uvicorn.Config(
                        app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1
                    )
                )
                tasks.start_soon(partial(server.serve, sockets=[sock]))
                yield f"http://127.0.0.1:{port}{place.root}"
                server.should_exit = True
            else:
                over, config = anyio.Event(), Config()
                config.bind = [f"fd://{os.dup(sock.fileno())}"]
                config.graceful_timeout = 1
                serve = hypercorn.trio.serve if place.backend == "trio" else hypercorn.asyncio.serve
                tasks.start_soon(partial(serve, app, config, shutdown_trigger=over.wait))
                yield f"http://127.0.0.1:{port}{place.root}"
                over.set()
