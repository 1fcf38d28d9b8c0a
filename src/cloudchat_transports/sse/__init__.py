"""The event-stream transport (WHATWG HTML §9.2): a feed over one long HTTP answer, commands by POST."""

__all__: list[str] = []
