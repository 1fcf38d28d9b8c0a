"""A kit that tells whether a transport of your own keeps what the protocol and `client_transport` promise.

It needs what `pip install cloudchat[testing]` adds: pytest (anyio brings the plugin that runs it).
"""

from cloudchat_transports.testing.kit import Peer, Served, ServerFactory, TransportContract

__all__ = ["Peer", "Served", "ServerFactory", "TransportContract"]
