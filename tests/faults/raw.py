"""What no client of ours would send: bytes on sockets, from an address of their own."""

from __future__ import annotations

import re
import resource
import socket
import struct
from typing import TYPE_CHECKING, Final

from tests.faults.harness import PATIENCE

if TYPE_CHECKING:
    from tests.faults.harness import Server

ELSEWHERE: Final = "127.0.0.2"
"""Another address of this machine: rates are per address, and these clients are nobody's neighbours."""

UPGRADE: Final = (
    b"GET /v1/ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_RESET: Final = struct.pack("ii", 1, 0)
_STATUS: Final = re.compile(rb"HTTP/1\.1 (\d+)")


def get(path: str) -> bytes:
    """Return a request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(body: bytes, path: str = "/v1/commands") -> bytes:
    """Return a request with a JSON body."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def text(payload: bytes, first: int = 0x81) -> bytes:
    """Return a client's WebSocket frame (RFC 6455 §5.2), with a mask of zeros; `first` is its first byte."""
    size = len(payload)
    if size < 126:
        return bytes((first, 0x80 | size)) + bytes(4) + payload
    if size < 65_536:
        return bytes((first, 0xFE)) + size.to_bytes(2, "big") + bytes(4) + payload
    return bytes((first, 0xFF)) + size.to_bytes(8, "big") + bytes(4) + payload


def close_code(code: int) -> bytes:
    """Return the beginning of the server's close frame with `code`, after the byte of its length."""
    return code.to_bytes(2, "big")


def opened(server: Server) -> socket.socket:
    """Connect."""
    return socket.create_connection(
        ("127.0.0.1", server.port), PATIENCE, source_address=(ELSEWHERE, 0)
    )


def until(sock: socket.socket, wanted: bytes) -> bytes:
    """Return what comes until `wanted` is in it, or the server closes."""
    got = b""
    try:
        while wanted not in got and (data := sock.recv(65_536)):
            got = got[-65_536:] + data
    except ConnectionResetError:
        pass
    return got


def statuses(data: bytes) -> list[int]:
    """Return the statuses of the answers in `data`."""
    return [int(found) for found in _STATUS.findall(data)]


def reset(sock: socket.socket) -> None:
    """Close a socket as a crash would: with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


def have_descriptors(count: int) -> None:
    """See that this process may open so many more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 512
    if soft < wanted:
        assert hard >= wanted, f"at most {hard} files may be open here; {wanted} are needed"
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
