"""Reads an event stream as the WHATWG has it (HTML §9.2.5 and §9.2.6), without any I/O.

Bytes go in as they come, cut anywhere; events come out. Lines end with CR, LF or CRLF, the last of which may be cut
in two; a byte order mark at the beginning is skipped; what is not UTF-8 becomes U+FFFD; an event that the stream's end
cuts off is dropped; the last id and the retry time stay until they are replaced.
"""

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator
from typing import Final

import msgspec

_LINE_END: Final = re.compile("\r\n|\r|\n")
_DIGITS: Final = re.compile(r"[0-9]+\Z", re.ASCII)
_LONGEST: Final = 12  # digits of a retry time; whoever says more does not want us back


class ServerEvent(msgspec.Struct, frozen=True):
    """One event: its type, its data (lines joined by LF), and the stream's last event id as of it."""

    type: str
    data: str
    last_id: str


class EventStreamParser:
    """One event stream; `last_id` and `retry` (ms; None: not said) outlive it, for the request that follows."""

    def __init__(self, limit: int) -> None:
        """Take lines and events of up to `limit` characters; `feed` raises `ValueError` for longer ones."""
        self.last_id = ""
        self.retry: int | None = None
        self._limit = limit
        self._decoder = getincrementaldecoder("utf-8")(errors="replace")
        self._parts: list[str] = []  # of the line that has not ended yet
        self._length = 0
        self._begun = False
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[ServerEvent]:
        """Take what has arrived and return the events that it completes."""
        found: list[ServerEvent] = []
        for line in self._lines(self._decoder.decode(data)):
            event = self._line(line)
            if event is not None:
                found.append(event)
        return found

    def _lines(self, text: str) -> Iterator[str]:
        if not text:
            return
        if not self._begun:
            self._begun = True
            text = text.removeprefix("\ufeff")
        # A CR ends a line at once; the LF that may follow it in the next piece belongs to it.
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
        self._after_cr = text.endswith("\r")
        # Only what is new is looked through: a line that comes in crumbs costs no more than one that comes at once.
        start = 0
        for end in _LINE_END.finditer(text):
            self._keep(text[start : end.start()])
            line = "".join(self._parts)
            self._parts.clear()
            self._length = 0
            yield line
            start = end.end()
        self._keep(text[start:])

    def _keep(self, part: str) -> None:
        self._length += len(part)
        if self._length > self._limit:
            raise ValueError(f"a line of the event stream is longer than {self._limit} characters")
        if part:
            self._parts.append(part)

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                self._size += len(value) + 1
                if self._size > self._limit:
                    raise ValueError(f"an event is longer than {self._limit} characters")
                self._data.append(value)
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if _DIGITS.match(value):
                self.retry = int(value[:_LONGEST])
            case _:  # a comment (no name), or a field of the future
                pass
        return None

    def _dispatch(self) -> ServerEvent | None:
        self.last_id = self._id
        kind, lines = self._type or "message", self._data
        self._type, self._data, self._size = "", [], 0
        return ServerEvent(kind, "\n".join(lines), self.last_id) if lines else None
