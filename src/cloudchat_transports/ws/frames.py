"""The frames that a server sends, as RFC 6455 §5.2 lays them out: never masked, never fragmented, never compressed."""

from typing import Final

_FIN: Final = 0x80
_TEXT, _CLOSE, _PING, _PONG = _FIN | 0x1, _FIN | 0x8, _FIN | 0x9, _FIN | 0xA
_LARGEST_CONTROL: Final = 125


def text_frame(payload: bytes) -> bytes:
    """Frame one message of UTF-8 text."""
    size = len(payload)
    if size < 126:
        return bytes((_TEXT, size)) + payload
    if size < 65_536:
        return bytes((_TEXT, 126, size >> 8, size & 255)) + payload
    return bytes((_TEXT, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Frame the end of the connection; a reason too long for a control frame (§5.5) is cut."""
    text = reason.encode()[: _LARGEST_CONTROL - 2].decode(errors="ignore").encode()
    return echo_frame(code.to_bytes(2, "big") + text)


def echo_frame(payload: bytes) -> bytes:
    """Frame the answer to a close frame with this payload: the same (§5.5.1)."""
    return bytes((_CLOSE, len(payload))) + payload


def pong_frame(payload: bytes) -> bytes:
    """Frame the answer to a ping with this payload (§5.5.3)."""
    return bytes((_PONG, len(payload))) + payload


PING: Final = bytes((_PING, 0))
"""A ping without a payload; any byte that comes afterwards answers it."""
