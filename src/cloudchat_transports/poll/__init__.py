"""The long-polling transport: a feed that lasts one answer, commands by POST."""

__all__: list[str] = []
