"""What is large and repeats itself costs no more than its size: nobody gets minutes of work for some kilobytes."""

from __future__ import annotations

import time

import pytest

from tests.fuzzing.targets import TARGETS

PATIENT = 20.0
"""Seconds: what grows with the square of these sizes takes longer by far; all that is here takes a moment."""

GET = b"GET /v1/ws HTTP/1.1\r\n"
LARGE = {
    "head": [
        GET + b"a:b\r\n" * 3_200 + b"\r\n",
        GET + b"a:" + b" " * 16_000 + b"\r\n\r\n",
        GET + b"a:\r" * 5_000,
        GET + b":" * 16_000,
        GET + b"\r\nab" * 4_000,
        GET + b"upgrade:" + b" " * 16_000,
    ],
    "handshake": [
        GET + b"Connection: " + b"a," * 7_000 + b"\r\n\r\n",
        GET + b"Connection: Upgrade\r\n" * 800 + b"\r\n",
    ],
    "frames": [
        b"\x01\x80\0\0\0\0" + b"\x00\x80\0\0\0\0" * 10_000,
        b"\x89\x80\0\0\0\0" * 10_000,
        b"\x81\xfe\x03\xe8\0\0\0\0" + b"x" * 1_000,
    ],
    "json": [
        b"[" * 100_000,
        b"[" * 60 + b"1," * 200_000,
        b'{"a":' * 64 + b"1" + b"}" * 64,
        b'"' + b"\\u0041" * 50_000 + b'"',
        b"1" * 100_000,
        b"[" + b"[]," * 50_000 + b"1]",
    ],
    "command": [
        b'{"type":"say","id":"a","text":"' + b"x" * 60_000 + b'"}',
        b'{"id":"a",' + b'"type":"say",' * 5_000 + b'"text":"x"}',
    ],
    "sse": [b"data\n" * 12_000, b"\r" * 60_000, b":" * 200 + b"\n" * 60_000],
    "nickname": [
        "a\u0301".encode() * 20_000,
        "\ufdfa".encode() * 20_000,
        b" " * 60_000,
        "क्".encode() * 9_000,
        "🇺".encode() * 60,
    ],
    "query": [
        b"&" * 16_000,
        b"a=b&" * 4_000,
        b"after=" + b"%41" * 5_000,
        b"topics=" + b"a," * 8_000,
    ],
    "callers": [b"a." * 8_000, b"\xe4" * 16_000, b"\xe4." * 8_000, b"a\nhttp://" + b"\xdf" * 8_000],
    "cursor": [b"a" * 60_000, b"a-" + b"9" * 60_000],
    "options": [b"1" * 60_000, b"30d " * 10_000, b"simulated:?" + b"fail=start&" * 3_000],
    "server_frames": [b"closed\n" * 2_000, b"retry\n" * 5_000],
}


@pytest.mark.parametrize("name", LARGE)
def test_what_is_large_is_through_in_a_moment(name: str) -> None:
    begun = time.process_time()
    for data in LARGE[name]:
        TARGETS[name].check(data)
    assert time.process_time() - begun < PATIENT
