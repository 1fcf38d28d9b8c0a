"""Every example of JSON in the documents is one of what the specifications describe."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cloudchat_core.schemas import COMMANDS, FRAMES, tag
from tests.specs.generated import ASYNCAPI, CONTRACT, OPENAPI
from tests.specs.notation import Items, Some, fits, read

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "examples/web/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = {"python", "js", "javascript", "ts", "typescript", "toml", "mermaid", "nginx", "ini"}
"""Languages in which braces are something else; what is Python is run by other tests."""
BEGINS = re.compile(r'(?<!=)[{\[]\s*[{\[]?\s*"|"\w+":')
SPEC = {"docs/cli.md": '{"fail":"create"}'}
"""What an instance is made of is the provider's own matter: any object."""
SCHEMAS = OPENAPI["components"]["schemas"]


class Example(NamedTuple):
    """Where it stands, what is said of it there, and its text."""

    where: str
    context: str
    text: str


def examples(document: Path) -> list[Example]:
    text, where = document.read_text(), document.relative_to(ROOT).as_posix()
    found = []
    asked = ""
    for language, body in FENCE.findall(text):
        if language in PROGRAMS:
            continue
        if language in {"sh", "console"}:
            asked = body
            for line in re.split(r"^\$ ", body, flags=re.MULTILINE):
                found += [Example(where, f"to {_request(line)}", each) for each in _bodies(line)]
        elif language == "http":
            found += [Example(where, f"of {_request(asked)}", each) for each in _answers(body)]
        elif language == "text":
            lines = re.findall(r"^([<>]) (\{.*)$", body, re.MULTILINE)
            found += [Example(where, direction, line) for direction, line in lines]
        elif BEGINS.search(body):
            found.append(Example(where, language, body))
    prose = FENCE.sub("", text)
    for span in re.findall(r"`([^`\n]+)`", prose):
        told = re.sub(r"^\d{3} ", "", span)
        if re.match(r'[{\[]\s*[{\[]?\s*"|"\w+":', told):
            found.append(Example(where, "inline", told))
    return found


def _request(command: str) -> str:
    """Return method and path of what curl is told to ask; of another program, nothing."""
    words = shlex.split(command.replace("\\\n", " ")) if "curl" in command else []
    urls = [word for word in words if "://" in word]
    if not urls:
        return ""
    method = words[words.index("-X") + 1] if "-X" in words else ""
    method = method or ("POST" if {"--json", "-d"} & {*words} else "GET")
    return f"{method} {re.sub(r'^.*?://[^/]*|[?].*$', '', urls[-1])}"


def _bodies(command: str) -> list[str]:
    if "curl" not in command:
        return []
    words = shlex.split(command.replace("\\\n", " "))
    return [words[place + 1] for place, word in enumerate(words) if word in {"--json", "-d"}]


def _answers(answer: str) -> list[str]:
    head, _, body = answer.partition("\n\n")
    if "text/event-stream" in head:
        return [line.removeprefix("data: ") for line in body.splitlines() if "data: " in line]
    return [f"{head.split()[1]} {body}"] if body.strip() else []


ALL = [example for document in DOCUMENTS for example in examples(document)]


def is_message(value: Some, kinds: Any) -> bool:
    """Tell whether this is a message of one of `kinds`."""
    names = [kind.__name__ for kind in kinds if tag(kind) == value.members["type"]]
    schemas = ASYNCAPI["components"]["schemas"]
    return any(fits(value, schemas[name], ASYNCAPI) for name in names)


def is_described(value: Any) -> bool:
    """Tell whether some schema has a place for this."""
    if isinstance(value, Items):
        return all(map(is_described, value.items))
    if isinstance(value, Some) and isinstance(value.members.get("type"), str):
        return is_message(value, (*COMMANDS, *FRAMES))
    return any(fits(value, schema, OPENAPI) for schema in SCHEMAS.values())


def content(method_and_path: str, status: str) -> Any:
    method, _, path = method_and_path.partition(" ")
    described = CONTRACT.described(method, path)
    body = described["responses"][status] if status else described["requestBody"]
    (media,) = body["content"].values()
    return media["schema"]


@pytest.mark.parametrize("example", ALL, ids=[f"{e.where}-{e.text[:40]}" for e in ALL])
def test_an_example_is_what_the_specifications_describe(example: Example) -> None:
    where, context, text = example
    if SPEC.get(where) == text:
        assert isinstance(json.loads(text), dict)
    elif context in {"<", ">"}:
        (value,) = read(text)
        assert is_message(value, FRAMES if context == "<" else COMMANDS)
    elif context.startswith("of ") and text[:1] == "{":
        (value,) = read(text)
        assert is_message(value, FRAMES)
    elif context.startswith(("of ", "to ")):
        status = text[:3] if context.startswith("of ") else ""
        (value,) = read(text[4:] if status else text)
        schema = content(context[3:], status)
        assert fits(value, schema, OPENAPI)
    elif text.startswith('"'):
        (value,) = read(f"{{{text}}}")
        told = Some(value.members, more=True)
        assert any(fits(told, schema, OPENAPI) for schema in SCHEMAS.values())
    else:
        assert all(map(is_described, read(text)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_no_example_is_overlooked(document: Path) -> None:
    """Wherever a brace or bracket is followed by a quoted name, outside of programs, that was found."""
    rest = FENCE.sub(lambda found: "" if found[1] in PROGRAMS else found[0], document.read_text())
    rest = rest.replace("\\\n", " ")
    texts = {re.sub(r"^\d{3} (?=\s*[{\[])", "", each.text).strip() for each in examples(document)}
    for text in sorted(texts, key=len, reverse=True):
        assert text in rest, "what was read stands there"
        rest = rest.replace(text, "")
    assert BEGINS.findall(rest) == []


def test_there_are_examples_of_all_kinds() -> None:
    contexts = {example.context.partition(" ")[0] for example in ALL}
    assert contexts == {"<", ">", "inline", "json", "of", "to"}
    assert len(ALL) > 60


@pytest.mark.parametrize(
    "wrong",
    [
        '{"type":"ack","id":"c7"}',
        '{"type":"ack","id":"c7","cursor":"k3f9-42","mood":1}',
        '{"type":"gap","after":"k3f9-7","reason":"whim"}',
        '{"type":"welcom", …}',
        '{"type":"received","cursor":"k3f9-44","at":"…","instance":{"id":7}, …}',
        '{"nickname","since"?}',
        '{"nickname","until"}',
        '{"items":[…]}',
        '[{"id":…,"state":"asleep"}]',
    ],
)
def test_an_example_that_is_wrong_is_noticed(wrong: str) -> None:
    assert not all(map(is_described, read(wrong)))
