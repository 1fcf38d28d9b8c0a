"""The page on a telephone and on a wide screen, and in either language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.person import DESKTOP, PHONE

if TYPE_CHECKING:
    from tests.browser.person import People, Person
    from tests.browser.site import Site

PANES = {
    "Chat": "cc-messages",
    "Participants": "cc-participants",
    "Servers": "cc-instances",
    "Worklog": "cc-worklog",
}


def fits(person: Person) -> bool:
    """Tell whether nothing sticks out at the side."""
    wide: bool = person.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    return wide


def test_a_wide_screen_has_everything_beside_one_another(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url, size=DESKTOP)
    site.create("web-1")
    for pane in PANES.values():
        expect(alexandra.page.locator(pane)).to_be_in_viewport()
    expect(alexandra.composer).to_be_in_viewport()
    expect(alexandra.page.get_by_role("tablist")).to_be_hidden()
    boxes = [
        alexandra.page.locator(pane).bounding_box() for pane in ("cc-participants", "cc-messages")
    ]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"], "participants are on the left"
    assert fits(alexandra)


def test_in_the_narrowest_three_columns_names_and_signs_are_whole(
    site: Site, people: People
) -> None:
    site.create("web-1")
    site.command({"type": "join", "nickname": "Alexandra"})
    boris = people.join("Boris", site.url, size=(900, 700), locale="ru-RU")
    expect(boris.instance("web-1")).to_contain_text("Остановлен")
    whole = "(element) => element.scrollWidth <= element.clientWidth"
    assert boris.participant("Alexandra").locator(".name").evaluate(whole)
    sign = boris.instance("web-1").locator(".dot").bounding_box()
    assert sign
    assert sign["width"] == sign["height"]
    assert fits(boris)


def test_a_telephone_has_one_pane_at_a_time_behind_tabs(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url, size=PHONE)
    site.create("web-1")
    tabs = alexandra.page.get_by_role("tab")
    expect(tabs).to_have_count(len(PANES))
    for name, pane in PANES.items():
        tab = alexandra.page.get_by_role("tab", name=name)
        tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        for other in PANES.values():
            if other == pane:
                expect(alexandra.page.locator(other)).to_be_in_viewport()
            else:
                expect(alexandra.page.locator(other)).to_be_hidden()
        assert fits(alexandra)
    alexandra.page.get_by_role("tab", name="Chat").click()
    alexandra.say("from my pocket")
    alexandra.sees("from my pocket")
    expect(alexandra.composer).to_be_in_viewport()


def test_the_tabs_are_used_by_keyboard(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url, size=PHONE)
    tabs = alexandra.page.get_by_role("tab")
    tabs.first.focus()
    for place in (1, 2, 3, 0):
        alexandra.page.keyboard.press("ArrowRight")
        expect(tabs.nth(place)).to_be_focused()
        expect(tabs.nth(place)).to_have_attribute("aria-selected", "true")
    alexandra.page.keyboard.press("ArrowLeft")
    expect(tabs.nth(3)).to_be_focused()


@pytest.mark.parametrize(("locale", "lang"), [("ru-RU", "ru"), ("en-GB", "en"), ("fr-FR", "en")])
def test_the_page_speaks_the_browsers_language_where_it_can(
    site: Site, people: People, locale: str, lang: str
) -> None:
    person = people.open(site.url, locale=locale)
    expect(person.html).to_have_attribute("lang", lang)
    heading = {"ru": "Выберите псевдоним", "en": "Choose a nickname"}[lang]
    expect(person.page.get_by_role("dialog", name=heading)).to_be_visible()
    expect(person.page.get_by_role("textbox", name=heading)).to_be_focused()


def test_the_language_is_switched_at_once_and_remembered(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.say("hello")
    alexandra.sees("hello")
    alexandra.open_menu()
    alexandra.page.get_by_label("Русский").check()
    expect(alexandra.html).to_have_attribute("lang", "ru")
    expect(alexandra.participant("Вы")).to_have_count(1)
    expect(alexandra.message("hello").locator(".head")).to_contain_text("Вы, ")
    expect(alexandra.page.get_by_role("textbox", name="Напишите сообщение")).to_be_visible()
    expect(alexandra.page.get_by_role("heading", name="Участники")).to_be_visible()
    expect(alexandra.page.get_by_role("heading", name="Ваши серверы:")).to_be_visible()
    alexandra.page.reload()
    expect(alexandra.html).to_have_attribute("lang", "ru")
    expect(alexandra.participant("Вы")).to_have_count(1)


def test_the_address_may_say_the_language(site: Site, people: People) -> None:
    person = people.open(f"{site.url}/?lang=ru")
    expect(person.page.get_by_role("button", name="Продолжить")).to_be_visible()
