"""The dashboard: what is done to instances is seen in both widgets of everybody, in step."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Serve
    from tests.browser.person import People, Person
    from tests.browser.site import Site

WATCH = """() => {
  const list = document.querySelector("cc-instances");
  const seen = window.seen = [];
  const look = () => {
    const now = JSON.stringify([...list.querySelectorAll("article.instance")].map(card => [
      card.dataset.state,
      [...card.querySelectorAll("[data-action]")].map(button =>
        button.dataset.action + (button.getAttribute("aria-disabled") === "true" ? " waits" : "")),
      card.querySelector("progress") !== null && card.querySelector("progress").checkVisibility(),
    ]));
    if (seen.at(-1) !== now) seen.push(now);
  };
  look();
  new MutationObserver(look).observe(list, {subtree: true, childList: true, attributes: true});
}"""
"""Notes whatever the cards show from now on, so that no moment can be missed."""

WATCH_BAR = """() => {
  const bar = document.querySelector("cc-instances progress"), all = bar.closest(".operation");
  bar.value = bar.max = 20;
  window.changes = [];
  new MutationObserver((records) => {
    if (all.hidden) return;
    const those = records.filter(({target}) => target === bar || target === all);
    window.changes.push(...those.map((one) => one.attributeName));
  }).observe(all, {subtree: true, attributeFilter: ["hidden", "value"]});
}"""
"""Leaves the bar as an operation of 20 s does, and notes when it is set and when it is shown."""

BUSY, FREE = True, False
VISIBLE = ("--provider", "simulated:?duration=1.5")
"""Operations that last until a busy browser, too, has shown that they run."""


def seen(person: Person) -> list[Any]:
    """Return what the one card showed, change by change: its state, its actions, and whether it was busy."""
    shown: list[Any] = person.page.evaluate("() => window.seen.map(JSON.parse)")
    changes = list[Any]()
    for cards in shown:
        card = (cards[0][0], cards[0][2]) if cards else None
        if not changes or changes[-1] != card:
            changes.append(card)
    return changes


@pytest.mark.parametrize("transport", ["auto", "poll"])
def test_everybody_sees_what_happens_to_an_instance_in_both_widgets(
    serve: Serve, people: People, transport: str
) -> None:
    site = serve(*VISIBLE)
    alexandra = people.join("Alexandra", site.url, transport)
    boris = people.join("Boris", site.url, transport)
    both = (alexandra, boris)
    for person in both:
        person.page.evaluate(WATCH)
    alexandra.create("web-1")
    for person in both:
        expect(person.instance("web-1")).to_have_attribute("data-state", "stopped")
        expect(person.instance("web-1")).to_contain_text("Stopped")
    boris.action("web-1", "start").click()
    for person in both:
        expect(person.instance("web-1")).to_have_attribute("data-state", "running")
        expect(person.instance("web-1")).to_contain_text("Running")
    alexandra.action("web-1", "stop").click()
    for person in both:
        expect(person.instance("web-1")).to_have_attribute("data-state", "stopped")
        expect(person.action("web-1", "remove")).not_to_have_attribute("aria-disabled", "true")
    boris.action("web-1", "remove").click()
    boris.page.locator("dialog.confirm").get_by_role("button", name="Remove").click()
    for person in both:
        expect(person.instances).to_have_count(0)
        expect(person.worklog).to_have_count(8)
    lines = [
        ('INFO: Received "Create command"', "Alexandra"),
        ("INFO: Created", "Alexandra"),
        ('INFO: Received "Start command"', "Boris"),
        ("INFO: Started", "Boris"),
        ('INFO: Received "Stop command"', "Alexandra"),
        ("INFO: Stopped", "Alexandra"),
        ('INFO: Received "Remove command"', "Boris"),
        ("INFO: Removed", "Boris"),
    ]
    (instance,) = {event["instance"]["id"] for event in site.events() if "instance" in event}
    for person in both:
        for entry, (line, by) in zip(person.worklog.all(), lines, strict=True):
            expect(entry).to_contain_text(line)
            expect(entry).to_contain_text(f"by {by}")
            expect(entry).to_contain_text(f"Server: {instance}")
            expect(entry).to_contain_text(re.compile(r"\d\d:\d\d:\d\d \d\d\.\d\d\.\d\d"))
        assert seen(person) == [
            None,
            ("creating", BUSY),
            ("stopped", FREE),
            ("stopped", BUSY),
            ("running", FREE),
            ("running", BUSY),
            ("stopped", FREE),
            ("stopped", BUSY),
            None,
        ]


def test_the_actions_are_those_that_the_state_allows_and_wait_while_one_runs(
    serve: Serve, people: People
) -> None:
    site = serve(*VISIBLE)
    alexandra = people.join("Alexandra", site.url)
    site.create("web-1")
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "stopped")
    alexandra.page.evaluate(WATCH)
    alexandra.action("web-1", "start").click()
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "running")
    shown: list[Any] = alexandra.page.evaluate("() => window.seen.map(JSON.parse)")
    states = [(state, set(actions), busy) for ((state, actions, busy),) in shown]
    assert states[0] == ("stopped", {"start", "remove"}, FREE)
    assert states[-1] == ("running", {"stop", "remove"}, FREE)
    busy = [actions for _, actions, busy in states if busy]
    assert busy
    assert all(action.endswith(" waits") for actions in busy for action in actions)


def test_the_bar_of_an_operation_does_not_run_back_from_where_another_ended(
    site: Site, people: People
) -> None:
    alexandra = people.join("Alexandra", site.url)
    site.create("web-1")
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "stopped")
    alexandra.page.evaluate(WATCH_BAR)
    alexandra.action("web-1", "start").click()
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "running")
    # What is set while it is seen moves there, for a second.
    assert alexandra.page.evaluate("() => window.changes.slice(0, 2)") == ["value", "hidden"]


def test_a_running_operation_says_which_it_is_and_how_far(serve: Serve, people: People) -> None:
    site = serve("--provider", "simulated:?duration=100")
    alexandra = people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    alexandra.create("web-1")
    for person in (alexandra, boris):
        card = person.instance("web-1")
        expect(card).to_have_attribute("data-state", "creating")
        expect(card.locator(".operation")).to_contain_text(re.compile("creat", re.IGNORECASE))
        expect(card.get_by_role("progressbar")).to_be_visible()
        expect(card.locator("[data-action]:not([aria-disabled=true])")).to_have_count(0)
        expect(person.worklog).to_have_count(1)


def test_what_runs_is_shown_to_who_comes_later(serve: Serve, people: People) -> None:
    site = serve("--provider", "simulated:?duration=100")
    site.command({"type": "create", "name": "web-1"})
    alexandra = people.join("Alexandra", site.url)
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "creating")
    expect(alexandra.instance("web-1").get_by_role("progressbar")).to_be_visible()


def test_removing_asks_first_and_does_nothing_when_one_thinks_better_of_it(
    site: Site, people: People
) -> None:
    alexandra = people.join("Alexandra", site.url)
    site.create("web-1")
    alexandra.action("web-1", "remove").click()
    asked = alexandra.page.locator("dialog.confirm")
    expect(asked).to_be_visible()
    expect(asked).to_contain_text("web-1")
    asked.get_by_role("button", name="Cancel").click()
    expect(asked).to_be_hidden()
    expect(alexandra.action("web-1", "remove")).to_be_focused()
    alexandra.action("web-1", "remove").click()
    alexandra.page.keyboard.press("Escape")
    expect(asked).to_be_hidden()
    alexandra.action("web-1", "remove").click()
    asked.get_by_role("button", name="Remove").click()
    expect(alexandra.instances).to_have_count(0)
    received = [event["command"] for event in site.events() if event["type"] == "received"]
    assert received == ["create", "remove"]


def test_an_instance_without_a_name_goes_by_its_id(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.create()
    expect(alexandra.instances).to_have_attribute("data-state", "stopped")
    (instance,) = site.get("/v1/instances")
    expect(alexandra.instances).to_contain_text(instance["id"])
    expect(alexandra.action(instance["id"], "start")).to_have_accessible_name(
        f"Start {instance['id']}"
    )


def test_a_failing_provider_is_shown_as_such_and_the_state_is_as_before(
    serve: Serve, people: People
) -> None:
    site = serve("--provider", "simulated:?duration=0.3&fail=start")
    alexandra = people.join("Alexandra", site.url)
    boris = people.join("Boris", site.url)
    alexandra.create("web-1")
    expect(alexandra.instance("web-1")).to_have_attribute("data-state", "stopped")
    alexandra.action("web-1", "start").click()
    failed = alexandra.page.locator("cc-worklog article.failed")
    expect(failed).to_contain_text("ERROR:")
    for person in (alexandra, boris):
        expect(person.page.locator("cc-worklog article.failed")).to_have_count(1)
        expect(person.instance("web-1")).to_have_attribute("data-state", "stopped")
        expect(person.action("web-1", "start")).not_to_have_attribute("aria-disabled", "true")
    (event,) = (event for event in site.events() if event["type"] == "failed")
    expect(failed).to_contain_text(event["detail"])


def test_a_failing_creation_is_shown_until_it_is_dismissed(serve: Serve, people: People) -> None:
    site = serve("--provider", "simulated:?duration=0.3&fail=create")
    alexandra = people.join("Alexandra", site.url)
    alexandra.create("web-1")
    expect(alexandra.page.locator("cc-worklog article.failed")).to_have_count(1)
    expect(alexandra.instances).to_contain_text("Could not be created")
    expect(alexandra.instances.locator("[data-action=start], [data-action=stop]")).to_have_count(0)
    alexandra.instances.get_by_role("button", name="Dismiss").click()
    expect(alexandra.instances).to_have_count(0)
    assert site.get("/v1/instances") == []


def test_the_chat_shows_what_happened_to_servers_in_its_place_when_asked(
    site: Site, people: People
) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.say("I start one")
    alexandra.sees("I start one")
    site.create("web-1")
    site.say("it is there")
    alexandra.sees("it is there")
    quiet = alexandra.page.locator("cc-messages .quiet")
    expect(quiet).to_have_count(0)
    toggle = alexandra.page.get_by_label("Show server events")
    toggle.check()
    expect(quiet).to_have_count(2)
    order = "log => [...log.querySelectorAll('.message, .quiet')].map(e => e.matches('.quiet'))"
    assert alexandra.chat.evaluate(order) == [False, True, True, False]
    toggle.uncheck()
    expect(quiet).to_have_count(0)


def test_nothing_is_called_empty_before_it_is_known(serve: Serve, people: People) -> None:
    site = serve("--transport", "poll")
    people.expected("Unexpected response code: 404")
    stranger = people.open(f"{site.url}/?transport=ws")
    expect(stranger.connection).to_contain_text("Reconnecting")
    expect(stranger.page.locator(".empty").locator("visible=true")).to_have_count(0)
    guest = people.open(f"{site.url}/?transport=poll")
    expect(guest.page.locator(".empty").locator("visible=true")).to_have_count(3)


def test_who_changes_a_nickname_may_keep_the_old_one(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    alexandra.page.get_by_role("button", name="Menu").click()
    alexandra.page.get_by_text("Change nickname").click()
    alexandra.dialog.get_by_role("button", name="Cancel").click()
    alexandra.say("still me")
    alexandra.sees("still me")
    assert site.comings_and_goings() == [("joined", "Alexandra")]
