"""A browser's own `EventSource`, which can send no headers, takes part through the name of its feed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from cloudchat_transports.access import Access
from cloudchat_transports.http import HttpApp
from tests.browser.chromium import Reporting, chromium
from tests.transports.stock import listener_serves
from tests.transports.test_links import behind, running

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

PAGE = """<!doctype html><title>EventSource</title><script>
let count = 0;
const report = what =>
  fetch("/report", {method: "POST", body: JSON.stringify({number: ++count, ...what})});
const source = new EventSource("/v1/sse");
let joined = false;
source.addEventListener("welcome", async event => {
  const {feed} = JSON.parse(event.data);
  report({type: "welcome", id: event.lastEventId});
  const answer = await fetch("/v1/commands", {
    method: "POST",
    headers: {"Content-Type": "application/json", "Cloudchat-Token": "a-browsers-own-token-1"},
    body: JSON.stringify([
      {type: "join", id: feed, nickname: "Browser", feed},
      ...(joined ? [] : [{type: "say", id: "hello", text: "from a browser"}]),
    ]),
  });
  joined = true;
  report({type: "answers", answers: await answer.json()});
});
for (const type of ["snapshot", "gap", "joined", "left", "message"])
  source.addEventListener(type, event =>
    report({type, id: event.lastEventId, frame: JSON.parse(event.data)}));
</script>"""


@pytest.fixture(name="anyio_backend")
def on_trio() -> str:
    """The listener is Trio's."""
    return "trio"


def of(reports: list[Any], kind: str) -> list[Any]:
    return [report for report in reports if report["type"] == kind]


async def test_a_browsers_event_source_joins_speaks_and_resumes(tmp_path: Path) -> None:
    async with running(grace=8) as node:
        app = Reporting(HttpApp(node, Access()), PAGE)
        async with (
            listener_serves(app, node) as port,
            behind(f"http://127.0.0.1:{port}", lambda _: "pass") as (proxy, url),
        ):
            with trio.fail_after(60):
                async with chromium(f"{url}/page", tmp_path):
                    await app.until(lambda seen: bool(of(seen, "message") and of(seen, "answers")))
                    (answers,) = of(app.reports, "answers")
                    assert [answer["type"] for answer in answers["answers"]] == ["ack", "ack"]
                    (message,) = of(app.reports, "message")
                    assert message["frame"]["text"] == "from a browser"
                    assert message["id"] == message["frame"]["cursor"]
                    proxy.cut()
                    await app.until(lambda seen: len(of(seen, "answers")) == 2)
                    # It came back with Last-Event-ID: nothing was lost, so there is no second snapshot.
                    assert len(of(app.reports, "snapshot")) == 1
                    assert of(app.reports, "gap") == of(app.reports, "left") == []
                    (again,) = of(app.reports, "answers")[1]["answers"]
                    assert again["resumed"] is True
                    assert [one.nickname for one in node.state.participants.participants()] == [
                        "Browser"
                    ]
                # The browser is gone: after grace, so is who used it.
                published, receive = trio.open_memory_channel[None](100)
                unsubscribe = node.on_publish(lambda: published.send_nowait(None))
                while len(node.state.participants):
                    await receive.receive()
                unsubscribe()
