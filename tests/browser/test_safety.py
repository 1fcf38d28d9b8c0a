"""Foreign text is text: whatever somebody calls themselves or says, nothing of it happens on a page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.person import People, Person
    from tests.browser.site import Site

NICKNAMES = ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "שלום", "&lt;b&gt;"]
TEXTS = [
    "<script>alert(1)</script>",
    "<img src=/x onerror=alert(1)>",
    "<svg onload=alert(1)><a xlink:href='javascript:alert(1)'>x</a></svg>",
    "<style>* { display: none }</style><base href=//evil.test><iframe srcdoc='<script>'></iframe>",
    "javascript:alert(1) data:text/html,<script>alert(1)</script>",
    'https://example.org/"onmouseover="alert(1)',
    "{{constructor.constructor('alert(1)')()}} ${alert(1)} &lt;b&gt;",
    "\u202ereversed\u202c and \u2066isolated",
    "\u202eand never closed",
    "שלום and hello",
    "word" * 1000,
    "👩\u200d👩\u200d👧 " * 300,
    "line\n" * 800,
    "z̸̢̛̮͚͂̓a̷l̴g̵o̶ " * 100,
]


def foreign(person: Person) -> list[str]:
    """Return the elements within what people wrote that would be more than text."""
    found: list[str] = person.page.evaluate("""() => {
      const more = "script, img, style, base, iframe, object, embed, [onerror], [onload], "
        + "[style]:not(.avatar), [href]:not([href^='http://'], [href^='https://'])";
      return [...document.querySelectorAll(".message *, .participant *, .entry *, .instance *")]
        .filter(element => element.matches(more)).map(element => element.outerHTML);
    }""")
    return found


def test_hostile_nicknames_and_messages_are_nothing_but_text(site: Site, people: People) -> None:
    alexandra = people.open(site.url)
    asked: list[str] = []
    alexandra.page.on("request", lambda request: asked.append(request.url))
    alexandra.join("Alexandra")
    site.say(*TEXTS)
    for text in TEXTS:
        shown = alexandra.texts.nth(TEXTS.index(text))
        expect(shown).to_have_text(text.strip(), use_inner_text=False)
    mallory = people.join(NICKNAMES[0], site.url)
    for name in NICKNAMES[1:]:
        site.say(f"I am {name}", nickname=name)
        alexandra.sees(f"I am {name}", who=name)
    site.create("<img src=x onerror=alert(1)>")
    expect(alexandra.instances).to_have_count(1)
    expect(alexandra.instances).to_contain_text("<img src=x onerror=alert(1)>")
    mallory.say("<b>bold</b>")
    alexandra.sees("<b>bold</b>", who=NICKNAMES[0])
    expect(alexandra.participant(NICKNAMES[0])).to_have_count(1)
    alexandra.page.reload()
    alexandra.sees("<b>bold</b>")
    assert foreign(alexandra) == []
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(site.url).netloc}
    paths = {urlsplit(url).path for url in asked}
    assert not [path for path in paths if path != "/" and not path.startswith(("/v1/", "/assets/"))]


@pytest.mark.parametrize("size", [(390, 844), (1280, 800)])
def test_long_words_break_nothing(site: Site, people: People, size: tuple[int, int]) -> None:
    alexandra = people.join("W" * 32, site.url, size=size)
    site.say("word" * 1000, nickname="M" * 32)
    site.say("https://example.org/" + "a" * 1000)
    expect(alexandra.texts).to_have_count(2)
    too_wide = """() => [document.documentElement, ...document.querySelectorAll(
      "[role=log], .message, .participant")].filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.outerHTML)"""
    assert alexandra.page.evaluate(too_wide) == []


def test_no_message_keeps_a_page_busy(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    begun = time.monotonic()
    site.say(
        "http://a" + "." * 2000 + "b" + ")" * 2000,
        "http://a" + ".)" * 2000,
        "http://" + "." * 4000 + "a",
        "http://a " * 400,
        "It is here.",
    )
    alexandra.sees("It is here.")
    assert time.monotonic() - begun < 20
    expect(alexandra.texts.first.get_by_role("link")).to_have_text("http://a" + "." * 2000 + "b")


def test_text_that_turns_its_direction_turns_nothing_around_it(site: Site, people: People) -> None:
    alexandra = people.join("Alexandra", site.url)
    site.say("\u202eturned", nickname="שלום")
    alexandra.sees("\u202eturned")
    isolated = """element => {
      for (let e = element; !e.matches(".message"); e = e.parentElement)
        if (/isolate|plaintext/.test(getComputedStyle(e).unicodeBidi)) return true;
      return false;
    }"""
    message = alexandra.message("\u202eturned")
    assert message.locator(".text").evaluate(isolated)
    assert message.get_by_text("שלום", exact=True).evaluate(isolated)


def test_the_page_forbids_itself_whatever_it_does_not_need(site: Site, people: People) -> None:
    headers = httpx.get(site.url).headers
    policy = dict(
        directive.strip().partition(" ")[::2]
        for directive in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] in {"no-referrer", "same-origin"}
    alexandra = people.join("Alexandra", site.url)
    # The browser keeps to it: what somebody might smuggle in does not run.
    # (In a turn of the page's own: in that of the debugger's, a browser lets it do anything.)
    ran = """() => new Promise(resolve => setTimeout(() => {
      const ran = [];
      try { document.body.innerHTML = "<b>"; ran.push("innerHTML"); } catch {}
      try { new Function("")(); ran.push("Function"); } catch {}
      try { (0, eval)("1"); ran.push("eval"); } catch {}
      resolve(ran);
    }))"""
    people.expected("Trusted")
    people.expected("Content Security Policy")
    assert alexandra.page.evaluate(ran) == []
