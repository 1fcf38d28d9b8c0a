"""The network and the server fail under the page: it says so, comes back by itself, and loses and doubles nothing."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Behind, Serve
    from tests.browser.person import People, Person
    from tests.browser.site import Site

over_each = pytest.mark.parametrize("transport", ["ws", "sse", "poll"])
CUT_OFF = re.compile("^(waiting|connecting|offline)$")


def is_cut_off(person: Person) -> None:
    """Wait until the page says that it has no connection."""
    expect(person.html).to_have_attribute("data-connection", CUT_OFF)
    expect(person.connection).to_be_visible()
    expect(person.connection).to_contain_text("onnecting")


@pytest.mark.parametrize(
    ("how", "transport"),
    [
        *((signal.SIGKILL, transport) for transport in ("auto", "sse", "poll")),
        # It says that it goes on a feed of either kind.
        *((signal.SIGTERM, transport) for transport in ("auto", "sse")),
    ],
)
def test_a_server_that_comes_back_finds_its_pages_without_a_loss_or_a_double(
    serve: Serve, people: People, how: signal.Signals, transport: str
) -> None:
    site = serve("--grace", "20")
    people.network_fails = True
    alexandra = people.join("Alexandra", site.url, transport)
    boris = people.join("Boris", site.url, transport)
    alexandra.say("before")
    boris.sees("before")
    site.stop(how)
    for person in (alexandra, boris):
        is_cut_off(person)
    alexandra.say("meanwhile")
    expect(alexandra.message("meanwhile")).to_have_class(re.compile(r"\bpending\b"))
    site.start()
    site.say("early")
    for person in (alexandra, boris):
        person.is_connected(transport)
        person.sees("before", "meanwhile", "early")
    boris.say("after")
    for person in (alexandra, boris):
        person.sees("after")
    said = [event["text"] for event in site.events() if event["type"] == "message"]
    assert sorted(said) == ["after", "before", "early", "meanwhile"]
    for person in (alexandra, boris):
        expect(person.texts).to_have_text(said)
    assert site.comings_and_goings() == [("joined", "Alexandra"), ("joined", "Boris")]


@over_each
def test_a_line_that_breaks_costs_nothing(
    serve: Serve, people: People, behind: Behind, transport: str
) -> None:
    site = serve("--grace", "20")
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url, transport)
    said = []
    for number in range(2):
        proxy.cut()
        is_cut_off(alexandra)
        alexandra.say(f"typed {number}")
        site.say(f"missed {number}")
        proxy.mend()
        alexandra.is_connected(transport)
        said += [f"missed {number}", f"typed {number}"]
        alexandra.sees(*said)
    expect(alexandra.texts).to_have_text(said)
    assert site.comings_and_goings() == [("joined", "Alexandra")]


@over_each
def test_a_line_that_stalls_is_noticed_by_its_silence_and_costs_nothing(
    serve: Serve, people: People, behind: Behind, transport: str
) -> None:
    site = serve("--grace", "30", "--heartbeat", "0.5")
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url, transport)
    proxy.stall()
    is_cut_off(alexandra)
    alexandra.say("typed")
    site.say("missed")
    proxy.mend()
    alexandra.is_connected(transport)
    alexandra.sees("missed", "typed")
    expect(alexandra.texts).to_have_text(["missed", "typed"])
    assert site.comings_and_goings() == [("joined", "Alexandra")]


def test_a_proxy_that_refuses_upgrades_is_got_around_until_it_lets_them_through(
    site: Site, people: People, behind: Behind
) -> None:
    proxy = behind(site)
    proxy.refuse_upgrades()
    people.network_fails = True
    alexandra = people.open(proxy.url, clock=True)
    alexandra.join("Alexandra")
    expect(alexandra.html).to_have_attribute("data-transport", "sse")
    boris = people.join("Boris", site.url)
    alexandra.say("by stream")
    boris.sees("by stream", who="Alexandra")
    boris.say("by WebSocket")
    alexandra.sees("by WebSocket", who="Boris")
    alexandra.create("web-1")
    expect(boris.instance("web-1")).to_have_attribute("data-state", "stopped")
    proxy.mend()
    # It looks after 15 seconds whether there is a better way by now.
    alexandra.page.clock.fast_forward("00:16")
    expect(alexandra.html).to_have_attribute("data-transport", "ws")
    alexandra.say("by WebSocket, too")
    boris.sees("by WebSocket, too")
    alexandra.sees("by stream", "by WebSocket", "by WebSocket, too")
    assert site.comings_and_goings() == [("joined", "Alexandra"), ("joined", "Boris")]


def test_a_page_that_is_cut_off_counts_down_and_tries_now_when_asked(
    site: Site, people: People, behind: Behind
) -> None:
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url)
    proxy.cut()
    # Long enough for her to be the first who tries.
    expect(alexandra.connection).to_contain_text(re.compile(r"Reconnecting in ([3-9]|\d\d)\ss"))
    proxy.mend()
    alexandra.connection.get_by_role("button", name="Now").click()
    alexandra.is_connected()
    expect(alexandra.connection).not_to_contain_text("Reconnecting")


def test_a_browser_without_a_network_says_so_and_comes_back_with_it(
    site: Site, people: People, behind: Behind
) -> None:
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url)
    alexandra.page.context.set_offline(True)
    proxy.cut()
    expect(alexandra.html).to_have_attribute("data-connection", "offline")
    site.say("missed")
    proxy.mend()
    alexandra.page.context.set_offline(False)
    alexandra.is_connected()
    alexandra.sees("missed")


@over_each
def test_history_that_is_gone_is_said_to_be_missing(
    serve: Serve, people: People, transport: str
) -> None:
    site = serve()
    people.network_fails = True
    alexandra = people.join("Alexandra", site.url, transport)
    alexandra.say("lost with the log")
    alexandra.sees("lost with the log")
    expect(alexandra.page.get_by_text("Some history is missing")).to_have_count(0)
    site.kill()
    is_cut_off(alexandra)
    site.forget()
    site.start()
    site.say("on the new log")
    alexandra.sees("on the new log")
    expect(alexandra.page.get_by_text("Some history is missing").first).to_be_visible()
    alexandra.is_connected(transport)
    expect(alexandra.participant("You")).to_have_count(1)
    alexandra.say("I am here again")
    alexandra.sees("I am here again")


@over_each
def test_what_a_new_log_cannot_answer_for_is_said_to_be_uncertain(
    serve: Serve, people: People, behind: Behind, transport: str
) -> None:
    site = serve()
    proxy = behind(site)
    people.network_fails = True
    alexandra = people.join("Alexandra", proxy.url, transport)
    proxy.stall()
    alexandra.say("did it arrive?")
    expect(alexandra.message("did it arrive?")).to_have_class(re.compile(r"\bpending\b"))
    proxy.cut()
    is_cut_off(alexandra)
    alexandra.say("this was never sent")
    site.kill()
    site.forget()
    site.start()
    proxy.mend()
    alexandra.is_connected(transport)
    expect(alexandra.message("did it arrive?")).to_have_class(re.compile(r"\buncertain\b"))
    expect(alexandra.message("did it arrive?")).to_have_count(1)
    alexandra.sees("this was never sent")
    said = [event["text"] for event in site.events() if event["type"] == "message"]
    assert said == ["this was never sent"]
    alexandra.message("did it arrive?").get_by_role("button", name="Send again").click()
    alexandra.sees("did it arrive?")


def test_a_message_survives_a_reload_while_the_server_is_away(site: Site, people: People) -> None:
    """The page itself comes from the server, so it is away only for what is said."""
    people.network_fails = True
    alexandra = people.join("Alexandra", site.url, "poll")
    alexandra.page.route("**/v1/commands", lambda route: route.abort())
    alexandra.say("typed before the reload")
    expect(alexandra.message("typed before the reload")).to_have_class(re.compile(r"\bpending\b"))
    alexandra.page.unroute("**/v1/commands")
    alexandra.page.reload()
    alexandra.sees("typed before the reload")
    expect(alexandra.messages).to_have_count(1)
    said = [event["text"] for event in site.events() if event["type"] == "message"]
    assert said == ["typed before the reload"]
