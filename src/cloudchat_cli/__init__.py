"""The command line; the only place that wires everything from its configuration."""

__all__: list[str] = []
