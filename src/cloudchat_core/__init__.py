"""The protocol core of cloudchat: decides, and does nothing else."""

__all__: list[str] = []
