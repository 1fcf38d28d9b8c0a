"""A browser, servers, proxies and people for the tests that need them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.chromium import FLAGS, program
from tests.browser.person import People
from tests.browser.site import Site
from tests.clocks import SLOW
from tests.faults.harness import needs
from tests.faults.proxy import Proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

NAMES = "--host-resolver-rules=MAP *.test 127.0.0.1"
"""Sites of other names, for pages that are not their server's own."""

expect.set_options(timeout=30_000)


# Not of the session: while Playwright is there, no test in the same thread can run an asyncio loop.
@pytest.fixture(scope="package", name="browser")
def a_browser() -> Iterator[Browser]:
    """One Chromium for all tests of this directory."""
    path = program()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, NAMES])
        yield browser
        browser.close()


class Serve(Protocol):
    """Starts a server."""

    def __call__(self, *options: str, **environment: str) -> Site: ...


@pytest.fixture(name="serve")
def starting_servers(tmp_path: Path) -> Iterator[Serve]:
    """Servers with options of the test's own."""
    with ExitStack() as stack:

        def serve(*options: str, **environment: str) -> Site:
            site = Site(tmp_path, *options, **environment)
            stack.callback(site.kill)
            return site

        yield serve


@pytest.fixture(name="site")
def a_server(serve: Serve) -> Site:
    """A server whose instances take half a second."""
    return serve("--provider", "simulated:?duration=0.5")


@pytest.fixture(name="slow_site")
def a_slow_server(serve: Serve) -> Site:
    """A server to which the two seconds that a reload may take are twenty of ours."""
    needs("faketime", "-f", "+0 x0.1", "true")
    return serve(**SLOW)


class Behind(Protocol):
    """Puts a proxy before a server."""

    def __call__(self, site: Site) -> Proxy: ...


@pytest.fixture(name="behind")
def putting_proxies() -> Iterator[Behind]:
    """Proxies, which end with the test."""
    with ExitStack() as stack:
        yield lambda site: stack.enter_context(Proxy(site.port))


# After the servers and proxies, so that the pages end before them.
@pytest.fixture(name="people")
def somebody(browser: Browser, serve: Serve, behind: Behind) -> Iterator[People]:
    """People with browsers."""
    with People(browser).watched() as people:
        yield people
