"""Nicknames to test with, good and bad, and a state machine of who holds which.

from cloudchat_core.testing.nicknames import NicknameMachine, bad_nicknames, nicknames, spellings

TestNicknames = NicknameMachine.TestCase
"""

from unicodedata import normalize

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from cloudchat_core.errors import Code
from cloudchat_core.nicknames import (
    RESERVED,
    Nickname,
    NicknameProblem,
    Participation,
    Registry,
    prepare,
    suggestions,
)

# Each is a character as people see it: at most 9 bytes and 4 code points in either form.
_CHARACTERS = (
    *"abcXYZ059_-.!'@#~",
    *"äÖßẞÅéñŁİıſŉ",
    *"ЖжЁёйЩіґ",
    *"ΣσςΆώϲϹ",
    *"אבשعربگ",
    *"กขऄकԱաღႠᏣ",
    *"漢字あアー한글",
    *"ａＢ７＿ｶﾊ",
    *"ﬁⅧ²①㎏𝔄",
    *"😀❤♞🐈→€",
    "e\u0301",
    "A\u030a",
    "u\u0308\u0304",
    "ｶﾞ",
    "กำ",
    "क्ष",
    "👍🏽",
    "🇩🇪",
)
_SPACES = " \u00a0\u2003\u3000"
_INVISIBLE = "\u00ad\u034f\u115f\u17b4\u180e\u200b\u200c\u200d\u2060\u3164\ufe0f\ufeff\uffa0\U000e0061\U000e0100"
_BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202e\u2066\u2069"
_OTHERS = "\0\t\n\x1b\x7f\x85\u2028\ue000\uf8ff\ufdd0\uffff\ud800\udfff"


def nicknames() -> st.SearchStrategy[str]:
    """Give nicknames as people might type them, of many scripts, widths and cases, that `prepare` accepts."""
    written = st.builds(
        lambda space, characters, before, after: before + space.join(characters) + after,
        st.sampled_from(["", *_SPACES]),
        st.lists(st.sampled_from(_CHARACTERS), min_size=1, max_size=6),
        *[st.text(_SPACES, max_size=2)] * 2,
    )
    return written.filter(lambda raw: normalize("NFKC", raw).strip().lower() not in RESERVED)


@st.composite
def spellings(draw: st.DrawFn, raw: str) -> str:
    """Write one of `nicknames()` otherwise: in another case or width, decomposed, with other spaces; the same name."""
    if draw(st.booleans()):
        raw = "".join(map(_other_case, raw))
    if draw(st.booleans()):
        raw = "".join(map(_wide, raw))
    if draw(st.booleans()):
        raw = normalize("NFD", raw)
    around = st.text(_SPACES, max_size=3)
    return draw(around) + raw.replace(" ", "\u3000 ") + draw(around)


def _other_case(char: str) -> str:
    # Whether a sigma is a final one is for its neighbours to say, so its capital is not just another spelling.
    other = char.swapcase()
    sigma = normalize("NFKC", char).upper() == "Σ"
    return other if other.swapcase() == char and not sigma else char


def _wide(char: str) -> str:
    return chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char


def bad_nicknames() -> st.SearchStrategy[str]:
    """Give strings that `prepare` refuses: blank, too long, reserved, or with a character that may not be there."""
    return st.one_of(
        st.text(_SPACES, max_size=300),
        st.builds(
            lambda before, bad, after: before + bad + after,
            st.just("") | nicknames(),
            st.sampled_from([*_INVISIBLE, *_BIDI_CONTROLS, *_OTHERS]),
            st.just("") | nicknames(),
        ),
        st.text("abcЖ", min_size=33, max_size=300),
        st.text("漢字", min_size=22, max_size=32),
        st.sampled_from(sorted(RESERVED)).flatmap(spellings),
    )


class NicknameMachine(RuleBasedStateMachine):
    """People come, go, come back and take each other's names, against a plain dict that says who holds what."""

    said = Bundle("said")
    tokens = st.sampled_from([f"token-{number}" for number in range(5)])

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry()
        self.model: dict[str, Participation] = {}
        self.offset = 0

    @rule(target=said, token=tokens, raw=nicknames())
    def join(self, token: str, raw: str) -> str:
        """Somebody comes with a name of their own."""
        self._ask(token, raw)
        return raw

    @rule(token=tokens, raw=said.flatmap(spellings))
    def join_as_heard(self, token: str, raw: str) -> None:
        """Somebody comes with a name that was used before, written otherwise."""
        self._ask(token, raw)

    @rule(token=tokens, raw=bad_nicknames())
    def join_with_no_name(self, token: str, raw: str) -> None:
        """What cannot be a nickname is refused whoever asks."""
        assert isinstance(self.registry.check(raw, token), NicknameProblem)
        self._offers(raw)

    @rule(raw=said, data=st.data())
    def write_otherwise(self, raw: str, data: st.DataObject) -> None:
        """Another spelling is the same nickname."""
        one, other = prepare(raw), prepare(data.draw(spellings(raw)))
        assert isinstance(one, Nickname)
        assert isinstance(other, Nickname)
        assert one.key == other.key

    @rule(token=tokens)
    def leave(self, token: str) -> None:
        """A nickname is free again; who holds none changes nothing."""
        before = self.registry
        self.registry = before.release(token)
        if self.model.pop(token, None) is None:
            assert self.registry is before

    @rule(token=tokens, raw=said)
    def replay(self, token: str, raw: str) -> None:
        """An event is never refused, even one that nobody should have decided: its token holds, others do not."""
        nickname = prepare(raw)
        assert isinstance(nickname, Nickname)
        self._claim(token, nickname)

    def _ask(self, token: str, raw: str) -> None:
        nickname = prepare(raw)
        assert isinstance(nickname, Nickname)
        holders = [other for other, held in self.model.items() if held.key == nickname.key]
        answer = self.registry.check(raw, token)
        if holders in ([], [token]):
            assert answer == nickname
            self._claim(token, nickname)
        else:
            assert isinstance(answer, NicknameProblem)
            assert answer.code is Code.NICKNAME_TAKEN
            self._offers(raw)

    def _offers(self, raw: str) -> None:
        offered = suggestions(raw, self.registry.is_taken)
        assert len(set(offered)) == 3
        for name in offered:
            allowed = self.registry.check(name)
            assert isinstance(allowed, Nickname)
            assert allowed.display == name

    def _claim(self, token: str, nickname: Nickname) -> None:
        self.offset += 1
        participation = Participation(
            nickname.display, nickname.key, "2026-11-23T10:00:00.000Z", self.offset
        )
        self.registry = self.registry.claim(token, participation)
        kept = {
            other: held
            for other, held in self.model.items()
            if other != token and held.key != nickname.key
        }
        self.model = {**kept, token: participation}

    @invariant()
    def everybody_is_listed_oldest_first(self) -> None:
        """The registry lists what the dict does, in the order in which they came."""
        assert self.registry.items() == tuple(self.model.items())
        assert self.registry.participants() == tuple(self.model.values())
        assert len(self.registry) == len(self.model)

    @invariant()
    def a_nickname_has_one_holder(self) -> None:
        """Keys and tokens point at each other, one to one."""
        keys = [held.key for held in self.model.values()]
        assert len(set(keys)) == len(keys) == len(self.registry.by_key)
        for token, held in self.model.items():
            assert self.registry.holder(held.key) == token
            assert self.registry.participation(token) == held
            assert self.registry.nickname_of(token) == held.nickname
