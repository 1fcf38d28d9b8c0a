"""What arrives on a socket before anybody knows who it is from: request heads, handshakes, WebSocket frames."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

import h11
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, Request
from wsproto.utilities import RemoteProtocolError as TheirError

from cloudchat_core.errors import RefusedError, RemoteProtocolError
from cloudchat_transports.access import Access, parse_authority, parse_origin
from cloudchat_transports.direct import plain_request
from cloudchat_transports.feeds import feed_request, parse_query
from cloudchat_transports.head import read_head
from cloudchat_transports.ws.frames import close_frame, echo_frame, pong_frame, text_frame
from cloudchat_transports.ws.handshake import HandshakeError, Upgrade
from cloudchat_transports.ws.reader import CLOSE, PART, PING, PONG, TEXT, FrameReader, close_code
from tests.fuzzing.pieces import pieces
from tests.transports.test_ws_reader import agree

if TYPE_CHECKING:
    from collections.abc import Iterable

LIMIT = 1_000
"""Bytes of a message: small, so that the fuzzer gets beyond it."""


# ---------------------------------------------------------------------- requests


def request_head(data: bytes) -> None:
    """A head that we read is read by h11 as the same request; and a plain one has no body."""
    head = read_head(data)
    plain = plain_request(data)
    assert plain is None or plain == head
    if head is None:
        return
    names = [name for name, _ in head.fields]
    assert all(name == name.lower() and not set(name) & set(b" \t:\r\n\0") for name in names)
    assert not any(set(value) & set(b"\r\n\0") for _, value in head.fields)
    if plain is not None:
        assert not {b"content-length", b"transfer-encoding"}.intersection(names)
    theirs = h11.Connection(h11.SERVER)
    theirs.receive_data(data)
    try:
        event = theirs.next_event()
    except h11.RemoteProtocolError as error:
        # What it wants besides a grammar: one Host; a body's length that can be read.
        assert any(word in str(error) for word in ("Host", "Content-Length", "Transfer-Encoding"))
        return
    assert isinstance(event, h11.Request)
    assert (event.method, event.http_version) == (b"GET", b"1.1")
    assert event.target.decode() == head.target
    assert _plain(event.headers) == _plain(head.fields)


def _plain(fields: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without those that h11 writes in its own way."""
    return [each for each in fields if each[0] not in {b"content-length", b"transfer-encoding"}]


def handshake(data: bytes) -> None:
    """A handshake is opened only where wsproto would open it as well; a refusal is a whole HTTP answer."""
    try:
        upgrade = Upgrade(data)
    except HandshakeError as error:
        _refusal(error.answer)
        return
    _refusal(upgrade.reject("forbidden", "because"))
    theirs = WSConnection(ConnectionType.SERVER)
    try:
        theirs.receive_data(data)
    except UnicodeDecodeError:
        return  # it does not expect all that a field may have in it
    except TheirError as error:
        # It takes no lists that come in several fields, and no list of protocols to upgrade to (RFC 9110 §5.3, §7.8).
        assert any(word in str(error) for word in ("Upgrade: websocket", "Connection: Upgrade"))
        names = re.findall(rb"\n(connection|upgrade):([^\n]*)", data, re.IGNORECASE)
        assert len(names) > 2 or any(b"," in value for _, value in names)
        return
    (request,) = theirs.events()
    assert isinstance(request, Request)
    assert upgrade.host.isascii()
    ours = upgrade.accept()
    chosen = "cloudchat.v1" if "cloudchat.v1" in request.subprotocols else None
    assert _fields(ours) == _fields(theirs.send(AcceptConnection(subprotocol=chosen)))
    # And whatever stands in it, the checks behind it either let it in or say why not.
    forbidden = Access().check(upgrade.host, upgrade.origin)
    assert forbidden is None or forbidden
    if parse_authority(upgrade.host) is None:
        assert forbidden
    with suppress(RefusedError):
        asked = feed_request(parse_query(upgrade.query))
        assert asked.topics <= {"chat", "instances"}
        assert len(asked.after) <= 128


def _refusal(answer: bytes) -> None:
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    assert 400 <= head.status_code < 500
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        assert isinstance(event, h11.Data)
    assert client.their_state is h11.MUST_CLOSE


def _fields(answer: bytes) -> tuple[bytes, set[tuple[bytes, bytes]]]:
    """Status and fields of a 101, the reason left out."""
    first, *lines = answer.removesuffix(b"\r\n\r\n").split(b"\r\n")
    pairs = (line.partition(b":") for line in lines)
    return first[:12], {(name.lower(), value.strip().lower()) for name, _, value in pairs}


# ---------------------------------------------------------------------- frames

Read = tuple[list[tuple[int, bytes]], int]


def frames(data: bytes) -> None:
    """Frames are read the same however they are cut, as wsproto reads them, and within the limit."""
    ours, code = whole = read_frames([data])
    for parts in pieces(data):
        assert read_frames(parts) == whole
    assert code in {0, 1002, 1003, 1007, 1009}
    for kind, payload in ours:
        assert len(payload) <= (LIMIT if kind in {TEXT, PART} else 125)
        if kind == TEXT:
            assert text_frame(payload).endswith(payload)
        elif kind != PART:
            assert {PING: pong_frame, PONG: pong_frame, CLOSE: echo_frame}[kind](payload)
    assert agree(data, lambda data: read_frames([data]))


def read_frames(parts: Iterable[bytes]) -> Read:
    """Return what was read of a client's bytes, and the code of what was wrong (0: nothing)."""
    reader, found = FrameReader(LIMIT), list[tuple[int, bytes]]()
    try:
        for part in parts:
            for kind, payload in reader.read(part):
                found.append((kind, payload))
                if kind == CLOSE:
                    close_code(payload)
                    return found, 0
    except RemoteProtocolError as error:
        assert close_frame(error.close_code, str(error))[1] <= 125
        return found, error.close_code
    return found, 0


def query(data: bytes) -> None:
    """A query is read or refused as `bad_request` or `not_found`; what is read is within its bounds."""
    text = data.decode("latin-1")
    try:
        parameters = parse_query(text)
    except RefusedError as error:
        assert error.code == "bad_request"
        return
    assert all(parameters.values())
    try:
        asked = feed_request(parameters)
    except RefusedError as error:
        assert error.code in {"bad_request", "not_found"}
        assert parameters.keys() & {"after", "workspace", "topics"}
        return
    assert len(asked.after) <= 128
    assert asked.topics
    assert asked.topics <= {"chat", "instances"}


def callers(data: bytes) -> None:
    """A `Host` and an `Origin`, whatever they are, are let in or refused in words; what is allowed by name comes in."""
    host, _, origin = data.decode("latin-1").partition("\n")
    known, named = parse_authority(host), parse_origin(origin)
    refusal = Access().check(host, origin)
    assert refusal is None or isinstance(refusal, str)
    if refusal is None:
        assert known is not None
        assert named is not None
        assert named.host == known.host
    if known is not None:
        assert known.host.isascii()
        assert known.host == known.host.lower()
        assert parse_authority(known.host) == (known.host, None)
        if "*" not in host:
            assert Access([host]).check(host, None) is None
            if named is not None and "*" not in origin:
                assert Access([host], [origin]).check(host, origin) is None
