"""The WebSocket transport."""

__all__: list[str] = []
