"""How a command ends and what it says: data on stdout, everything about it on stderr, one line for what went wrong.

It imports nothing of ours: every command loads it, `--help` too.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cloudchat_core.frames import Refusal
    from cloudchat_transports.client_transport import RejectedError


class Exit(IntEnum):
    """The exit codes of the command line; they are documented and do not change."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    REFUSED = 3
    NOT_ALLOWED = 4
    UNKNOWN = 5
    BUSY = 6
    FAILED = 7
    TIMEOUT = 8
    UNREACHABLE = 9
    DAMAGED = 10
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class Failure(Exception):  # noqa: N818 - it is how a command ends
    """A command ends with `code`, and says why in one line."""

    def __init__(self, message: str, code: Exit = Exit.FAILURE) -> None:
        super().__init__(message)
        self.code = code


_CODES = {
    "forbidden": Exit.NOT_ALLOWED,
    "gone": Exit.UNKNOWN,
    "instance_unknown": Exit.UNKNOWN,
    "internal": Exit.FAILURE,
    "message_unknown": Exit.UNKNOWN,
    "not_found": Exit.UNKNOWN,
    "unavailable": Exit.FAILURE,
    "instance_busy": Exit.BUSY,
    "instance_state": Exit.BUSY,
}


def refused(refusal: Refusal, hint: str = "") -> Failure:
    """Return how a command ends that the server declined; `hint` says what to do about it."""
    code = _CODES.get(refusal.code, Exit.REFUSED)
    return Failure(f"{refusal.detail} ({refusal.code}){hint}", code)


def rejected(error: RejectedError) -> Failure:
    """Return how a command ends that the server let have no feed."""
    allowed = error.status not in {401, 403}
    return Failure(str(error), Exit.REFUSED if allowed else Exit.NOT_ALLOWED)


def unreachable(detail: str) -> Failure:
    """Return how a command ends that found no server."""
    return Failure(
        f"no server: {detail}. Start one with `cloudchat serve`, or name another with --server",
        Exit.UNREACHABLE,
    )


def note(text: str) -> None:
    """Say something about the work, for people."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def emit(text: str) -> None:
    """Write data; where nobody reads it any more the command ends, quietly."""
    try:
        print(text, flush=True)  # noqa: T201
    except BrokenPipeError:
        _drop()
        raise Failure("nobody reads the output", Exit.BROKEN_PIPE) from None
    except OSError as error:
        _drop()
        raise Failure(f"the output cannot be written: {error.strerror}") from None


def _drop() -> None:
    """Have the interpreter's own flush at the end not fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


_TURNS: Final = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def printable(text: str) -> str:
    """Drop what would move the cursor, colour the screen or turn the text around: others are shown, not obeyed."""
    return "".join("\N{REPLACEMENT CHARACTER}" if _obeyed(char) else char for char in text)


def _obeyed(char: str) -> bool:
    return char != "\t" and (
        unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(char) in _TURNS
    )
