"""Reading: older history, new messages while one reads elsewhere, and what was not yet read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from tests.browser.person import People, Person
    from tests.browser.site import Site

AT_BOTTOM = "log => log.scrollHeight - log.clientHeight - log.scrollTop < 2"
TO_TOP = "log => { log.scrollTop = 0 }"
AT_REST = """log => new Promise(resolve => {
  let [place, frames] = [log.scrollTop, 0];
  const look = () => {
    [place, frames] = [log.scrollTop, log.scrollTop === place ? frames + 1 : 0];
    if (frames < 10) requestAnimationFrame(look);
    else resolve(place);
  };
  look();
})"""
"""Where a list stands when it scrolls no further: a browser does that bit by bit."""


def at_bottom(person: Person) -> None:
    """Wait until the newest message is in view."""
    person.page.wait_for_function(
        f"() => ({AT_BOTTOM})(document.querySelector('cc-messages [role=log]'))"
    )


def texts(first: int, last: int) -> list[str]:
    return [f"message {number:03}" for number in range(first, last)]


def test_the_newest_messages_are_in_view_and_stay_so(site: Site, people: People) -> None:
    site.say(*texts(0, 40))
    alexandra = people.join("Alexandra", site.url)
    expect(alexandra.message("message 039")).to_be_in_viewport()
    site.say(*texts(40, 45))
    expect(alexandra.message("message 044")).to_be_in_viewport()
    at_bottom(alexandra)
    alexandra.say("mine")
    expect(alexandra.message("mine")).to_be_in_viewport()


def test_older_history_comes_as_one_scrolls_up_and_the_place_is_kept(
    site: Site, people: People
) -> None:
    site.say(*texts(0, 90))
    site.say(*texts(90, 170))
    alexandra = people.join("Alexandra", site.url)
    expect(alexandra.message("message 169")).to_be_in_viewport()
    expect(alexandra.message("message 119")).to_have_count(0)
    alexandra.chat.evaluate(TO_TOP)
    expect(alexandra.message("message 119")).to_have_count(1)
    # What one was reading is still in view, although there is more above it now.
    expect(alexandra.message("message 120")).to_be_in_viewport()
    while alexandra.message("message 000").count() == 0:
        first = alexandra.texts.first.text_content()
        alexandra.chat.evaluate(TO_TOP)
        alexandra.page.wait_for_function(
            """first => document.querySelector("cc-messages article.message .text").textContent !== first""",
            arg=first,
        )
    alexandra.chat.evaluate(TO_TOP)
    expect(alexandra.message("message 000")).to_be_in_viewport()
    shown = alexandra.texts.all_text_contents()
    assert shown == texts(int(shown[0][-3:]), int(shown[0][-3:]) + len(shown)), "in order, and once"


def test_who_reads_further_up_is_told_of_what_is_new_and_not_moved(
    site: Site, people: People
) -> None:
    site.say(*texts(0, 45))
    alexandra = people.join("Alexandra", site.url)
    expect(alexandra.message("message 044")).to_be_in_viewport()
    button = alexandra.page.locator("cc-messages .new-messages")
    expect(button).to_be_hidden()
    alexandra.chat.hover()
    alexandra.page.mouse.wheel(0, -600)
    expect(alexandra.message("message 044")).not_to_be_in_viewport()
    place = alexandra.chat.evaluate(AT_REST)
    site.say("news 1", "news 2", "news 3")
    expect(button).to_be_visible()
    expect(button).to_have_text("3 new")
    assert alexandra.chat.evaluate("log => log.scrollTop") == place
    button.click()
    expect(alexandra.message("news 3")).to_be_in_viewport()
    expect(button).to_be_hidden()


def test_each_day_has_a_line_before_its_first_message(site: Site, people: People) -> None:
    site.say("three days ago", "also then", "today")
    alexandra = people.open("about:blank", timezone_id="Asia/Tokyo")

    def age(route: Route) -> None:
        answer = route.fetch()
        page = answer.json()
        for frame in page["frames"]:
            for message in frame.get("messages", [])[:2]:
                message["at"] = "2019-03-20T14:10:00.000Z"
        route.fulfill(response=answer, json=page)

    alexandra.page.route("**/v1/poll**", age)
    alexandra.page.goto(f"{site.url}/?transport=poll")
    alexandra.join("Alexandra")
    order = "log => [...log.querySelectorAll('.message, .day')].map(one => one.matches('.day'))"
    expect(alexandra.texts).to_have_count(3)
    assert alexandra.chat.evaluate(order) == [True, False, False, True, False]
    expect(alexandra.chat.locator(".day").first).to_contain_text("2019")
    # Times are those of where the reader is.
    expect(alexandra.message("also then").locator(".head")).to_have_text("Bot, 23:10 20.03.2019")


def test_the_title_counts_what_came_while_nobody_looked(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    title = alexandra.page.title()
    hide(alexandra, hidden=True)
    site.say("one", "two")
    expect(alexandra.page).to_have_title(re.compile(r"\(2\)"))
    hide(alexandra, hidden=False)
    expect(alexandra.page).to_have_title(title)


def test_who_asked_for_it_is_notified_of_what_came_while_nobody_looked(
    site: Site, people: People
) -> None:
    alexandra = people.open("about:blank")
    # A headless browser has nowhere to show one.
    alexandra.page.add_init_script("""
      window.notified = [];
      window.Notification = class extends EventTarget {
        static permission = "default";
        static async requestPermission() { return this.permission = "granted"; }
        constructor(title, {body}) { super(); window.notified.push([title, body]); }
      };""")
    alexandra.page.goto(site.url)
    alexandra.join("Alexandra")
    hide(alexandra, hidden=True)
    site.say("unasked for")
    expect(alexandra.page).to_have_title(re.compile(r"\(1\)"))
    hide(alexandra, hidden=False)
    alexandra.open_menu()
    alexandra.page.get_by_label("Notify me of new messages").check()
    site.say("while I look")
    alexandra.sees("while I look")
    hide(alexandra, hidden=True)
    site.say("news", nickname="Boris")
    alexandra.page.wait_for_function("() => window.notified.length")
    assert alexandra.page.evaluate("() => window.notified") == [["Boris", "news"]]


def hide(person: Person, *, hidden: bool) -> None:
    """Let the page believe that its tab went to the background, which a headless browser's never do."""
    person.page.evaluate(
        """hidden => {
      Object.defineProperty(document, "visibilityState",
        {configurable: true, get: () => hidden ? "hidden" : "visible"});
      Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
      document.hasFocus = () => !hidden;
      document.dispatchEvent(new Event("visibilitychange", {bubbles: true}));
      window.dispatchEvent(new Event(hidden ? "blur" : "focus"));
    }""",
        hidden,
    )
