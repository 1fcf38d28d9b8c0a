"""The command line; the only place that wires everything from its configuration."""

from cloudchat_cli.app import main

__all__ = ["main"]
