"""A bot in twenty lines: it answers whoever says its name, and says when an instance fails.

Start a server (`cloudchat serve`), then `python examples/echo.py [URL]`. Ctrl-C ends it. It comes back by itself when
the server restarts, and answers what was said meanwhile: once.
"""

# ruff: noqa: INP001 - a lone file, not a package

import sys

import anyio

from cloudchat_core import Failed, Message
from cloudchat_transports.client import Client


async def main(server: str) -> None:
    """Take part until somebody stops it."""
    async with Client(server, nickname="Echo") as client:
        async for item in client:
            match item:
                case Message(nickname=author, text=text) if author != client.nickname:
                    if text.casefold().startswith("echo"):
                        await client.say(f"{author} said: {text}")
                case Failed(instance=instance, detail=detail):
                    await client.say(f"{instance.id} is in trouble: {detail}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000")
