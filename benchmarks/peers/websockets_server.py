"""The library `websockets` on uvloop: what comes is sent on with its `broadcast`."""

import logging
import sys

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

connections: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Send all that one client says to everybody."""
    connections.add(connection)
    try:
        async for message in connection:
            broadcast(connections, message)
    finally:
        connections.discard(connection)


async def main() -> None:
    """Serve at the port that is named on the command line."""
    logging.disable(logging.CRITICAL)
    async with serve(
        handle,
        "127.0.0.1",
        int(sys.argv[1]),
        backlog=4096,
        compression=None,
        open_timeout=60,
        ping_interval=None,
    ) as server:
        await server.serve_forever()


uvloop.run(main())
