"""What README and the documents say is so: examples run, links lead somewhere, drawn parts are current."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from cloudchat_core import ClientCommand, Code, PublicEvent

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def name(document: Path) -> str:
    return document.relative_to(ROOT).as_posix()


def examples() -> list[tuple[str, str]]:
    return [
        (f"{name(document)}:{number}", body)
        for document in DOCUMENTS
        for number, (language, body) in enumerate(FENCE.findall(document.read_text()))
        if language == "python"
    ]


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", document.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(("where", "example"), examples(), ids=[where for where, _ in examples()])
def test_an_example_runs_and_prints_what_its_comments_say(where: str, example: str) -> None:
    promised = re.findall(r"^\s*print\(.*\)  # (.+)$", example, re.MULTILINE)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(example, where, "exec"), {"__name__": "__main__"})
    assert printed.getvalue().splitlines() == promised


def test_readme_has_a_library_example() -> None:
    assert any(where.startswith("README.md") for where, _ in examples())


def test_the_index_leads_to_every_document() -> None:
    index = (ROOT / "docs/index.md").read_text()
    named = set(re.findall(r"\]\((\w+\.md)\)", index))
    assert named == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_between_documents_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", document.read_text()))
    for link in (link for link in links if "://" not in link):
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_drawn_parts_are_current() -> None:
    ran = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr


def first_cells(section: str) -> set[str]:
    """The words in the first column of the protocol's tables under a heading."""
    body = (ROOT / "docs/protocol.md").read_text().partition(f"\n## {section}\n")[2]
    rows = re.findall(r"^\| (`[a-z_` ]+`) \|", body.partition("\n## ")[0], re.MULTILINE)
    return {word for row in rows for word in re.findall(r"\w+", row)}


def tags(union: object) -> set[str]:
    return {str(member.__struct_config__.tag) for member in get_args(union)}


def test_the_protocol_explains_every_error_code() -> None:
    assert first_cells("9. Errors") == set(Code)


def test_the_protocol_explains_every_command() -> None:
    assert first_cells("6. Commands") == tags(ClientCommand)


def test_the_protocol_explains_every_event() -> None:
    assert first_cells("4. Events") == tags(PublicEvent)
