"""What a client sends, frame by frame (RFC 6455 §5), without any I/O: bytes in, messages and control frames out.

Written by hand because reading is a good part of what a command costs: wsproto's engine takes frames of every kind in
pieces of any size, with several objects for each, and holds 1.7 kB a connection. Here a frame is looked at once it is
complete, and the usual one, a whole masked text message, costs one look at its head and one exclusive-or.

What is not complete yet is kept as it came, at most one frame of a message that is within the limit: a frame that
announces more is refused as soon as its head is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cloudchat_core.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Iterator

PROTOCOL_ERROR, UNSUPPORTED_DATA, INVALID_DATA, MESSAGE_TOO_BIG = 1002, 1003, 1007, 1009
NO_CODE: Final = 1005
"""What a close without a code counts as (§7.4.1); it is never sent."""

TEXT, CLOSE, PING, PONG = 0x81, 0x88, 0x89, 0x8A
"""First bytes of whole frames: the final bit and the opcode. `TEXT` also stands for a message that came in pieces."""
PART: Final = 0x01
"""Stands for a piece of a message, with more to come."""

_FIN, _RESERVED, _OPCODE, _MASKED = 0x80, 0x70, 0x0F, 0x80
_CONTINUATION, _TEXT, _BINARY, _CONTROL, _LAST = 0x0, 0x1, 0x2, 0x8, 0xA
_SHORT: Final = 125  # the longest payload whose length stands in the second byte, and the longest of a control frame


class FrameReader:
    """The frames of one client; messages have at most `limit` bytes."""

    __slots__ = ("_limit", "_message", "_rest", "_wanted")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest: bytearray | None = None  # a frame that is not complete
        self._wanted = 0  # how long the rest has to be before it is worth a look
        self._message: bytearray | None = None  # one that came in pieces, so far

    def read(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take what came; yield `TEXT` with each message, `PART`, `PING`, `PONG` and `CLOSE` with their payloads.

        Raises `RemoteProtocolError` behind what was in order; nothing may be read afterwards, nor after a `CLOSE`.
        """
        if self._rest is not None:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), None
        at, end, wanted = 0, len(data), 2
        while end - at >= 2:
            first, size, mask = data[at], data[at + 1] - _MASKED, at + 2
            if first != TEXT or self._message is not None or size < 0:
                self._check(first, size)
            if size > _SHORT:
                mask = at + (4 if size == _SHORT + 1 else 10)
                if end < mask:
                    wanted = mask - at
                    break
                size = _long(size, data[at + 2 : mask])
            if size > self._limit - (0 if self._message is None else len(self._message)) and (
                first & _OPCODE < _CONTROL
            ):
                raise RemoteProtocolError(
                    f"a message is at most {self._limit} bytes", MESSAGE_TOO_BIG
                )
            begin = mask + 4
            stop = begin + size
            if end < stop:
                wanted = stop - at
                break
            # An exclusive-or of two numbers is the quickest that Python has for bytes.
            key = (data[mask:begin] * (size // 4 + 1))[:size]
            payload = (
                int.from_bytes(data[begin:stop], "little") ^ int.from_bytes(key, "little")
            ).to_bytes(size, "little")
            at, wanted = stop, 2
            if first & _OPCODE <= _TEXT:
                yield self._text(first, payload)
            else:
                yield first, payload
        if at < end:
            self._rest, self._wanted = bytearray(data[at:]), wanted

    def _check(self, first: int, size: int) -> None:
        """Refuse a frame by its first two bytes."""
        opcode = first & _OPCODE
        if size < 0:
            _violated("a client's frames are masked")
        if first & _RESERVED:
            _violated("a reserved bit is set")
        if opcode >= _CONTROL:
            if opcode > _LAST:
                _violated("there is no such frame")
            if size > _SHORT or not first & _FIN:
                _violated("a control frame is short, and whole")
        elif opcode > _BINARY:
            _violated("there is no such frame")
        elif (opcode == _CONTINUATION) is (self._message is None):
            _violated("a message goes on that never began, or begins before the last has ended")
        elif opcode == _BINARY:
            raise RemoteProtocolError("messages are text", UNSUPPORTED_DATA)

    def _text(self, first: int, payload: bytes) -> tuple[int, bytes]:
        """Return a message once it is whole, a part of it before that."""
        if self._message is None and not first & _FIN:
            self._message = bytearray()
        if self._message is not None:
            self._message += payload
            if not first & _FIN:
                return PART, payload
            payload, self._message = bytes(self._message), None
        if not payload.isascii():
            _decoded(payload)
        return TEXT, payload


def close_code(payload: bytes) -> int:
    """Return the code in the payload of a close frame (§5.5.1, §7.4); raises `RemoteProtocolError`."""
    if not payload:
        return NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) == 1 or not (
        1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code < 5000
    ):
        _violated("a close frame has a code that may be sent, or none")
    _decoded(payload[2:])
    return code


def _long(size: int, given: bytes) -> int:
    """Return a length that stands in bytes of its own, in as few as it takes (§5.2)."""
    length = int.from_bytes(given, "big")
    if length <= (_SHORT if size == _SHORT + 1 else 0xFFFF) or length >> 63:
        _violated("a length is written in as few bytes as it takes")
    return length


def _decoded(text: bytes) -> None:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise RemoteProtocolError(f"this is not UTF-8: {error.reason}", INVALID_DATA) from None


def _violated(detail: str) -> None:
    raise RemoteProtocolError(detail, PROTOCOL_ERROR)
