"""Hostile input, looked for by a fuzzer that follows coverage: `python -m tests.fuzzing TARGET --seconds 60`.

A target (`targets.py`) takes any bytes and asserts more than that nothing breaks: only the documented errors, the same
result however the bytes are cut, what is written is read again, what another implementation makes of it. What was found
stays in `corpus/TARGET/`, and `test_corpus.py` replays it in every run of the tests, without the fuzzer.
"""
