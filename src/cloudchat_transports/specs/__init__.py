"""The served specifications: what the protocol is, for programs to read (OpenAPI 3.1 and AsyncAPI 3.0)."""

__all__: list[str] = []
