"""The chat in a terminal, line by line; in a pipe just the same.

One task shows what the feed says, one takes lines from the input (`keyboard.py`).
"""

from __future__ import annotations

import os
import secrets
import sys
from contextlib import ExitStack
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import anyio
from msgspec import UNSET

from cloudchat_cli import running
from cloudchat_cli.keyboard import open_source
from cloudchat_cli.output import (
    Exit,
    Failure,
    emit,
    note,
    printable,
    refused,
    rejected,
    unreachable,
)
from cloudchat_core.client_session import Snapshot, Uncertain
from cloudchat_core.errors import Code
from cloudchat_core.events import Failed, InstanceEvent, Joined, Left, Message, Received, Redacted
from cloudchat_core.frames import Gap, Welcome
from cloudchat_core.mirror import Mirror
from cloudchat_transports.client import (
    Client,
    CommandRefusedError,
    CommandUncertainError,
    ConnectionEndedError,
    Disconnected,
    NicknameLost,
)
from cloudchat_transports.client_transport import RejectedError, UnreachableError

if TYPE_CHECKING:
    from rich.console import Console

    from cloudchat_cli.keyboard import Source
    from cloudchat_core.events import PublicEvent
    from cloudchat_core.frames import InstanceView, Refusal
    from cloudchat_transports.client import Item

HELP: Final = """\
/who   who is here
/help  this
/quit  leave (so does the end of the input)
A line that begins with // is said with one of the two."""

_INPUT: Final = 0
E = TypeVar("E", bound=BaseException)


def run(server: str, nickname: str, transport: str) -> None:
    """Chat until the end."""
    with ExitStack() as stack:
        running.run(_chat, server, nickname, transport, open_source(stack))


async def _chat(server: str, nickname: str, transport: str, source: Source) -> None:
    try:
        await _take_part(server, nickname, transport, source)
    except* UnreachableError as errors:
        raise unreachable(str(_first(errors))) from None
    except* RejectedError as errors:
        raise rejected(_first(errors)) from None
    except* ConnectionEndedError as errors:
        raise Failure(str(_first(errors)), Exit.REFUSED) from None


async def _take_part(server: str, nickname: str, transport: str, source: Source) -> None:
    # With a token and no nickname yet: another may be asked for on the same connection.
    async with Client(server, transport=transport, token=secrets.token_urlsafe(32)) as client:
        chat = _Chat(client, source)
        if await chat.enter(nickname):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(chat.show)
                await chat.talk()
                tasks.cancel_scope.cancel()


def _first(errors: BaseExceptionGroup[E]) -> E:
    """Return the first error in a group of groups."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


class _Chat:
    """One person at a keyboard (or a pipe), and the session that speaks for them."""

    def __init__(self, client: Client, source: Source) -> None:
        self._client, self._screen, self._lines = client, _Screen(source), source
        self._unsaid = ""
        self._saying = anyio.CancelScope()

    async def enter(self, nickname: str) -> bool:
        """Join; where a nickname cannot be had, ask for another. False: nobody wants to name one."""
        while True:
            try:
                await self._client.join(nickname)
            except CommandRefusedError as error:
                self._ask(error.refusal)
            else:
                self._screen.me = self._client.nickname
                return True
            while (line := await self._lines.next()) is not None and not line.strip():
                note("Another nickname:")
            if line is None or line.strip() == "/quit":
                return False
            nickname = line.strip()

    async def talk(self) -> None:
        """Say every line until the input ends; each is acknowledged before the next is taken."""
        while (line := await self._lines.next()) is not None:
            text = line.strip()
            word = text.partition(" ")[0].lower()
            if word == "/quit":
                return
            if word == "/who":
                self._screen.who()
            elif word == "/help":
                self._screen.quietly(HELP)
            elif text and not self._client.nickname:
                if await self.enter(text) and self._unsaid:
                    unsaid, self._unsaid = self._unsaid, ""
                    await self._say(unsaid)
            elif word.startswith("/") and not word.startswith("//"):
                self._screen.quietly(f"there is no {word}; /help says what there is")
            elif text:
                await self._say(text.removeprefix("/") if word.startswith("//") else text)

    async def _say(self, text: str) -> None:
        if not self._client.connected:
            self._screen.quietly(f"to be said when the server is back: {text}")
        with anyio.CancelScope() as self._saying:
            try:
                await self._client.say(text)
            except CommandRefusedError as error:
                if error.code == Code.NOT_JOINED:
                    self._unsaid = text  # the nickname is lost, and another is asked for
                    return
                self._screen.quietly(f"not said: {text}")
                self._screen.quietly(f"{error} ({error.code})")
            except CommandUncertainError:
                pass  # the feed says so too, also of lines that nobody waits for

    async def show(self) -> None:
        """Show what the feed says until the server ends it for good."""
        async for item in self._client:
            self._screen.me = self._client.nickname or self._screen.me
            self._screen.show(item)
            if isinstance(item, NicknameLost):
                # What waits to be said is said under the next nickname; who types is asked for one.
                self._saying.cancel()
                self._ask(item.refusal)

    def _ask(self, refusal: Refusal) -> None:
        """Ask for another nickname; without a terminal there is nobody to ask."""
        hint = ""
        if refusal.suggestions is not UNSET and refusal.suggestions:
            hint = f" How about: {', '.join(refusal.suggestions)}?"
        if not (refusal.code.startswith("nickname_") and os.isatty(_INPUT)):
            raise refused(refusal, hint)
        self._lines.beside(partial(note, f"{refusal.detail}{hint}\nAnother nickname:"))


class _Screen:
    """Writes what happens, one line for each thing; `me` is the own nickname."""

    def __init__(self, source: Source) -> None:
        self.me = ""
        self._source = source
        self._console: Console | None = None
        if sys.stdout.isatty():
            from rich.console import Console  # noqa: PLC0415

            self._console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
        self._mirror = Mirror()
        self._day = ""
        self._shown = False
        self._away = False

    def show(self, item: Item) -> None:
        """Show one item of the feed."""
        match item:
            case Disconnected():
                if not self._away:
                    self.quietly(f"{item.why}; trying to come back")
                self._away = True
                return
            case NicknameLost():
                self.quietly(f"the nickname is gone: {item.refusal.detail}")
                return
            case Uncertain():
                self.quietly("a line was sent, but whether it was said is not known any more")
                return
            case Welcome() if self._away:
                self._away = False
                self.quietly("back again")
            case Gap():
                self.quietly("something was missed: the server no longer has it")
        self._mirror.apply(item)
        if isinstance(item, Snapshot):
            if not item.more:
                self._begin()
        elif isinstance(item, (Joined, Left, Message, Redacted, InstanceEvent)):
            self._tell(item)

    def who(self) -> None:
        """Show who is here."""
        others = sorted(set(self._mirror.participants) - {self.me}, key=str.casefold)
        self.quietly(f"here: {', '.join([*others, f'{self.me} (you)'])}")

    def quietly(self, text: str) -> None:
        """Show something that nobody said."""
        for line in text.splitlines():
            self._line(f"* {line}", "dim")

    def _begin(self) -> None:
        for message in self._mirror.messages.values():
            self._tell(message)
        self.who()

    def _tell(self, event: PublicEvent) -> None:
        moment = datetime.fromisoformat(event.at).astimezone()
        if (day := f"{moment:%Y-%m-%d}") != self._day:
            self._day = day
            self._line(f"* {day}", "dim")
        at = f"{moment:%H:%M}"
        match event:
            case Message():
                mine = event.nickname == self.me
                text = "(taken back)" if event.redacted is True else event.text
                first, *more = text.split("\n")
                self._line(
                    f"{at} {'You' if mine else event.nickname}: {first}", "red" if mine else ""
                )
                for line in more:
                    self._line(f"      {line}", "red" if mine else "")
            case Joined() if event.nickname == self.me:
                pass
            case Joined():
                self._line(f"{at} * {event.nickname} joined", "dim")
            case Left():
                gone = "left" if event.reason == "left" else f"is gone ({event.reason})"
                self._line(f"{at} * {event.nickname} {gone}", "dim")
            case Redacted():
                self._line(f"{at} * {event.by or 'somebody'} took a message back", "dim")
            case Failed():
                what = f"{event.command} {_called(event.instance)} failed: {event.detail}"
                self._line(f"{at} * {what}", "dim")
            case Received():
                by = f" ({event.by})" if event.by else ""
                self._line(f"{at} * {_called(event.instance)}: received {event.command}{by}", "dim")
            case _:
                kind = str(event.__struct_config__.tag)
                self._line(f"{at} * {_called(event.instance)}: {kind}", "dim")

    def _line(self, text: str, style: str) -> None:
        text = printable(text)
        if self._console is None:
            emit(text)
        else:
            self._source.beside(partial(self._console.print, text, style=style or None))


def _called(instance: InstanceView) -> str:
    """Return the id, which commands take, and the name, which people know."""
    return f"{instance.id} {instance.name}" if instance.name else instance.id
