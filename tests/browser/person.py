"""Somebody with a browser: what they do on the page, by the names that they read there, and what they see."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.specs.generated import CONTRACT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Locator,
        Page,
        Route,
        WebSocket,
    )

NETWORK = re.compile(r"^Failed to load resource: |^WebSocket connection to .* failed")
"""What a browser reports, as an error of the page, of a network that failed."""
DESKTOP, PHONE = (1280, 800), (390, 844)
CONTINUE = re.compile("^(Continue|Продолжить)$")
YOU = re.compile("^(You|Вы)$")


class Person:
    """Somebody who has one page open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.html = page.locator("html")
        self.connection = page.locator("cc-connection")
        self.dialog = page.locator("dialog.nickname")
        self.nickname = self.dialog.get_by_role("textbox")
        self.participants = page.locator("cc-participants li.participant")
        self.composer = page.locator("cc-composer textarea")
        self.chat = page.locator("cc-messages [role=log]")
        self.messages = page.locator("cc-messages article.message")
        self.texts = self.messages.locator(".text")
        self.instances = page.locator("cc-instances article.instance")
        self.worklog = page.locator("cc-worklog article.entry")

    # -- what they do

    def join(self, nickname: str) -> None:
        """Choose a nickname, and be in."""
        self.choose(nickname)
        expect(self.dialog).to_be_hidden()
        expect(self.participant(YOU)).to_have_count(1)

    def choose(self, nickname: str) -> None:
        """Ask for a nickname."""
        self.nickname.fill(nickname)
        self.dialog.get_by_role("button", name=CONTINUE).click()

    def say(self, *texts: str) -> None:
        """Type messages, and send each with Enter."""
        for text in texts:
            self.composer.fill(text)
            self.composer.press("Enter")

    def remove(self, text: str) -> None:
        """Take a message of one's own back."""
        self.message(text).hover()
        self.message(text).get_by_role("button", name="Remove").click()
        self.page.locator("dialog.confirm").get_by_role("button", name="Remove").click()

    def create(self, name: str = "") -> None:
        """Ask for a new instance."""
        widget = self.page.locator("cc-instances")
        widget.get_by_role("textbox").fill(name)
        widget.get_by_role("button", name="Create new instance").click()

    def open_menu(self) -> None:
        """Open one's own menu."""
        self.page.get_by_role("button", name="Menu").click()

    def leave(self) -> None:
        """Give the nickname back."""
        self.open_menu()
        self.page.get_by_role("button", name="Leave the chat").click()
        self.page.locator("dialog.confirm").get_by_role("button", name="Leave").click()

    def close(self) -> None:
        """Close the tab as people do: the page is told, and has its last word."""
        with self.page.expect_event("close"):
            self.page.close(run_before_unload=True)

    # -- what they see

    def participant(self, name: str | re.Pattern[str]) -> Locator:
        """Return somebody in the list of participants."""
        return self.participants.filter(has=self.page.get_by_text(name, exact=True))

    def message(self, text: str) -> Locator:
        """Return the messages with this text."""
        return self.messages.filter(has=self.page.locator(".text").get_by_text(text, exact=True))

    def instance(self, name: str) -> Locator:
        """Return an instance's card, by its id or name."""
        return self.instances.filter(has_text=name)

    def action(self, instance: str, action: str) -> Locator:
        """Return a button of an instance's card."""
        return self.instance(instance).locator(f"[data-action={action}]")

    def is_connected(self, transport: str = "") -> None:
        """Wait until the page says that it is connected, and how."""
        expect(self.html).to_have_attribute("data-connection", "open")
        if transport not in {"", "auto"}:
            expect(self.html).to_have_attribute("data-transport", transport)

    def sees(self, *texts: str, who: str = "") -> None:
        """Wait until each of these messages is there, delivered, and once."""
        for text in texts:
            expect(self.message(text)).to_have_count(1)
            expect(self.message(text)).to_have_attribute("data-cursor", re.compile("."))
            if who:
                expect(self.message(text).locator(".head")).to_contain_text(who)


def refuse_commands(person: Person) -> None:
    """Let the network answer each command of a page that is not on a WebSocket as `forbidden`."""

    def refuse(route: Route) -> None:
        commands = json.loads(route.request.post_data or "")
        route.fulfill(
            json=[
                {"type": "error", "id": command["id"], "code": "forbidden", "detail": "No."}
                for command in commands
            ]
        )

    person.page.route("**/v1/commands", refuse)


class People:
    """Everybody with a browser in one test. What their pages report as errors is an error of the test."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._troubles: list[str] = []
        self._expected: list[str] = []
        self.network_fails = False
        """Whether the network fails in this test, so that a browser may report that."""

    def browser(self, *, size: tuple[int, int] = DESKTOP, **options: Any) -> BrowserContext:
        """Return a browser of somebody's own, which shares nothing with others."""
        width, height = size
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            **{"locale": "en-GB", "timezone_id": "UTC", **options},
        )
        self._contexts.append(context)
        context.on("console", self._hear)
        context.on("page", self._watch)
        context.on("weberror", lambda error: self._troubles.append(str(error.error)))
        context.on("dialog", lambda dialog: self._troubles.append(f"a dialog: {dialog.message}"))
        return context

    def open(
        self,
        url: str,
        transport: str = "auto",
        *,
        within: BrowserContext | None = None,
        clock: bool = False,
        **options: Any,
    ) -> Person:
        """Open a page, in a browser of its own or as another tab; with a `clock` that the test may move on."""
        page = (within or self.browser(**options)).new_page()
        if clock:
            page.clock.install()
        page.goto(url if transport == "auto" else f"{url}/?transport={transport}")
        return Person(page)

    def join(
        self,
        nickname: str,
        url: str,
        transport: str = "auto",
        *,
        within: BrowserContext | None = None,
        **options: Any,
    ) -> Person:
        """Open a page, and be in."""
        person = self.open(url, transport, within=within, **options)
        person.join(nickname)
        person.is_connected(transport)
        return person

    def expected(self, words: str) -> None:
        """Let pages complain in these words."""
        self._expected.append(words)

    def _hear(self, said: ConsoleMessage) -> None:
        if said.type != "error" or (self.network_fails and NETWORK.search(said.text)):
            return
        if not any(words in said.text for words in self._expected):
            self._troubles.append(f"{said.text} ({said.location})")

    def _watch(self, page: Page) -> None:
        """Hold what goes over the page's WebSockets, either way, to the specification."""

        def open_socket(socket: WebSocket) -> None:
            socket.on("framereceived", lambda data: self._hold(data, received=True))
            socket.on("framesent", lambda data: self._hold(data, received=False))

        page.on("websocket", open_socket)

    def _hold(self, data: str | bytes, *, received: bool) -> None:
        try:
            if received:
                CONTRACT.frame("ws", json.loads(data))
            else:
                CONTRACT.command(json.loads(data))
        except (AssertionError, ValueError, KeyError) as error:
            self._troubles.append(f"{error!r}: {data!r}")

    @contextmanager
    def watched(self) -> Iterator[People]:
        """Watch until the end, then see that nothing was wrong."""
        try:
            yield self
        finally:
            for context in self._contexts:
                context.close()
        assert not self._troubles, "\n".join(self._troubles)
