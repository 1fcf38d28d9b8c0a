"""A frame as an event of an event stream: `event:` its type, `id:` its cursor where it moves one, `data:` the JSON.

What is needed of a frame is read from its first bytes, not by decoding it again: our encoder writes `type` first, then
`cursor` where the frame has one of its own. JSON as we write it has no line breaks, so it is one `data:` line.
"""

from typing import Final

_TYPE: Final = len(b'{"type":"')
_CURSOR: Final = b',"cursor":"'
_MORE: Final = b',"more":true}'

RETRY: Final = b"retry: 1000\n\n"
"""What a stream starts with: a client that loses it comes back after a second (WHATWG HTML §9.2.6)."""


def event(frame: bytes) -> bytes:
    """Return one frame (JSON as our encoder writes it) as an event.

    It has an `id` where the frame moves its reader's cursor: events, heartbeats, the last part of a snapshot.
    """
    end = frame.index(b'"', _TYPE)
    kind = frame[_TYPE:end]
    if not frame.startswith(_CURSOR, end + 1) or frame.endswith(_MORE):
        return b"event: %b\ndata: %b\n\n" % (kind, frame)
    start = end + 1 + len(_CURSOR)
    cursor = frame[start : frame.index(b'"', start)]
    return b"event: %b\nid: %b\ndata: %b\n\n" % (kind, cursor, frame)


def chunk(data: bytes) -> bytes:
    """Return `data` as one chunk (RFC 9112 §7.1); `data` must not be empty, that would be the last one."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def chunked_event(frame: bytes) -> bytes:
    """Return one frame as an event in a chunk of its own."""
    return chunk(event(frame))
