"""How clients reach a node: WebSocket and HTTP, each with a server and a client half."""

__all__: list[str] = []
