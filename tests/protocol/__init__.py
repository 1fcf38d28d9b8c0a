"""Facts about the wire protocol, as somebody sees them who has docs/protocol.md and stock clients only."""
