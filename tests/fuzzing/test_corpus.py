"""What the fuzzer reached, and what it found, is as it should be: replayed without the fuzzer."""

from __future__ import annotations

import pytest

from tests.fuzzing.corpus import CORPUS, inputs
from tests.fuzzing.targets import TARGETS


def test_the_corpus_is_of_these_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_every_promise_holds_for_all_that_is_in_the_corpus(name: str) -> None:
    assert len(inputs(name)) > 5
    for path in inputs(name):
        data = path.read_bytes()
        try:
            TARGETS[name].check(data)
        except Exception as error:
            error.add_note(f"{path}: {data!r}")
            raise
