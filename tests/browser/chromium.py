"""A headless Chromium on one page, of which the page itself reports."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from functools import partial
from subprocess import DEVNULL
from typing import TYPE_CHECKING, Any

import pytest
import trio

from cloudchat_core.codec import decode_json

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

WITHOUT = (
    # Each window would load these beside its page, at the cost of half a second.
    *("WebUIOmniboxPopup", "WebUIOmniboxAimPopup"),
    # Only the last list counts that a browser is given, so here is Playwright's own again.
    *("AimEnabled", "AvoidCorsURLLoaderRestartOnRedirect", "AvoidUnnecessaryBeforeUnloadCheckSync"),
    *("DestroyProfileOnBrowserClose", "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades"),
    *("LensOverlay", "MediaRouter", "NetworkTimeServiceQuerying", "OptimizationHints"),
    *("PaintHolding", "PreconnectToSearch", "ThirdPartyStoragePartitioning"),
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(WITHOUT)}",
)


class Reporting:
    """An application with a page more, `/page`; what that reports to `/report` are objects, each with a `number`."""

    def __init__(self, app: Any, page: str) -> None:
        self.reports: list[Any] = []
        self._app, self._page = app, page.encode()
        self._news = trio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] not in {"/page", "/report"}:
            await self._app(scope, receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        if scope["path"] == "/report":
            self._take(decode_json(body))
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        page = self._page if scope["path"] == "/page" else b""
        await send({"type": "http.response.body", "body": page})

    def _take(self, report: Any) -> None:
        # A browser sends a request again whose connection broke before the answer.
        if all(report["number"] != known["number"] for known in self.reports):
            self.reports.append(report)
            self._news.set()

    async def until(self, fact: Callable[[list[Any]], bool]) -> None:
        """Wait until the reports so far show something."""
        while not fact(self.reports):
            self._news = trio.Event()
            await self._news.wait()


def program() -> str:
    """Return where Chromium is. Where it is not, skip the test; where all is to be shown, fail."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("there is no chromium")
    return str(path)


@asynccontextmanager
async def chromium(url: str, profile: Path) -> AsyncIterator[None]:
    """A browser that has `url` open, with a fresh profile."""
    command = [program(), *FLAGS, f"--user-data-dir={profile}", url]
    run = partial(trio.run_process, check=False, stdout=DEVNULL, stderr=DEVNULL)
    async with trio.open_nursery() as nursery:
        process = await nursery.start(run, command)
        try:
            yield
        finally:
            process.terminate()
