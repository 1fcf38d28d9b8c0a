"""People talk: what they see of one another, and of what they say."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.person import refuse_commands

if TYPE_CHECKING:
    from playwright.sync_api import Locator

    from tests.browser.conftest import Behind
    from tests.browser.person import People
    from tests.browser.site import Site

TRANSPORTS = ["auto", "ws", "sse", "poll"]


@pytest.mark.parametrize("transport", ["ws", "sse", "poll"])
def test_two_people_chat_over_each_transport(site: Site, people: People, transport: str) -> None:
    alexandra = people.join("Alexandra", site.url, transport)
    boris = people.join("Boris", site.url, transport)
    expect(alexandra.participant("Boris")).to_have_count(1)
    expect(boris.participant("Alexandra")).to_have_count(1)
    for number in range(3):
        alexandra.say(f"question {number}")
        boris.sees(f"question {number}", who="Alexandra")
        boris.say(f"answer {number}")
        alexandra.sees(f"answer {number}", who="Boris")
    talk = [f"{kind} {number}" for number in range(3) for kind in ("question", "answer")]
    for person in (alexandra, boris):
        expect(person.texts).to_have_text(talk)
        person.is_connected(transport)


def test_auto_is_over_a_websocket_where_nothing_is_in_the_way(site: Site, people: People) -> None:
    people.join("Alexandra", site.url).is_connected("ws")


def test_people_on_different_transports_chat_with_one_another(site: Site, people: People) -> None:
    everybody = [people.join(f"on {name}", site.url, name) for name in TRANSPORTS]
    for name, person in zip(TRANSPORTS, everybody, strict=True):
        person.say(f"over {name}")
        for other in everybody:
            other.sees(f"over {name}")
    for person in everybody:
        expect(person.texts).to_have_text([f"over {name}" for name in TRANSPORTS])


# -- the nickname


def test_a_taken_nickname_is_explained_and_another_is_one_click_away(
    site: Site, people: People
) -> None:
    people.join("Alexandra", site.url)
    other = people.open(site.url)
    expect(other.nickname).to_be_focused()
    other.choose("Alexandra")
    expect(other.nickname).to_have_attribute("aria-invalid", "true")
    explained = other.page.locator("#" + str(other.nickname.get_attribute("aria-describedby")))
    expect(explained).to_have_text("This nickname is taken.")
    expect(explained).to_be_visible()
    expect(other.nickname).to_be_focused()
    selected = "box => box.value.slice(box.selectionStart, box.selectionEnd)"
    assert other.nickname.evaluate(selected) == "Alexandra"
    suggestion = other.dialog.locator(".suggestions button").first
    name = suggestion.inner_text()
    assert name.startswith("Alexandra")
    suggestion.click()
    expect(other.dialog).to_be_hidden()
    assert {one["nickname"] for one in site.get("/v1/participants")} == {"Alexandra", name}


@pytest.mark.parametrize("nickname", ["admin", "n" * 33, "a\u200eb\u0007"])
def test_an_unacceptable_nickname_is_explained_and_the_next_one_taken(
    site: Site, people: People, nickname: str
) -> None:
    person = people.open(site.url)
    person.choose(nickname)
    expect(person.dialog.locator(".error")).to_be_visible()
    expect(person.dialog.locator(".error")).not_to_be_empty()
    expect(person.nickname).to_have_attribute("aria-invalid", "true")
    expect(person.nickname).to_be_focused()
    person.join("Boris")
    assert [one["nickname"] for one in site.get("/v1/participants")] == ["Boris"]


def test_the_nickname_is_chosen_by_keyboard_and_then_one_writes(site: Site, people: People) -> None:
    person = people.open(site.url)
    expect(person.nickname).to_be_focused()
    person.page.keyboard.type("Alexandra")
    person.page.keyboard.press("Enter")
    expect(person.participant("You")).to_have_count(1)
    expect(person.composer).to_be_focused()
    person.page.keyboard.type("hello")
    person.page.keyboard.press("Enter")
    person.sees("hello")


def test_ones_own_menu_changes_the_nickname_and_gives_it_back(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    alexandra.open_menu()
    alexandra.page.get_by_role("button", name="Change nickname").click()
    alexandra.join("Sasha")
    expect(boris.participant("Sasha")).to_have_count(1)
    expect(boris.participant("Alexandra")).to_have_count(0)
    alexandra.leave()
    expect(boris.participants).to_have_count(1)
    alexandra.page.get_by_role("button", name="Join the chat").click()
    alexandra.join("Alexandra")
    expect(boris.participant("Alexandra")).to_have_count(1)


# -- who is who


def box(locator: Locator) -> tuple[float, float]:
    """Return the left and right ends of something."""
    found = locator.bounding_box()
    assert found
    return found["x"], found["x"] + found["width"]


def test_ones_own_name_is_you_in_its_place_and_marked(site: Site, people: People) -> None:
    people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    carla = people.join("Carla", site.url)
    for person, place in ((boris, 1), (carla, 2)):
        expect(person.participants).to_have_count(3)
        own = person.participants.nth(place)
        expect(own).to_have_class(re.compile(r"\byou\b"))
        expect(own.get_by_text("You", exact=True)).to_be_visible()
        expect(person.page.locator("cc-participants .avatar")).to_have_count(3)
        expect(person.page.locator("cc-participants .participant.you")).to_have_count(1)


def test_own_messages_are_right_under_you_and_others_left_under_their_name(
    site: Site, people: People
) -> None:
    alexandra = people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    alexandra.say("mine")
    boris.sees("mine")
    boris.say("yours")
    alexandra.sees("yours")
    instants = [event["at"] for event in site.events() if event["type"] == "message"]
    (mine_at, yours_at) = (
        f"{at[11:16]} {at[8:10]}.{at[5:7]}.{at[:4]}" for at in instants
    )  # "23:10 20.03.2019"
    mine, yours = alexandra.message("mine"), alexandra.message("yours")
    expect(mine.locator(".head")).to_have_text(f"You, {mine_at}")
    expect(yours.locator(".head")).to_have_text(f"Boris, {yours_at}")
    expect(mine).to_have_class(re.compile(r"\bown\b"))
    expect(yours).not_to_have_class(re.compile(r"\bown\b"))
    left, right = box(alexandra.chat)
    mine_left, mine_right = box(mine.locator(".text"))
    yours_left, yours_right = box(yours.locator(".text"))
    assert right - mine_right < mine_left - left, "one's own is on the right"
    assert yours_left - left < right - yours_right, "another's is on the left"
    colour = "head => getComputedStyle(head).color"
    assert mine.locator(".head").evaluate(colour) != yours.locator(".head").evaluate(colour)


# -- writing


def test_shift_enter_breaks_the_line_and_enter_sends(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.composer.focus()
    keyboard = alexandra.page.keyboard
    keyboard.type("one")
    keyboard.press("Shift+Enter")
    keyboard.type("two")
    keyboard.press("Enter")
    expect(alexandra.texts).to_have_text("one\ntwo", use_inner_text=True)
    expect(alexandra.messages).to_have_attribute("data-cursor", re.compile("."))
    expect(alexandra.composer).to_have_value("")
    (message,) = (event for event in site.events() if event["type"] == "message")
    assert message["text"] == "one\ntwo"


def test_an_enter_that_ends_a_composition_sends_nothing(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.composer.fill("かな")
    for composing in ({"isComposing": True}, {"keyCode": 229}):
        event = {"key": "Enter", "bubbles": True, "cancelable": True, **composing}
        alexandra.composer.evaluate(
            "(box, event) => { box.dispatchEvent(new KeyboardEvent('keydown', event)) }", event
        )
    expect(alexandra.composer).to_have_value("かな")
    alexandra.composer.press("Enter")
    alexandra.sees("かな")
    assert [event["text"] for event in site.events() if event["type"] == "message"] == ["かな"]


def test_nothing_but_blanks_is_not_sent(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.say("", "  \t", "something")
    alexandra.sees("something")
    expect(alexandra.messages).to_have_count(1)


@pytest.mark.parametrize("transport", ["ws", "sse", "poll"])
def test_what_one_says_is_there_at_once_and_then_delivered(
    site: Site, people: People, behind: Behind, transport: str
) -> None:
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url, transport)
    proxy.stall()
    alexandra.say("on its way")
    expect(alexandra.message("on its way")).to_have_class(re.compile(r"\bpending\b"))
    proxy.mend()
    alexandra.sees("on its way")
    expect(alexandra.message("on its way")).not_to_have_class(re.compile(r"\bpending\b"))


def test_what_could_not_be_said_says_so_and_is_tried_again(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url, "poll")
    refuse_commands(alexandra)
    alexandra.say("hear me")
    expect(alexandra.message("hear me")).to_have_class(re.compile(r"\bfailed\b"))
    expect(alexandra.message("hear me")).to_contain_text("Not sent: You may not do this.")
    alexandra.page.unroute("**/v1/commands")
    alexandra.message("hear me").get_by_role("button", name="Send again").click()
    alexandra.sees("hear me")
    expect(alexandra.messages).to_have_count(1)
    expect(alexandra.message("hear me")).not_to_have_class(re.compile(r"\bfailed\b"))


def test_who_takes_a_message_back_takes_it_from_everybody(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    alexandra.say("oops", "and this stays")
    boris.sees("oops", "and this stays")
    expect(boris.page.get_by_role("button", name="Remove")).to_have_count(0)
    alexandra.remove("oops")
    for person in (alexandra, boris, people.join("Carla", site.url)):
        expect(person.texts).to_have_text(["This message was removed", "and this stays"])


def test_who_only_looks_around_reads_and_may_join_later(site: Site, people: People) -> None:
    site.say("for everybody")
    guest = people.open(site.url)
    guest.dialog.get_by_role("button", name="Just look around").click()
    guest.sees("for everybody")
    expect(guest.composer).to_be_hidden()
    assert site.get("/v1/participants") == []
    guest.page.get_by_role("button", name="Join the chat").first.click()
    guest.join("Alexandra")
    guest.say("here I am")
    guest.sees("here I am")


def test_addresses_are_links_that_tell_nothing_of_where_they_were(
    site: Site, people: People
) -> None:
    alexandra = people.join("Alexandra", site.url)
    site.say("see https://example.org/a?b=c&d=(e), and http://example.org. but not ftp://x.org")
    links = alexandra.texts.get_by_role("link")
    expect(links).to_have_count(2)
    assert [link.inner_text() for link in links.all()] == [
        "https://example.org/a?b=c&d=(e)",
        "http://example.org",
    ]
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://example.org/a?b=c&d=(e)",
        "http://example.org/",
    ]
    for link in links.all():
        assert set(str(link.get_attribute("rel")).split()) >= {
            "noopener",
            "noreferrer",
            "nofollow",
        }
