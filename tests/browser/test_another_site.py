"""The page as webpack builds it, on a static hosting of another site, below a path: it reaches its server all the same.

Both names are plain http, as in a LAN, so the page has none of what browsers keep for secure contexts either.
"""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.person import Person
from tests.web.tools import publish

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

    from tests.browser.conftest import Serve
    from tests.browser.person import People

QUICK = ("--provider", "simulated:?duration=0.5")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files, and says nothing of it."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class Hosting:
    """A static hosting of the site a.test. Its pages lie below /sub/path/, in `folder`."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "sub/path"
        self.folder.mkdir(parents=True)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.origin = f"http://a.test:{self._server.server_port}"
        self.url = f"{self.origin}/sub/path"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(name="hosting")
def static_hosting(tmp_path: Path) -> Iterator[Hosting]:
    hosting = Hosting(tmp_path / "hosted")
    yield hosting
    hosting.close()


def test_a_bundle_on_another_site_works_over_every_transport(
    hosting: Hosting, serve: Serve, people: People
) -> None:
    site = serve("--allow-origin", hosting.origin, "--allow-host", "b.test", *QUICK)
    publish(hosting.folder, f"http://b.test:{site.port}")
    everybody = {
        transport: people.join(f"{transport} user", hosting.url, transport)
        for transport in ("ws", "sse", "poll")
    }
    for transport, person in everybody.items():
        assert not person.page.evaluate("isSecureContext")
        person.say(f"hello over {transport}")
        person.create(f"web-{transport}")
    for person in everybody.values():
        person.sees(*(f"hello over {transport}" for transport in everybody))
        for transport in everybody:
            expect(person.instance(f"web-{transport}")).to_have_attribute("data-state", "stopped")


def test_a_server_that_does_not_know_the_site_lets_nobody_in(
    hosting: Hosting, serve: Serve, browser: Browser
) -> None:
    site = serve("--allow-host", "b.test")
    publish(hosting.folder, f"http://b.test:{site.port}")
    # Not among people, whose browsers must have nothing to complain of.
    with browser.new_page(locale="en-GB") as page:
        page.goto(hosting.url)
        stranger = Person(page)
        stranger.choose("Mallory")
        expect(stranger.html).to_have_attribute("data-connection", "waiting")
        expect(page.locator("cc-connection .why")).to_contain_text("does not let this site in")
    assert site.comings_and_goings() == []
