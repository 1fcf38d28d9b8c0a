"""Everybody can use it: axe finds nothing on any screen, and a keyboard is enough."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.person import DESKTOP, PHONE, refuse_commands
from tests.web.tools import WEB, install

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.browser.conftest import Serve
    from tests.browser.person import People, Person
    from tests.browser.site import Site

AXE = """async tags => (await axe.run({runOnly: {type: "tag", values: tags}})).violations.flatMap(
  ({id, help, nodes}) => nodes.map(node => [id, help, node.html, node.failureSummary]))"""
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(name="look", scope="module")
def looking_with_axe() -> Callable[[Person, str], None]:
    """Look at a page with axe, by day and by night, and find nothing."""
    install()
    source = (WEB / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")

    def look(person: Person, screen: str) -> None:
        person.page.evaluate(source)
        for scheme in ("light", "dark"):
            # Colours that are on their way from one to the other are not what is to be judged.
            person.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            found = person.page.evaluate(AXE, TAGS)
            assert found == [], f"{screen}, {scheme}: {json.dumps(found, indent=1)}"

    return look


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("locale", ["en-GB", "ru-RU"])
def test_axe_finds_nothing_on_any_screen(
    serve: Serve,
    people: People,
    look: Callable[[Person, str], None],
    locale: str,
    size: tuple[int, int],
) -> None:
    site = serve("--provider", "simulated:?duration=0.3&fail=stop", "--grace", "0")
    people.network_fails = True
    other = people.join("Boris", site.url)
    person = people.open(site.url, locale=locale, size=size, bypass_csp=True)
    expect(person.dialog).to_be_visible()
    look(person, "the nickname")
    person.choose("Boris")
    expect(person.dialog.locator(".suggestions button").first).to_be_visible()
    look(person, "the nickname that is taken")
    person.join("Alexandra")
    look(person, "nothing yet")
    for screen, fill in SCREENS:
        fill(site, person, other)
        look(person, screen)
    if size == PHONE:
        for tab in person.page.get_by_role("tab").all():
            tab.click()
            look(person, f"the tab {tab.inner_text()}")


def _talk(site: Site, person: Person, other: Person) -> None:
    other.say("hello, see https://example.org/ 😀")
    person.sees("hello, see https://example.org/ 😀")
    person.say("hello")
    person.sees("hello")
    person.page.get_by_label(re.compile("Show server events|Показывать события серверов")).check()


def _instances(site: Site, person: Person, other: Person) -> None:
    site.create("web-1")
    site.create("web-2")
    other.action("web-1", "start").click()
    expect(other.instance("web-1")).to_have_attribute("data-state", "running")
    other.action("web-1", "stop").click()
    expect(other.page.locator("cc-worklog article.failed")).to_have_count(1)


def _cut_off(site: Site, person: Person, other: Person) -> None:
    site.stop(signal.SIGKILL)
    expect(person.html).to_have_attribute("data-connection", re.compile("waiting|connecting"))
    person.say("is anybody there?")
    expect(person.message("is anybody there?")).to_have_class(re.compile("pending"))


def _a_gap(site: Site, person: Person, other: Person) -> None:
    site.forget()
    site.start()
    person.is_connected()
    site.say("a new beginning")
    person.sees("a new beginning", "is anybody there?")


SCREENS: list[tuple[str, Callable[[Site, Person, Person], None]]] = [
    ("a talk", _talk),
    ("instances", _instances),
    ("cut off", _cut_off),
    ("a gap", _a_gap),
]


def test_axe_finds_nothing_while_an_instance_is_made_and_removed(
    serve: Serve, people: People, look: Callable[[Person, str], None]
) -> None:
    site = serve("--provider", "simulated:?duration=100")
    person = people.open(site.url, bypass_csp=True)
    person.join("Alexandra")
    person.create("web-1")
    expect(person.instance("web-1").get_by_role("progressbar")).to_be_visible()
    look(person, "an operation that runs")


def test_axe_finds_nothing_where_a_message_was_not_sent_or_was_removed(
    site: Site, people: People, look: Callable[[Person, str], None]
) -> None:
    person = people.open(site.url, "poll", bypass_csp=True)
    person.join("Alexandra")
    person.say("to be removed")
    person.sees("to be removed")
    person.remove("to be removed")
    expect(person.page.locator("article.message.redacted")).to_have_count(1)
    refuse_commands(person)
    person.say("not sent")
    expect(person.message("not sent")).to_have_class(re.compile("failed"))
    look(person, "a message that was removed, and one that was not sent")


def test_axe_would_find_something(
    site: Site, people: People, look: Callable[[Person, str], None]
) -> None:
    person = people.open(site.url, bypass_csp=True)
    person.page.evaluate("""() => {
      const [grey] = document.querySelectorAll("dialog.nickname h2");
      grey.setAttribute("style", "color: #999; background: #aaa");
    }""")
    with pytest.raises(AssertionError, match="color-contrast"):
        look(person, "something grey on grey")


def test_a_keyboard_reaches_everything_and_one_sees_where_one_is(
    site: Site, people: People
) -> None:
    site.create("web-1")
    alexandra = people.join("Alexandra", site.url)
    alexandra.say("hello, see https://example.org/")
    alexandra.sees("hello, see https://example.org/")
    wanted = alexandra.page.evaluate("""() => {
      const all = [...document.querySelectorAll("button, a[href], input, textarea, [tabindex='0']")];
      window.wanted = new Set(all.filter(e => e.tabIndex >= 0 && !e.disabled && e.checkVisibility({
        checkOpacity: false, contentVisibilityAuto: true })));
      document.activeElement.blur();
      return wanted.size;
    }""")
    assert wanted > 8
    for _ in range(wanted + 4):
        alexandra.page.keyboard.press("Tab")
        unseen = alexandra.page.evaluate("""() => {
          const here = document.activeElement;
          window.wanted.delete(here);
          // The frame of the composer is that of its form.
          const seen = [here, here.closest("cc-composer form")].filter(Boolean).some(element => {
            const {outlineStyle, outlineWidth} = getComputedStyle(element);
            return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
          });
          return seen || here === document.body ? "" : here.outerHTML;
        }""")
        assert unseen == ""
    left = "() => [...window.wanted].map(element => element.outerHTML)"
    assert alexandra.page.evaluate(left) == []


def test_nothing_moves_for_who_wants_it_still(serve: Serve, people: People) -> None:
    site = serve("--provider", "simulated:?duration=100")
    alexandra = people.open(site.url, reduced_motion="reduce")
    alexandra.join("Alexandra")
    alexandra.say("hello")
    alexandra.sees("hello")
    alexandra.create("web-1")
    expect(alexandra.instance("web-1").get_by_role("progressbar")).to_be_visible()
    moving = """() => document.getAnimations().filter(one => one.effect.getTiming().duration > 1)
      .map(one => one.effect.target.outerHTML)"""
    assert alexandra.page.evaluate(moving) == []


def test_axe_finds_nothing_in_what_asks_and_offers(
    site: Site, people: People, look: Callable[[Person, str], None]
) -> None:
    site.create("web-1")
    person = people.open(site.url, bypass_csp=True)
    person.join("Alexandra")
    person.action("web-1", "remove").click()
    expect(person.page.locator("dialog.confirm")).to_be_visible()
    look(person, "the confirmation")
    person.page.keyboard.press("Escape")
    person.open_menu()
    look(person, "the menu")
