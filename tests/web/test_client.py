"""The web client's sources: their types, their style, their own tests, and that they are little to load."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from urllib.request import Request, urlopen

from tests.cli.program import PATIENCE, Server
from tests.web.tools import FIRST_LOAD, WEB, finished, npm, running, said

APP = WEB / "app"
IMPORT = re.compile(r'^(?:import|export|\})(?:[^"\n]* from)? "(\.[^"]+)";', re.MULTILINE)


def test_types_and_style_hold() -> None:
    said(npm("run", "check"))


def test_its_own_tests_pass() -> None:
    said(npm("test"))


def modules(start: Path) -> set[Path]:
    """A module, and those that it imports, and those that they import."""
    found, waiting = set[Path](), {start}
    while waiting:
        found |= waiting
        named = {(one, name) for one in waiting for name in IMPORT.findall(one.read_text())}
        waiting = {(one.parent / name).resolve() for one, name in named} - found
    return found


def test_the_page_names_every_module_so_that_none_waits_for_another() -> None:
    named = re.findall(r'="\./([^"]+\.js)"', (APP / "index.html").read_text())
    assert {(APP / name).resolve() for name in named} == modules(APP / "main.js")


def test_the_first_load_is_small() -> None:
    with Server("--log", "memory:") as server:
        page = packed(f"{server.url}/")
        named = set(re.findall(r'="(/assets/[^"]+)"', gzip.decompress(page).decode()))
        sizes = {name: len(packed(server.url + name)) for name in named}
        (root,) = {name.removesuffix("main.js") for name in named if name.endswith("/main.js")}
        # Of the languages one is loaded, whichever it is.
        languages = {
            name: len(packed(f"{server.url}{root}i18n/{name}.js")) for name in ("en", "ru")
        }
    total = len(page) + sum(sizes.values()) + max(languages.values())
    assert total < FIRST_LOAD, (total, sizes, languages)


def test_the_server_leaves_out_comments_and_nothing_else() -> None:
    script = """
        import { readFile } from "node:fs/promises";
        import { Linter } from "eslint";
        const [root, ...names] = process.argv.slice(1);
        const linter = new Linter();
        const tokens = (text) => {
          const [problem] = linter.verify(text, {});
          if (problem) throw new Error(problem.message);
          return linter.getSourceCode().ast.tokens.map(({ value, loc }) => [value, loc.start.line]);
        };
        for (const name of names) {
          const sent = tokens(await (await fetch(root + name)).text());
          const written = tokens(await readFile(`app/${name}`, "utf8"));
          if (JSON.stringify(sent) !== JSON.stringify(written)) console.log(name);
        }
    """
    names = [path.relative_to(APP).as_posix() for path in sorted(APP.rglob("*.js"))]
    with Server("--log", "memory:") as server:
        page = gzip.decompress(packed(f"{server.url}/")).decode()
        root = re.findall(r'="(/assets/[^"]+/)main.js"', page)[0]
        with running(script, server.url + root, *names) as comparing:
            assert said(finished(comparing)) == ""


def packed(url: str) -> bytes:
    """Return what a browser is sent."""
    request = Request(url, headers={"Accept-Encoding": "gzip"})
    with urlopen(request, timeout=PATIENCE) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        body: bytes = answer.read()
        return body


def test_the_lock_file_names_no_place_to_fetch_from() -> None:
    assert '"resolved"' not in (WEB / "package-lock.json").read_text()


def test_the_client_in_readme_takes_part_and_ends() -> None:
    readme = (WEB / "README.md").read_text()
    (example,) = re.findall(r"^```js\n(.*?)^```$", readme, re.DOTALL | re.MULTILINE)
    with Server("--log", "memory:") as server, server.chat("Anna") as anna:
        script = example.replace("http://127.0.0.1:8000", server.url)
        with running(script) as echo:
            anna.until("Echo: Say ping, or bye.$")
            anna.type("ping")
            anna.until("Echo: pong$")
            anna.type("bye")
            anna.until("Echo left$")
            printed = said(finished(echo)).splitlines()
    assert printed[0] == "connecting over ws"
    assert {"open over ws", "Echo is here", "Anna: ping", "Echo: pong"} <= set(printed)
