"""docs/http.md tells the truth: its examples are run, one after the other, and answered as it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from cloudchat_transports.responses import phrase
from tests.transports.web import Site, site

if TYPE_CHECKING:
    import httpx

PAGE = (Path(__file__).parents[2] / "docs/http.md").read_text()
PARTS = re.compile(
    r"^<!-- (?P<seconds>\d+) s later -->$"
    r"|^```sh\n(?P<example>.*?)^```\n```http\n(?P<answer>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def curl(client: httpx.AsyncClient, command: str) -> httpx.Request:
    """Return the request that this command of curl sends; of its options, those that the page uses."""
    program, *words = shlex.split(command)
    assert program == "curl"
    method, url, content = "", "", None
    headers: list[tuple[str, str]] = []
    while words:
        match words.pop(0):
            case "-i" | "-N":
                pass
            case "-X":
                method = words.pop(0)
            case "-H":
                name, _, value = words.pop(0).partition(": ")
                headers.append((name, value))
            case "--json":
                content = words.pop(0)
                headers += [("Content-Type", "application/json"), ("Accept", "application/json")]
            case word:
                assert not word.startswith("-"), f"curl {word} is new to this test"
                url = word
    method = method or ("GET" if content is None else "POST")
    return client.build_request(method, url, headers=headers, content=content)


def compare(answer: httpx.Response, told: str) -> None:
    head, _, body = told.partition("\n\n")
    start, *lines = head.splitlines()
    assert start == f"HTTP/1.1 {answer.status_code} {phrase(answer.status_code)}"
    for line in lines:
        name, _, value = line.partition(": ")
        assert answer.headers[name] == value
    if body.strip():
        assert answer.json() == json.loads(body)


async def stream(web: Site, request: httpx.Request) -> str:
    """Ask for a stream and read it until it is quiet; head and body as they are."""
    got = ""
    scope = {
        "type": "http",
        "method": "GET",
        "path": request.url.path,
        "query_string": request.url.query,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
    }

    async def receive() -> dict[str, Any]:
        await anyio.wait_all_tasks_blocked()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        nonlocal got
        if "status" in message:
            got = f"HTTP/1.1 {message['status']} {phrase(message['status'])}\n"
            got += (
                "".join(
                    f"{name.decode()}: {value.decode()}\n" for name, value in message["headers"]
                )
                + "\n"
            )
        got += message.get("body", b"").decode()

    await web.app(scope, receive, send)
    return got


def compare_stream(answer: str, told: str) -> None:
    """Each `…` of the page stands for something that is different each time."""
    (head, _, body), (told_head, _, told_body) = answer.partition("\n\n"), told.partition("\n\n")
    assert set(told_head.splitlines()) <= set(head.splitlines())
    assert re.fullmatch(re.escape(told_body).replace("…", "[^\n]*?"), body), body


@pytest.mark.anyio
async def test_the_pages_examples_are_answered_as_it_says() -> None:
    examples: list[Any] = list(PARTS.finditer(PAGE))
    assert sum(bool(found["example"]) for found in examples) == PAGE.count("```sh")
    async with site() as web:
        for found in examples:
            if found["seconds"]:
                web.clock.advance(int(found["seconds"]))
                with anyio.fail_after(30):
                    while web.node.state.operations:
                        await anyio.lowlevel.checkpoint()
                continue
            request = curl(web.client, found["example"])
            if " -N " in found["example"]:
                compare_stream(await stream(web, request), found["answer"])
            else:
                compare(await web.client.send(request), found["answer"])
