"""Strategies and state machines to test the core with, and whatever is built on it."""

__all__: list[str] = []
