"""The commands and their options, by group.

What a command needs is imported when it runs, so that `--help` is there at once.
"""

__all__: list[str] = []
