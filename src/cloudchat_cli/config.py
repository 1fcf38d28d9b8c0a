"""Configuration files: what stands in them, where, and what is wrong with them.

There are two, both optional, and the first that has a key wins: `cloudchat.toml` in the current directory, and
`config.toml` in the user's own configuration directory. Every key that nobody knows is a problem of its own, with its
place and the nearest right key: a misspelt setting that is silently ignored is worse than one that is refused.

What the values mean is the options' matter (`options.py`); here they are texts, as they would stand on a command line.
"""

# ruff: noqa: PLC0415 - files are read by commands, and not by their help

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

LOCAL: Final = "cloudchat.toml"
"""The name of the file in the current directory."""

LIMITS: Final = "limits"
"""The table whose keys are the server's limits."""

Value = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A value, as text (or texts), and where it stands: `FILE:LINE`."""

    value: Value
    origin: str


@dataclass(frozen=True, slots=True)
class Config:
    """What the files say together: by section and key. `files` are those that exist, the stronger one first."""

    found: Mapping[tuple[str, str], Found]
    problems: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def paths() -> tuple[Path, Path]:
    """Return where the files would be, the stronger one first."""
    from pathlib import Path

    import platformdirs

    user = platformdirs.user_config_path("cloudchat", appauthor=False) / "config.toml"
    return Path(LOCAL).absolute(), user


def read(files: Collection[Path], known: Callable[[], Mapping[str, Collection[str]]]) -> Config:
    """Read `files`, the stronger first; `known` gives the keys of each section, and is asked only where there is one.

    Nothing is raised: what is wrong is told in `problems`, and left out.
    """
    import tomllib

    found: dict[tuple[str, str], Found] = {}
    problems: list[str] = []
    there: list[Path] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
            table = tomllib.loads(text)
        except FileNotFoundError:
            continue
        except tomllib.TOMLDecodeError as error:
            problems.append(f"{path}: this is no TOML: {error}")
        except (OSError, UnicodeError) as error:
            problems.append(f"{path}: it cannot be read: {getattr(error, 'strerror', error)}")
        except (ValueError, RecursionError) as error:
            # Numbers of thousands of digits, towers of brackets.
            problems.append(f"{path}: this is no TOML that makes sense here: {error}")
        else:
            for place, each in _values(path, text, table, known(), problems).items():
                found.setdefault(place, each)
        there.append(path)
    return Config(found, tuple(problems), tuple(there))


def _values(
    path: Path,
    text: str,
    table: dict[str, Any],
    known: Mapping[str, Collection[str]],
    problems: list[str],
) -> dict[tuple[str, str], Found]:
    found = {}
    lines = _lines(text)
    for section, content in table.items():
        begins = lines.get((section, ""), 1)
        origin = f"{path}:{begins}"
        if section not in known:
            what = f"section [{section}]" if isinstance(content, dict) else f"key {section!r}"
            problems.append(f"{origin}: there is no {what} here{_meant(section, known)}")
            continue
        if not isinstance(content, dict):
            problems.append(f"{origin}: {section} is a section: write [{section}]")
            continue
        for key, value in content.items():
            origin = f"{path}:{lines.get((section, key), begins)}"
            texts = _texts(value)
            if key not in known[section]:
                meant = nearest(key, known[section])
                problems.append(f"{origin}: there is no key {key!r} in [{section}]{meant}")
            elif texts is None:
                problems.append(f"{origin}: {key}: this is no text, number, or list of them")
            else:
                found[section, key] = Found(texts, origin)
    return found


def _texts(value: object) -> Value | None:
    """Return a value as it would stand on a command line; None where it cannot."""
    if isinstance(value, list):
        texts = [_texts(each) for each in value]
        flat = tuple(text for text in texts if isinstance(text, str))
        return flat if len(flat) == len(texts) else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        return str(value)
    except ValueError:  # a number of thousands of digits
        return None


def _meant(name: str, known: Mapping[str, Collection[str]]) -> str:
    """Say which section was meant, or in which section a key belongs that stands outside of all."""
    homes = [section for section, keys in known.items() if name in keys]
    if homes:
        return f"; it belongs in {' or '.join(f'[{section}]' for section in homes)}"
    return nearest(name, known)


def nearest(name: str, known: Collection[str]) -> str:
    """Say which of the `known` names was meant, or what there is."""
    import difflib

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; there is: {', '.join(sorted(known))}"


def _lines(text: str) -> dict[tuple[str, str], int]:
    """Return the line (from 1) where each section and key first stands; as good as it can be told without a parser.

    The text is gone through once, however many keys it has: nobody waits for what is wrong in a large file.
    """
    found: dict[tuple[str, str], int] = {}
    here = ""
    for number, line in enumerate(text.split("\n"), 1):
        stripped = line.strip()
        if header := re.match(r"\[\s*([^\[\]]+?)\s*\]", stripped):
            here = header[1].strip("\"'")
            found.setdefault((here, ""), number)
        names = [part.strip("\"' ") for part in re.split(r"[=.]", stripped)[:2]]
        if here:
            found.setdefault((here, names[0]), number)
        else:
            for key in ("", *names):
                found.setdefault((names[0], key), number)
    return found
