"""The web client as the server hands it out: the page, its files, and what browsers may keep and run of them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.transports.web import site

if TYPE_CHECKING:
    import httpx

    from tests.transports.web import Site

pytestmark = pytest.mark.anyio

APP = Path(__file__).parents[2] / "examples/web/app"
PLAIN = {"accept_encoding": "identity"}


def named(page: httpx.Response) -> list[str]:
    """The addresses that the page names in its tags."""
    return re.findall(r'(?:src|href)="([^"]+)"', page.text)


async def files(web: Site) -> dict[str, httpx.Response]:
    """Every file of the client, by its path in the sources."""
    page = await web.get("/")
    place = next(address for address in named(page) if address.endswith("/main.js"))
    root = place.removesuffix("main.js")
    names = [path.relative_to(APP).as_posix() for path in APP.rglob("*") if path.is_file()]
    return {name: await web.get(root + name) for name in names if name != "index.html"}


async def test_the_page_runs_its_own_files_and_nothing_else() -> None:
    async with site() as web:
        page = await web.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert page.headers["referrer-policy"] == "no-referrer"
        policy = dict(
            directive.strip().partition(" ")[::2]
            for directive in page.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in page.headers["content-security-policy"]
        assert re.search(r"<style|\sstyle=|\son\w+=", page.text) is None
        assert all('src="' in tag for tag in re.findall(r"<script[^>]*>", page.text))


async def test_every_file_of_the_client_is_served_with_its_own_type_and_without_its_comments() -> (
    None
):
    types = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    async with site() as web:
        for name, file in (await files(web)).items():
            assert file.status_code == 200, name
            kind = types[name.rpartition(".")[2]]
            assert file.headers["content-type"].startswith(kind), name
            source = (APP / name).read_text()
            assert file.text.count("\n") == source.count("\n")
            said = re.sub(r"/\*.*?\*/|^\s*//.*?$", "", source, flags=re.DOTALL | re.MULTILINE)
            assert "".join(file.text.split()) == "".join(said.split()), name


async def test_the_page_names_only_files_that_are_there() -> None:
    async with site() as web:
        addresses = named(await web.get("/"))
        assert addresses
        for address in addresses:
            assert (await web.get(address)).status_code == 200, address


async def test_files_may_be_kept_for_ever_and_the_page_is_asked_for_again() -> None:
    async with site() as web:
        page = await web.get("/")
        assert page.headers["cache-control"] == "no-cache"
        again = await web.get("/", if_none_match=page.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == page.headers["etag"]
        for file in (await files(web)).values():
            assert "immutable" in file.headers["cache-control"]
            assert "max-age=31536000" in file.headers["cache-control"]


async def test_what_a_cache_holds_weakly_or_among_others_is_known_and_other_things_are_not() -> (
    None
):
    async with site() as web:
        tag = (await web.get("/")).headers["etag"]
        for known in (f"W/{tag}", f'"other", {tag}', "*"):
            assert (await web.get("/", if_none_match=known)).status_code == 304
        assert (await web.get("/", if_none_match='"other"')).status_code == 200


async def test_who_takes_gzip_gets_it_and_who_does_not_gets_the_same_content() -> None:
    async with site() as web:
        packed, plain = (
            await web.get("/", accept_encoding="br, GZIP;q=0.5"),
            await web.get("/", **PLAIN),
        )
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert packed.content == plain.content, "the client unpacks it"
        assert packed.headers["etag"] != plain.headers["etag"]
        for each in (packed, plain):
            assert "Accept-Encoding" in each.headers["vary"]
        assert int(packed.headers["content-length"]) < len(gzip.compress(plain.content)) + 100
        refused = await web.get("/", accept_encoding="gzip;q=0, identity")
        assert "content-encoding" not in refused.headers


async def test_files_of_another_version_or_outside_of_the_client_are_not_there() -> None:
    async with site() as web:
        page = await web.get("/")
        place = next(a for a in named(page) if a.endswith("/main.js")).removesuffix("main.js")
        for path in (
            "/assets/0000000000000000/main.js",
            f"{place}../main.js",
            f"{place}%2e%2e/%2e%2e/website.py",
            f"{place}index.html",
            f"{place}index.html/",
            f"{place}",
            "/assets/",
            "/assets",
        ):
            assert (await web.get(path)).json()["code"] == "not_found", path
        head = await web.client.head(f"{place}main.js")
        assert (head.status_code, head.content) == (200, b"")
        assert (await web.post(f"{place}main.js")).status_code == 405


async def test_mounted_below_a_path_the_page_names_its_files_there() -> None:
    async with site(root_path="/ops/a&b", base="http://localhost:8000/ops/a&b") as web:
        page = await web.client.get("/")
        addresses = named(page)
        assert all(address.startswith("/ops/a%26b/assets/") for address in addresses), addresses
