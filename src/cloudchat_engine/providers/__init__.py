"""Providers: what really runs the instances."""

from cloudchat_engine.providers.simulated import SimulatedProvider

__all__ = ["SimulatedProvider"]
