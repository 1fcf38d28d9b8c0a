"""The web client as webpack builds it: some files that any static hosting can serve, from any folder of it."""

from __future__ import annotations

import gzip
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from tests.web.tools import ELSEWHERE, FIRST_LOAD, bundle, npm

if TYPE_CHECKING:
    from pathlib import Path


class Page(HTMLParser):
    """What stands in a page: `tags` with their attributes, and `inline`, what would be run or applied from within."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.inline += [name for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag: str) -> None:
        self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within in {"script", "style"} and data.strip():
            self.inline.append(data)

    def meta(self, name: str) -> str:
        """Return the content of the one meta element of this name."""
        (content,) = (
            attributes["content"]
            for tag, attributes in self.tags
            if tag == "meta" and name in {attributes.get("name"), attributes.get("http-equiv")}
        )
        return content

    def addresses(self) -> list[str]:
        """Return what the page loads."""
        return [
            address
            for tag, attributes in self.tags
            for address in (attributes.get("src"), attributes.get("href"))
            if tag in {"script", "link", "img"} and address
        ]


@pytest.fixture(name="page")
def the_page() -> Page:
    return Page(bundle()["index.html"].decode())


def texts(kind: str) -> dict[str, str]:
    """Return the files of a kind."""
    return {name: text.decode() for name, text in bundle().items() if name.endswith(kind)}


def test_every_file_but_the_page_has_a_name_of_its_content() -> None:
    named = re.compile(r"[\w-]+\.[0-9a-f]{20}\.(js|css|svg|png|webp|woff2)(\.map)?")
    names = bundle().keys() - {"index.html"}
    assert [name for name in names if not named.fullmatch(name)] == []
    assert all(texts(kind) for kind in (".js", ".css", ".svg", ".js.map", ".css.map"))


def test_the_page_names_its_files_relative_to_where_it_lies(page: Page) -> None:
    assert page.addresses()
    assert set(page.addresses()) <= bundle().keys()


def test_styles_name_their_images_relative_to_where_they_lie() -> None:
    for style in texts(".css").values():
        assert set(re.findall(r"url\(['\"]?([^'\")]+)", style)) <= bundle().keys()


def test_nothing_is_inline_and_no_text_becomes_code(page: Page) -> None:
    assert page.inline == []
    makers = re.compile(r"\beval\(|\bFunction\(|\bimport\(")
    assert [name for name, script in texts(".js").items() if makers.search(script)] == []


def test_the_page_knows_its_server_and_may_talk_to_no_other(page: Page) -> None:
    assert page.meta("cloudchat-server").rstrip("/") == ELSEWHERE
    policy = dict(
        directive.strip().split(" ", 1)
        for directive in page.meta("Content-Security-Policy").split(";")
    )
    assert policy["connect-src"] == "https://chat.example.org wss://chat.example.org"
    assert policy["default-src"] == policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"


def test_a_server_that_no_page_can_talk_to_is_refused(tmp_path: Path) -> None:
    ran = npm("run", "build", "--", "--output-path", str(tmp_path), CLOUDCHAT_SERVER="ftp://x")
    assert ran.returncode != 0
    assert "CLOUDCHAT_SERVER is ftp://x" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_first_load_is_small() -> None:
    sizes = {
        name: len(gzip.compress(content))
        for name, content in bundle().items()
        if not name.endswith(".map")
    }
    assert sum(sizes.values()) < FIRST_LOAD, sizes
