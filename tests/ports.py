"""Ports of the loopback interface."""

import socket


def free_port() -> int:
    """Return a port that the system gives to nobody else while this process lives; whoever names it can have it.

    A server that is killed and started again comes back on it, whatever runs beside. And its clients, who meanwhile
    call at a port where nobody listens, are not given that very port to call from, and connected to themselves.
    """
    with socket.socket() as kept:
        # Bound and not listening, it is in the way of nobody who sets SO_REUSEADDR too, as servers do.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port: int = kept.getsockname()[1]
        kept.detach()
    return port
