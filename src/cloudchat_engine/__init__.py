"""Runs the core: durable logs, providers, and the one loop between them."""

__all__: list[str] = []
