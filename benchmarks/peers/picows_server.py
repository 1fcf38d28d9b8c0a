"""picows on uvloop: what comes is sent on to all transports in a loop."""

import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

transports: set[WSTransport] = set()


class Listener(WSListener):
    """One connection."""

    def on_ws_connected(self, transport: WSTransport) -> None:
        """It is open."""
        transports.add(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """It is gone."""
        transports.discard(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Send a text on to everybody, answer a ping."""
        if frame.msg_type == WSMsgType.TEXT:
            message = frame.get_payload_as_bytes()
            for other in transports:
                other.send(WSMsgType.TEXT, message)
        elif frame.msg_type == WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())


def listener(_: WSUpgradeRequest) -> Listener:
    """Return what listens to a new connection."""
    return Listener()


async def main() -> None:
    """Serve at the port that is named on the command line."""
    server = await ws_create_server(listener, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await server.serve_forever()


uvloop.run(main())
