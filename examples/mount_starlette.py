"""cloudchat inside of somebody's site: a Starlette application with a page of its own, and the chat at /chat.

Run `python examples/mount_starlette.py [PORT]`, then `cloudchat chat Ann --server http://127.0.0.1:8000/chat`. It takes
`pip install . starlette uvicorn`; FastAPI is mounted in the same way.
"""

# ruff: noqa: INP001 - a lone file, not a package

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from cloudchat_engine.logs import SqliteLog
from cloudchat_transports.embedding import CloudchatApp

chat = CloudchatApp(SqliteLog("chat.db"))


async def home(request: Request) -> PlainTextResponse:
    """Answer with something of the site's own, that knows the chat."""
    here = len(chat.node.state.participants.items())
    return PlainTextResponse(f"{here} of us are in the chat, at {request.url}chat\n")


@asynccontextmanager
async def lifespan(site: Starlette) -> AsyncIterator[None]:
    """A mounted application hears nothing of the server's lifespan: the site's own runs the chat."""
    async with chat.running():
        yield


site = Starlette(routes=[Route("/", home), Mount("/chat", app=chat)], lifespan=lifespan)


class Server(uvicorn.Server):
    """Lets clients go in order, before uvicorn waits for their connections to end."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the server."""
        await chat.wind_down()
        await super().shutdown(sockets)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    Server(uvicorn.Config(site, port=port)).run()
