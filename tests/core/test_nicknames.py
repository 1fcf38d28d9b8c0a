"""Nicknames read alike are alike, hold no surprises, and have one holder."""

import os
import subprocess
import sys
import unicodedata
from itertools import chain

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cloudchat_core.errors import Code
from cloudchat_core.limits import Limits
from cloudchat_core.nicknames import (
    RESERVED,
    Nickname,
    NicknameProblem,
    Participation,
    Registry,
    prepare,
    suggestions,
)
from cloudchat_core.testing.nicknames import (
    NicknameMachine,
    bad_nicknames,
    nicknames,
    spellings,
)

TestNicknameMachine = NicknameMachine.TestCase

# Unicode's DerivedCoreProperties.txt, Default_Ignorable_Code_Point, and PropList.txt, Bidi_Control.
DEFAULT_IGNORABLE = [
    *[0x00AD, 0x034F, 0x061C, 0x3164, 0xFEFF, 0xFFA0],
    *chain(range(0x115F, 0x1161), range(0x17B4, 0x17B6), range(0x180B, 0x1810)),
    *chain(range(0x200B, 0x2010), range(0x202A, 0x202F), range(0x2060, 0x2070)),
    *chain(range(0xFE00, 0xFE10), range(0xFFF0, 0xFFF9), range(0x1BCA0, 0x1BCA4)),
    *chain(range(0x1D173, 0x1D17B), range(0xE0000, 0xE1000)),
]
BIDI_CONTROL = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
CONTROL = [*range(0x20), *range(0x7F, 0xA0)]
# Where each of these would be welcome by the letter of RFC 5892 appendix A: after a virama, between letters that join.
CONTEXTS = ["{}", "a{}b", "क्{}ष", "ن{}ن"]


def accepted(raw: str) -> Nickname:
    nickname = prepare(raw)
    assert isinstance(nickname, Nickname), nickname
    return nickname


def refused(raw: str) -> NicknameProblem:
    problem = prepare(raw)
    assert isinstance(problem, NicknameProblem), problem
    return problem


@pytest.mark.parametrize(
    ("raw", "display", "key"),
    [
        ("Alexandra", "Alexandra", "alexandra"),
        ("Ａｌｅｘａｎｄｒａ", "Alexandra", "alexandra"),
        ("АЛЕКСАНДРА", "АЛЕКСАНДРА", "александра"),
        ("  Foo \u3000 Bar\u00a0", "Foo Bar", "foo bar"),
        ("e\u0301", "é", "é"),
        ("ｶﾞ", "ガ", "ガ"),
        ("Ⅷ", "VIII", "viii"),
        ("𝔄lice", "Alice", "alice"),
        ("Å", "Å", "å"),
        ("👩", "👩", "👩"),
        ("👍🏽", "👍🏽", "👍🏽"),
        ("\u05d0\u05d11", "\u05d0\u05d11", "\u05d0\u05d11"),
        ("l·l", "l·l", "l·l"),
    ],
)
def test_a_nickname_is_written_with_its_case_and_compared_without(
    raw: str, display: str, key: str
) -> None:
    assert accepted(raw) == Nickname(display, key)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRAẞE"),
        ("ΝΊΚΟΣ", "Νίκος"),
        ("ΝΊΚΟΣ", "ΝΊΚΟς"),
        ("ǅ", "dž"),
        ("ﬁn", "FIN"),
        ("ｗｉｄｅ　ｎａｍｅ", "Wide Name"),
        ("José", "JOSE\u0301"),
    ],
)
def test_what_differs_in_case_width_or_composition_is_one_nickname(one: str, other: str) -> None:
    assert accepted(one).key == accepted(other).key


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        ("Straße", "STRASSE", "RFC 8266 lowercases, it does not fold (as RFC 7700 did)"),
        ("ı", "I", "lowercasing knows no language: I is i, also in Turkish"),
        ("İ", "i", "i with a dot above keeps the dot, as a mark of its own"),
        ("Νίκοσ", "Νίκος", "a small sigma is already lower case, final or not"),
        (
            "a",
            "а",
            "Latin and Cyrillic look alike but are not; that is nickname_confusable's matter",
        ),
        ("ab", "a b", "spaces are evened out, not removed"),
    ],
)
def test_what_the_rfc_keeps_apart_stays_apart(one: str, other: str, why: str) -> None:
    assert accepted(one).key != accepted(other).key, why


@pytest.mark.parametrize("raw", ["Σ㍿", "Σ\u3344 x", "ⱫΣ㏛ⲬΣ", "Ϲ", "aϹb"])
def test_names_that_are_written_alike_are_compared_alike(raw: str) -> None:
    """The rules for a final sigma see other neighbours before normalization than after it."""
    nickname = accepted(raw)
    assert accepted(nickname.display) == nickname


@pytest.mark.parametrize(
    ("raw", "explained"),
    [
        ("", "at least one character"),
        (" \u3000\u00a0", "at least one character"),
        ("👩\u200d💻", "joiner of composed emoji"),
        ("❤\ufe0f", "mark that phones put after some emoji"),
        ("a\u00adb", "U+00AD SOFT HYPHEN, which is invisible"),
        ("می\u200cخواهم", "U+200C ZERO WIDTH NON-JOINER, which is invisible"),
        ("क्\u200dष", "U+200D ZERO WIDTH JOINER"),
        ("a\U000e0100", "U+E0100 VARIATION SELECTOR-17, which is invisible"),
        ("🏴\U000e0067\U000e007f", "U+E0067 TAG LATIN SMALL LETTER G, which is invisible"),
        ("\u115f", "U+115F HANGUL CHOSEONG FILLER, which is not allowed there"),
        ("\u3164", "U+1160 HANGUL JUNGSEONG FILLER, which is not allowed there"),
        ("\u202emoc", "U+202E RIGHT-TO-LEFT OVERRIDE, which changes the direction of writing"),
        ("a\u200f", "U+200F RIGHT-TO-LEFT MARK, which changes the direction of writing"),
        ("a\0", "U+0000, a control character"),
        ("two\nlines", "U+000A, a control character"),
        ("\ue000", "U+E000, which is not allowed there"),
        ("\U0010fffd", "U+10FFFD, which is not allowed there"),
        ("\ufdd0", "U+FDD0, which is invisible"),
        ("\U000e0fff", "U+E0FFF, which this server does not know"),
        ("\ud800", "U+D800, which is not allowed there"),
        ("L·L", "U+00B7 MIDDLE DOT, which is not allowed there"),
        ("a" * 33, "at most 32 characters; this one has 33"),
        ("\ufdfa\ufdfa", "at most 32 characters; this one has 36"),
        ("漢" * 22, "at most 64 bytes of UTF-8; this one takes 66"),
        ("x" * 65_536, "at most 32 characters; this one has 65536"),
    ],
)
def test_an_invalid_nickname_is_refused_in_words_for_people(raw: str, explained: str) -> None:
    problem = refused(raw)
    assert problem.code is Code.NICKNAME_INVALID
    assert explained in problem.detail
    assert problem.detail.isprintable()


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize(
    "code_points", [DEFAULT_IGNORABLE, BIDI_CONTROL, CONTROL], ids=["ignorable", "bidi", "control"]
)
def test_nothing_invisible_gets_in(code_points: list[int], context: str) -> None:
    for code_point in code_points:
        assert refused(context.format(chr(code_point))).code is Code.NICKNAME_INVALID


@pytest.mark.parametrize(
    "raw",
    ["you", "You", "ＹＯＵ", " you ", "вы", "Вы", "ВЫ", "SYSTEM", "Ⓢystem", "ａｄｍｉｎ", "Server"],
)
def test_a_reserved_nickname_is_refused_however_it_is_written(raw: str) -> None:
    assert refused(raw).code is Code.NICKNAME_RESERVED


def test_reserved_nicknames_stand_there_by_their_keys() -> None:
    for key in RESERVED:
        assert accepted(key + "2").key == key + "2"
        assert refused(key).code is Code.NICKNAME_RESERVED


@pytest.mark.parametrize(
    "raw",
    ["a", "a" * 32, "漢" * 21, "😀" * 16, "e\u0301" * 32, "ᾂ" * 16 + "a" * 16, "  a  " + " " * 200],
)
def test_the_limits_hold_for_what_is_written_not_for_what_was_typed(raw: str) -> None:
    display = accepted(raw).display
    assert len(display) <= 32
    assert len(display.encode()) <= 64
    assert accepted(unicodedata.normalize("NFD", raw)).display == display


def test_no_name_is_looked_for_in_a_long_string() -> None:
    """Whatever it would collapse to: PRECIS works a character at a time."""
    assert accepted("a" + " " * 255).display == "a"
    assert "this one has 257" in refused("a" + " " * 256).detail


@pytest.mark.parametrize("raw", ["İ" * 17, "Ⱥ" * 22])
def test_a_nickname_whose_key_would_be_over_the_limit_is_refused(raw: str) -> None:
    assert len(raw) <= 32
    assert len(raw.encode()) <= 64
    assert refused(raw).code is Code.NICKNAME_INVALID


def test_a_server_may_have_other_limits() -> None:
    short = Limits(nickname=4, nickname_bytes=8)
    assert prepare("Anna", limits=short) == Nickname("Anna", "anna")
    assert isinstance(prepare("Annas", limits=short), NicknameProblem)
    assert isinstance(prepare("漢字漢", limits=short), NicknameProblem)
    assert suggestions("Anna", lambda _: False, limits=short) == ("Ann2", "Ann3", "Ann4")
    assert suggestions("", lambda _: False, limits=short) == ("gue1", "gue2", "gue3")
    assert isinstance(prepare("a" * 33, limits=Limits(nickname=33)), Nickname)


def assert_stable(raw: str) -> None:
    nickname = prepare(raw)
    if isinstance(nickname, NicknameProblem):
        assert nickname.code in {Code.NICKNAME_INVALID, Code.NICKNAME_RESERVED}
        assert nickname.detail.isprintable()
        return
    assert prepare(nickname.display) == nickname
    assert prepare(nickname.key) == Nickname(nickname.key, nickname.key)
    for form in (nickname.display, nickname.key):
        assert 1 <= len(form) <= 32
        assert len(form.encode()) <= 64
        assert form.isprintable()


@given(st.text() | nicknames() | bad_nicknames())
@example("Σ㍿")
def test_prepared_again_a_nickname_stays_as_it_is(raw: str) -> None:
    assert_stable(raw)


def test_no_character_that_maps_to_others_is_unstable() -> None:
    for char in map(chr, range(sys.maxunicode + 1)):
        if char.lower() != char or unicodedata.normalize("NFKC", char) != char:
            assert_stable(char)
            assert_stable(f"a{char}B")


@given(nicknames())
def test_the_strategy_gives_good_nicknames(raw: str) -> None:
    accepted(raw)


@given(bad_nicknames())
def test_the_strategy_gives_bad_nicknames(raw: str) -> None:
    refused(raw)


@given(st.data())
def test_another_spelling_is_the_same_nickname(data: st.DataObject) -> None:
    raw = data.draw(nicknames())
    assert accepted(data.draw(spellings(raw))).key == accepted(raw).key


def nobody(_: str) -> bool:
    return False


def everybody(_: str) -> bool:
    return True


@pytest.mark.parametrize(
    ("raw", "taken", "offered"),
    [
        ("Alexandra", {"alexandra"}, ("Alexandra2", "Alexandra3", "Alexandra4")),
        ("ALEXANDRA", {"alexandra", "alexandra3"}, ("ALEXANDRA2", "ALEXANDRA4", "ALEXANDRA5")),
        ("Admin", set(), ("Admin2", "Admin3", "Admin4")),
        ("guest", {"guest"}, ("guest2", "guest3", "guest4")),
        ("R2D2", {"r2d2"}, ("R2D3", "R2D4", "R2D5")),
        ("agent007", {"agent007"}, ("agent008", "agent009", "agent010")),
        ("42", {"42"}, ("43", "44", "45")),
        ("a\u00adb", set(), ("ab", "ab2", "ab3")),
        ("❤\ufe0f", {"❤2"}, ("❤", "❤3", "❤4")),
        ("two\nlines", set(), ("two lines", "two lines2", "two lines3")),
        ("you\0", set(), ("you2", "you3", "you4")),
        ("\u200b\u0301a", set(), ("a", "a2", "a3")),
        ("", set(), ("guest1", "guest2", "guest3")),
        ("\ud800\0", {"guest2"}, ("guest1", "guest3", "guest4")),
        ("x" * 65_536, set(), ("x" * 32, "x" * 31 + "2", "x" * 31 + "3")),
        ("x" * 31 + " yz", set(), ("x" * 31, "x" * 31 + "2", "x" * 31 + "3")),
        ("漢" * 40, {"漢" * 21}, ("漢" * 21 + "2", "漢" * 21 + "3", "漢" * 21 + "4")),
        ("İ" * 40, set(), ("İ" * 16, "İ" * 15 + "2", "İ" * 15 + "3")),
    ],
)
def test_a_refusal_comes_with_names_that_are_near_and_free(
    raw: str, taken: set[str], offered: tuple[str, ...]
) -> None:
    assert suggestions(raw, taken.__contains__) == offered


@pytest.mark.parametrize(
    ("raw", "first"),
    [
        ("a" * 31 + "x\u0316" + "b", "a" * 31),
        ("👍🏽" * 9, "👍🏽" * 8),
        ("🇩🇪" * 9, "🇩🇪" * 8),
        ("a🇩🇪" * 8, "a🇩🇪" * 7 + "a"),
        ("क्षि" * 9, "क्षि" * 5),
        ("o" + "\u0316" * 40, "guest1"),
    ],
)
def test_a_name_is_shortened_between_characters_as_people_see_them(raw: str, first: str) -> None:
    assert suggestions(raw, nobody)[0] == first


def test_a_name_that_is_one_long_character_is_not_cut_down_to_a_number() -> None:
    taken = "o" + "\u0316" * 31
    assert suggestions(taken, {taken}.__contains__) == ("guest1", "guest2", "guest3")


def test_where_the_near_names_are_held_farther_ones_are_offered() -> None:
    held = {f"anna{number}" for number in range(10_000)}
    assert suggestions("Anna", held.__contains__) == ("Anna16385", "Anna131073", "Anna1048577")


def test_where_others_hold_every_name_that_is_tried_nothing_is_offered() -> None:
    tried: list[str] = []

    def held(key: str) -> bool:
        tried.append(key)
        return True

    assert suggestions("ﷺ" * 20_000, held) == ()
    assert len(tried) <= 50
    assert suggestions("Anna", everybody) == ()


def test_as_many_names_are_offered_as_were_asked_for() -> None:
    assert len(suggestions("Anna", nobody, 7)) == 7
    assert suggestions("Anna", nobody, 0) == ()


@given(st.text(max_size=60) | nicknames() | bad_nicknames(), st.data())
def test_what_is_offered_may_be_had(raw: str, data: st.DataObject) -> None:
    first = suggestions(raw, nobody)
    held = {accepted(name).key for name in data.draw(st.sets(st.sampled_from(first)))}
    refused_key = {answer.key} if isinstance(answer := prepare(raw), Nickname) else set()
    offered = suggestions(raw, held.__contains__)
    assert len(offered) == 3
    keys = {accepted(name).key for name in offered}
    assert len(keys) == 3
    assert not keys & (held | RESERVED | refused_key)
    assert [accepted(name).display for name in offered] == list(offered)


SINCE = "2026-11-23T10:00:00.000Z"


def test_a_token_that_does_not_hold_the_nickname_may_not_use_it() -> None:
    registry = Registry().claim("token-1", Participation("Anna", "anna", SINCE, 1))
    for other in ("token-2", None):
        problem = registry.check("ＡＮＮＡ", other)
        assert problem == NicknameProblem(Code.NICKNAME_TAKEN, "Somebody here is called ANNA.")
    assert registry.check("ＡＮＮＡ", "token-1") == Nickname("ANNA", "anna")
    assert registry.check("Berta") == Nickname("Berta", "berta")
    assert registry.check("admin", "token-1") == prepare("admin")


def test_a_registry_never_changes() -> None:
    empty = Registry()
    one = empty.claim("token-1", Participation("Anna", "anna", SINCE, 1))
    two = one.claim("token-2", Participation("Berta", "berta", SINCE, 2))
    assert one.release("token-1") == empty == Registry()
    assert [held.nickname for held in two.participants()] == ["Anna", "Berta"]
    assert [held.nickname for held in one.participants()] == ["Anna"]
    assert one.nickname_of("token-2") is None
    assert two.nickname_of("token-2") == "Berta"


def test_keys_and_names_are_taken_as_they_come() -> None:
    """An event may be older than this server's Unicode tables."""
    odd = Participation("\u0378 \0", "NOT A KEY", SINCE, 1)
    registry = Registry().claim("token-1", odd)
    assert registry.participation("token-1") == odd
    assert registry.holder("NOT A KEY") == "token-1"
    assert registry.is_taken("NOT A KEY")
    assert not registry.is_taken("not a key")


IN_ORDER = """
from cloudchat_core.nicknames import Participation, Registry
registry = Registry()
for n in range(200):
    registry = registry.claim(f"t{n}", Participation(f"N{n}", f"n{n}", "", n * 7919 % 200))
print(*[token for token, _ in registry.items()])
"""


@pytest.mark.parametrize("seed", ["0", "1"])
def test_participants_are_listed_alike_in_every_process(seed: str) -> None:
    oldest_first = sorted(range(200), key=lambda n: n * 7919 % 200)
    listed = subprocess.run(
        [sys.executable, "-c", IN_ORDER],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split() == [f"t{n}" for n in oldest_first]
