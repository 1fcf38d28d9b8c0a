"""Who is there: people go when they close the page or the network loses them, and stay when they reload."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.person import Person

if TYPE_CHECKING:
    from tests.browser.conftest import Behind, Serve
    from tests.browser.person import People
    from tests.browser.site import Site

over_each = pytest.mark.parametrize("transport", ["ws", "sse", "poll"])


@over_each
def test_who_closes_the_tab_is_gone_without_waiting_for_grace(
    serve: Serve, people: People, transport: str
) -> None:
    # With a grace that outlasts the test, only what the page says as it closes can end the participation:
    # two seconds after which, a server's own clock sees to it.
    site = serve("--grace", "300")
    alexandra = people.join("Alexandra", site.url, transport)
    boris = people.join("Boris", site.url, transport)
    expect(boris.participants).to_have_count(2)
    alexandra.close()
    expect(boris.participants).to_have_count(1)
    assert site.comings_and_goings()[-1] == ("left", "Alexandra")


@over_each
def test_whom_the_network_loses_is_listed_during_grace_and_then_gone(
    serve: Serve, people: People, behind: Behind, transport: str
) -> None:
    site = serve("--grace", "5", "--heartbeat", "1")
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url, transport)
    boris = people.join("Boris", site.url)
    boris.say("before")
    alexandra.sees("before")
    proxy.stall()
    boris.say("still with us")
    boris.sees("still with us")
    expect(boris.participant("Alexandra")).to_have_count(1)
    expect(boris.participant("Alexandra")).to_have_count(0)
    kinds = [(event["type"], event.get("text")) for event in site.events()]
    assert kinds[-2:] == [("message", "still with us"), ("left", None)]
    # She is back as soon as the network is, under the name that she had, and has missed nothing.
    proxy.mend()
    expect(boris.participant("Alexandra")).to_have_count(1)
    alexandra.is_connected(transport)
    alexandra.sees("before", "still with us")
    assert site.comings_and_goings()[-2:] == [("left", "Alexandra"), ("joined", "Alexandra")]


@over_each
def test_a_reload_keeps_nickname_and_messages_and_nobody_sees_anyone_go(
    slow_site: Site, people: People, transport: str
) -> None:
    alexandra = people.join("Alexandra", slow_site.url, transport)
    boris = people.join("Boris", slow_site.url, transport)
    alexandra.say("one", "two")
    boris.sees("one", "two")
    alexandra.sees("one", "two")
    alexandra.page.reload()
    expect(alexandra.texts).to_have_text(["one", "two"])
    expect(alexandra.participant("You")).to_have_count(1)
    expect(alexandra.dialog).to_be_hidden()
    # What she says next is said by a participant that has taken its place again: nobody can see her go after that.
    alexandra.say("three")
    boris.sees("three", who="Alexandra")
    expect(alexandra.texts).to_have_text(["one", "two", "three"])
    assert slow_site.comings_and_goings() == [("joined", "Alexandra"), ("joined", "Boris")]


def test_a_reload_after_a_long_absence_explains_that_the_nickname_went_to_somebody_else(
    serve: Serve, people: People
) -> None:
    site = serve("--grace", "0")
    alexandra = people.join("Alexandra", site.url)
    alexandra.page.goto("about:blank")
    site.until_left("Alexandra")
    thief = people.join("Alexandra", site.url)
    alexandra.page.goto(site.url)
    expect(alexandra.dialog).to_be_visible()
    expect(alexandra.dialog.locator(".error")).to_be_visible()
    alexandra.dialog.locator(".suggestions button").first.click()
    expect(alexandra.dialog).to_be_hidden()
    expect(thief.participants).to_have_count(2)


# What a page does over polls with its copied state is what it does over streams; so is how tabs share them.
@pytest.mark.parametrize("transport", ["ws", "sse"])
def test_a_duplicated_tab_takes_part_as_somebody_of_its_own(
    site: Site, people: People, transport: str
) -> None:
    alexandra = people.join("Alexandra", site.url, transport)
    alexandra.say("from the first")
    alexandra.sees("from the first")
    site.create("web-1")
    alexandra.page.get_by_label("Show server events").check()
    # A window opened by a page begins with a copy of its session storage, as a duplicated tab does.
    with alexandra.page.expect_popup() as popup:
        alexandra.page.evaluate("() => { window.open(location.href) }")
    twin = Person(popup.value)
    expect(twin.dialog).to_be_visible()
    # What it copied is no longer its own, and all of it is still there.
    expect(twin.page.locator(".quiet")).to_have_count(2)
    twin.join("Sasha")
    twin.say("from the second")
    alexandra.sees("from the second", who="Sasha")
    alexandra.say("and again")
    twin.sees("from the first", "and again", who="Alexandra")
    assert site.comings_and_goings() == [("joined", "Alexandra"), ("joined", "Sasha")]
