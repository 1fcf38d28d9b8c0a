"""A kit that tells whether a transport of your own keeps what the protocol and `client_transport` promise.

It needs what `pip install cloudchat[testing]` adds: pytest (anyio brings the plugin that runs it).
"""

from cloudchat_transports.testing.kit import TransportContract
from cloudchat_transports.testing.world import Peer, Served, ServerFactory

__all__ = ["Peer", "Served", "ServerFactory", "TransportContract"]
