"""Where lines come from, and how something is written while one is being typed.

Two sources with one face. `Lines` reads a pipe or a file. `Keyboard` reads a terminal with readline (editing, history):
what is written meanwhile goes above the line that is being typed, and a line that was entered is taken off the screen,
for what becomes of it is shown anyway.

Both read in a thread of their own, which may still wait for a line when the program ends: so a pipe is read from its
descriptor (a buffered reader's lock would be missed at the interpreter's shutdown), and a terminal is given back as it
was found.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
import threading
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

PROMPT: Final = "> "

_INPUT: Final = 0
_CHUNK: Final = 65_536


class Source(Protocol):
    """Gives lines, one after the other."""

    async def next(self) -> str | None:
        """Return the next line; None at the end."""
        ...

    def beside(self, write: Callable[[], None]) -> None:
        """Call `write`, which writes whole lines, without disturbing a line that is being typed."""
        ...


class Lines:
    """The lines of a pipe or a file."""

    def __init__(self) -> None:
        self._lines = self._read()

    async def next(self) -> str | None:
        return await anext(self._lines, None)

    def beside(self, write: Callable[[], None]) -> None:
        write()

    async def _read(self) -> AsyncIterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest, more = "", True
        while more:
            data = await anyio.to_thread.run_sync(os.read, _INPUT, _CHUNK, abandon_on_cancel=True)
            more = bool(data)
            *lines, rest = (rest + decoder.decode(data, final=not more)).split("\n")
            for line in lines:
                yield line
        if rest:
            yield rest


class Keyboard:
    """The lines that somebody types at a terminal."""

    def __init__(self) -> None:
        import readline  # noqa: PLC0415 - it sets a terminal up as soon as it is there

        # A paste is typed text; and a terminal that is left in the middle must not stay in that mode.
        readline.parse_and_bind("set enable-bracketed-paste off")
        readline.parse_and_bind("tab: self-insert")
        self._typed = readline.get_line_buffer
        self._typing = False
        self._screen = threading.Lock()
        # Between these two readline puts the prompt on the screen; what came between would stand behind it.
        readline.set_startup_hook(self._begins)
        readline.set_pre_input_hook(self._begun)

    async def next(self) -> str | None:
        return await anyio.to_thread.run_sync(self._read, abandon_on_cancel=True)

    def beside(self, write: Callable[[], None]) -> None:
        with self._screen:
            if not self._typing:
                write()
                return
            line = PROMPT + self._typed()
            _take_back(line, 0)
            write()
            _put(line)

    def leave(self) -> None:
        """Take what is still being typed off the screen."""
        with self._screen:
            if self._typing:
                _take_back(PROMPT + self._typed(), 0)

    def _begins(self) -> None:
        self._screen.acquire()

    def _begun(self) -> None:
        """From here on the prompt is on the screen, and keys are readline's."""
        self._typing = True
        self._screen.release()

    def _read(self) -> str | None:
        try:
            line = input(PROMPT)
        except EOFError:
            line = None
        with self._screen:
            self._typing = False
            if line is None:
                _put("\n")
            else:
                _take_back(PROMPT + line, 1)
        return line


def _take_back(line: str, below: int) -> None:
    """Clear `line`, whose end is `below` rows above the cursor's."""
    from rich.cells import cell_len  # noqa: PLC0415

    rows = max(cell_len(line) - 1, 0) // shutil.get_terminal_size().columns + below
    _put((f"\x1b[{rows}A" if rows else "") + "\r\x1b[J")


def _put(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def open_source(stack: ExitStack) -> Source:
    """Return where lines come from; `stack` gives a terminal back at its end."""
    if os.isatty(_INPUT) and sys.stdout.isatty():
        with suppress(ImportError):
            import termios  # noqa: PLC0415 - not everywhere

            before = termios.tcgetattr(_INPUT)
            keyboard = Keyboard()
            stack.callback(keyboard.leave)
            stack.callback(partial(termios.tcsetattr, _INPUT, termios.TCSANOW, before))
            return keyboard
    return Lines()
