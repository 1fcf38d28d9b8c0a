"""The tabs of one browser: each is a participant of its own, and they get along with one connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Serve
    from tests.browser.person import People, Person
    from tests.browser.site import Site

over_http = pytest.mark.parametrize("transport", ["sse", "poll"])


def leaders(tabs: list[Person]) -> list[Person]:
    """Return the tabs that hold a connection of their own."""
    return [tab for tab in tabs if tab.html.get_attribute("data-shared") == "false"]


@pytest.mark.parametrize("transport", ["ws", "sse", "poll"])
def test_two_tabs_of_one_browser_are_two_people(site: Site, people: People, transport: str) -> None:
    browser = people.browser()
    alexandra = people.join("Alexandra", site.url, transport, within=browser)
    boris = people.join("Boris", site.url, transport, within=browser)
    alexandra.say("hello")
    boris.sees("hello", who="Alexandra")
    boris.say("hello yourself")
    alexandra.sees("hello yourself", who="Boris")
    for tab in (alexandra, boris):
        expect(tab.participants).to_have_count(2)
        expect(tab.texts).to_have_text(["hello", "hello yourself"])
        expect(tab.page.locator("article.message.own")).to_have_count(1)


def test_ten_tabs_of_one_browser_are_all_live_over_one_connection(
    site: Site, people: People
) -> None:
    browser = people.browser()
    tabs = [people.join(f"tab {n}", site.url, "sse", within=browser) for n in range(10)]
    for number, tab in enumerate(tabs):
        tab.say(f"from {number}")
        tab.sees(f"from {number}")
    for tab in tabs:
        expect(tab.participants).to_have_count(10)
        expect(tab.texts).to_have_text([f"from {number}" for number in range(10)])
    assert len(leaders(tabs)) == 1


@over_http
def test_the_other_tabs_go_on_when_the_one_with_the_connection_is_closed(
    serve: Serve, people: People, transport: str
) -> None:
    site = serve("--grace", "300")
    browser = people.browser()
    tabs = [people.join(f"tab {n}", site.url, transport, within=browser) for n in range(3)]
    while len(tabs) > 1:
        (leader,) = leaders(tabs)
        tabs.remove(leader)
        leader.close()
        for tab in tabs:
            expect(tab.participants).to_have_count(len(tabs))
        for number, tab in enumerate(tabs):
            text = f"{number} of {len(tabs)}"
            tab.say(text)
            for other in tabs:
                other.sees(text)
    assert [kind for kind, _ in site.comings_and_goings()] == ["joined"] * 3 + ["left"] * 2


@over_http
def test_a_tab_that_reloads_loses_nothing_and_costs_the_others_nothing(
    slow_site: Site, people: People, transport: str
) -> None:
    browser = people.browser()
    tabs = [people.join(f"tab {n}", slow_site.url, transport, within=browser) for n in range(3)]
    (leader,) = leaders(tabs)
    for number, tab in enumerate([leader, *(tab for tab in tabs if tab is not leader)]):
        tab.page.reload()
        tab.say(f"after {number}")
        for other in tabs:
            other.sees(f"after {number}")
    for tab in tabs:
        expect(tab.texts).to_have_text([f"after {number}" for number in range(3)])
    assert [kind for kind, _ in slow_site.comings_and_goings()] == ["joined"] * 3
