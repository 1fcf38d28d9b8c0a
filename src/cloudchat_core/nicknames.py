"""Nicknames: what the server writes, what it compares, and who holds one.

Theory of operation. A nickname has two forms. The *display* form is what everybody reads: the RFC 8266 rules without
the case mapping (width, spaces and composition are evened out). The *key* is the RFC 8266 §2.4 comparison form *of
the display form*; two nicknames are the same when their keys are. The key is taken from the display form, not from
what was typed, because the rules do not commute: a final sigma is told from its neighbours, and normalization may
change these (`Σ㍿`). So what reads the same is the same, and both forms are fixed points: prepared again, the display
form gives the same pair, and the key itself. (`precis_i18n` refuses what its rules do not leave stable, as RFC 8264
§7 asks.) Both forms keep the limits, or a key could not be prepared again: `İ` is one code point, its key two.

Unicode tables change from one Python to the next. Therefore only a decision looks at them; the key goes into the
event, and the `Registry` takes keys as they come. It holds "one holder a key, one key a token" whatever it is told.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from unicodedata import category, combining, name, normalize

from immutables import Map
from msgspec import Struct
from precis_i18n import get_profile

from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits

RESERVED = frozenset({"you", "вы", "system", "admin", "server"})
"""Keys that nobody holds: interfaces show these words for the reader and for the server itself."""

_DEFAULT_LIMITS = Limits()
_DISPLAY = get_profile("NicknameCasePreserved")
_KEY = get_profile("Nickname")

# No name that can be accepted is written longer: canonical composition takes at most 4 code points to make one
# (U+1F82), and as much again is left for spaces that collapse.
_RAW_FACTOR = 8

# RFC 5892 appendix A.1 and A.2 allow these in some words of some scripts. They are invisible, so two nicknames would
# look the same; PRECIS itself refuses all others that Unicode calls default-ignorable.
_JOINERS = re.compile("[\u200c\u200d]")

_INVISIBLE = "which is invisible"
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_WHY_CHARACTER = {
    "\u200d": "the invisible joiner of composed emoji (families, professions, some flags); "
    "take a single emoji",
    "\ufe0f": "an invisible mark that phones put after some emoji; leave it out",
    **dict.fromkeys(_BIDI_CONTROLS, "which changes the direction of writing"),
}
_WHY_RULE = {
    "controls": "a control character",
    "precis_ignorable_properties": _INVISIBLE,
    "unassigned": "which this server does not know (a newer emoji, perhaps)",
    "zero_width_nonjoiner": _INVISIBLE,
}
_WHY_OTHERWISE = "which is not allowed there"

_DIGITS = "0123456789"
_REGIONAL_INDICATORS = "".join(map(chr, range(0x1F1E6, 0x1F200)))


class Nickname(Struct, frozen=True):
    """A prepared nickname: `display` as the server writes it, `key` as it is compared."""

    display: str
    key: str


@dataclass(frozen=True, slots=True)
class NicknameProblem:
    """Why a nickname is refused: `code` for machines, `detail` for people."""

    code: Code
    detail: str


def prepare(raw: str, *, limits: Limits = _DEFAULT_LIMITS) -> Nickname | NicknameProblem:
    """Bring `raw`, any string at all, into the forms of RFC 8266, or say why it cannot be a nickname.

    Of `limits`, `nickname` (code points) and `nickname_bytes` (of UTF-8) apply to either form. Never raises.
    """
    if len(raw) > limits.nickname * _RAW_FACTOR:
        return _too_long(len(raw), limits.nickname)
    return _prepare(raw, limits.nickname, limits.nickname_bytes)


# A bot that speaks without being present has its nickname prepared for every message.
@lru_cache(maxsize=1024)
def _prepare(raw: str, most: int, most_bytes: int) -> Nickname | NicknameProblem:
    # PRECIS looks at each character in Python, and one may become 18 (U+FDFA): measure before that.
    length = len(" ".join(normalize("NFKC", raw).split()))
    if length > most:
        return _too_long(length, most)
    if joiner := _JOINERS.search(raw):
        return _forbidden(joiner[0], "zero_width_nonjoiner")
    try:
        display = _DISPLAY.enforce(raw)
        key = _KEY.enforce(display)
    except UnicodeEncodeError as error:
        rule = error.reason.removeprefix("DISALLOWED/")
        if rule == "empty":
            return NicknameProblem(Code.NICKNAME_INVALID, "A nickname has at least one character.")
        return _forbidden(error.object[error.start], rule)
    length, size = _measure(display, key)
    if length > most:
        return _too_long(length, most)
    if size > most_bytes:
        return NicknameProblem(
            Code.NICKNAME_INVALID,
            f"A nickname takes at most {most_bytes} bytes of UTF-8; this one takes {size}.",
        )
    if key in RESERVED:
        return NicknameProblem(Code.NICKNAME_RESERVED, f"Nobody can be called {display} here.")
    return Nickname(display, key)


def _measure(*forms: str) -> tuple[int, int]:
    return max(map(len, forms)), max(len(form.encode()) for form in forms)


def _too_long(length: int, most: int) -> NicknameProblem:
    return NicknameProblem(
        Code.NICKNAME_INVALID, f"A nickname has at most {most} characters; this one has {length}."
    )


def _forbidden(char: str, rule: str) -> NicknameProblem:
    why = _WHY_CHARACTER.get(char) or _WHY_RULE.get(rule, _WHY_OTHERWISE)
    # By number and name: the character itself may be invisible, or not even text.
    called = f"U+{ord(char):04X} {name(char, '')}".rstrip()
    return NicknameProblem(Code.NICKNAME_INVALID, f"A nickname cannot contain {called}, {why}.")


def suggestions(
    raw: str,
    taken: Callable[[str], bool],
    limit: int = 3,
    *,
    limits: Limits = _DEFAULT_LIMITS,
) -> tuple[str, ...]:
    """Return up to `limit` nicknames near to the refused `raw` that could be had now, the nearest first.

    `taken` says of a key whether somebody holds it. What cannot stay in a nickname is left out; where that leaves
    nothing, guests are numbered. The work is bounded whatever `raw` is and whoever is here: about fifty
    nicknames are tried, so fewer than `limit` may be found where others hold them all.
    """
    refused = prepare(raw, limits=limits)
    if isinstance(refused, Nickname):
        base, seen = refused.display, {refused.key}
    else:
        base, seen = _without_forbidden(raw, limits), set()
    found: list[str] = []
    for candidate in chain(_near(base, limits), _numbered("guest", "0", limits)):
        if len(found) >= limit:
            break
        match prepare(candidate, limits=limits):
            case Nickname(display, key) if key not in seen and not taken(key):
                seen.add(key)
                found.append(display)
    return tuple(found)


def _without_forbidden(raw: str, limits: Limits) -> str:
    """Return what is left of the beginning of `raw` when each character has to be allowed by itself."""
    start = normalize("NFKC", raw.strip()[: limits.nickname * 4])[: limits.nickname * 2]
    kept = ""
    for char in start:
        if char.isspace():
            kept += " "
        elif _allowed(char) and (kept or category(char)[0] != "M"):
            kept += char
    return " ".join(kept.split())


def _allowed(char: str) -> bool:
    try:
        _DISPLAY.base.enforce(char)
    except UnicodeEncodeError:
        return False
    return True


def _near(base: str, limits: Limits) -> Iterator[str]:
    base = _shortened(base, "", limits)
    if base:
        yield base
        stem = base.rstrip(_DIGITS)
        yield from _numbered(stem, base[len(stem) :] or "1", limits)


def _numbered(stem: str, after: str, limits: Limits) -> Iterator[str]:
    # One after the other, then ever further away: a long row of neighbours is soon passed.
    for step in chain(range(1, 17), (1 << power for power in range(5, 21, 3))):
        number = str(int(after) + step).zfill(len(after))
        short = _shortened(stem, number, limits)
        if short or not stem:
            yield short + number


def _shortened(stem: str, tail: str, limits: Limits) -> str:
    """Return as much of `stem` as leaves room for `tail`, cut between characters as people see them."""
    while stem:
        length, size = _measure(stem + tail, (stem + tail).lower())
        if length <= limits.nickname and size <= limits.nickname_bytes:
            break
        cut = len(stem) - 1
        while cut and not _is_boundary(stem, cut):
            cut -= 1
        stem = stem[:cut].rstrip(" ")
    return stem


def _is_boundary(text: str, at: int) -> bool:
    """Whether `text` may be cut before `at`: UAX #29 §3.1.1 for the characters that a nickname can have."""
    before, after = text[at - 1], text[at]
    # GB9, GB9a: marks, and the skin tones of emoji, belong to what they follow.
    if category(after)[0] == "M" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    # GB9c: a virama joins the consonants around it.
    if combining(before) == 9:
        return False
    # GB12, GB13: two regional indicators are one flag.
    flags = text[:at]
    row = len(flags) - len(flags.rstrip(_REGIONAL_INDICATORS))
    return row % 2 == 0 or after not in _REGIONAL_INDICATORS


class Participation(Struct, frozen=True):
    """A nickname in use: `nickname` as it is displayed, its `key`, since when (RFC 3339).

    `order` is the log offset of the `joined` event; participants are listed by it.
    """

    nickname: str
    key: str
    since: str
    order: int


@dataclass(frozen=True, slots=True)
class Registry:
    """Who holds which nickname; immutable, each change O(log n). A token is known by its hash.

    `claim` and `release` never refuse: they repeat what an event says. Whether a nickname may be had is `check`'s
    matter, before there is an event.
    """

    by_key: Map[str, str] = field(default_factory=Map)
    by_token: Map[str, Participation] = field(default_factory=Map)

    def __len__(self) -> int:
        return len(self.by_token)

    def holder(self, key: str) -> str | None:
        """Return the hash of the token that holds the nickname with this key."""
        return self.by_key.get(key)

    def is_taken(self, key: str) -> bool:
        """Whether somebody holds the nickname with this key; what `suggestions` asks."""
        return key in self.by_key

    def participation(self, token_hash: str) -> Participation | None:
        """Return what this token holds."""
        return self.by_token.get(token_hash)

    def nickname_of(self, token_hash: str) -> str | None:
        """Return the nickname that this token holds, as it is displayed."""
        held = self.by_token.get(token_hash)
        return None if held is None else held.nickname

    def items(self) -> tuple[tuple[str, Participation], ...]:
        """Return each token hash with its participation, oldest first. O(n log n).

        A map's own order depends on the process (PYTHONHASHSEED); this one does not.
        """
        return tuple(sorted(self.by_token.items(), key=_age))

    def participants(self) -> tuple[Participation, ...]:
        """Return who is here, oldest first. O(n log n)."""
        return tuple(participation for _, participation in self.items())

    def check(
        self, raw: str, token_hash: str | None = None, *, limits: Limits = _DEFAULT_LIMITS
    ) -> Nickname | NicknameProblem:
        """Return the nickname that the token may now use for `raw`, a free one or its own; or why not.

        Without `token_hash` (somebody who speaks without being present) only a free one will do.
        """
        prepared = prepare(raw, limits=limits)
        if isinstance(prepared, NicknameProblem):
            return prepared
        holder = self.by_key.get(prepared.key)
        if holder is None or holder == token_hash:
            return prepared
        return NicknameProblem(Code.NICKNAME_TAKEN, f"Somebody here is called {prepared.display}.")

    def claim(self, token_hash: str, participation: Participation) -> "Registry":
        """Return the registry in which this token holds this nickname and no other.

        Another holder of the nickname loses it.
        """
        free = self.release(token_hash)
        if (holder := free.holder(participation.key)) is not None:
            free = free.release(holder)
        return Registry(
            free.by_key.set(participation.key, token_hash),
            free.by_token.set(token_hash, participation),
        )

    def release(self, token_hash: str) -> "Registry":
        """Return the registry in which this token holds nothing; this very one if it is that already."""
        held = self.by_token.get(token_hash)
        if held is None:
            return self
        return Registry(self.by_key.delete(held.key), self.by_token.delete(token_hash))


def _age(item: tuple[str, Participation]) -> tuple[int, str]:
    return item[1].order, item[1].key
