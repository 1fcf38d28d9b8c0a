"""How long from `say` until the last of many WebSocket clients has the message, durably, through a real server.

    python benchmarks/fanout_latency.py [--clients 100] [--messages 500] [--rate 50]

Three processes: `cloudchat serve` with a SQLite log; a reader, which holds all clients and notes when each message
reached the last of them; and the publisher, which says one message after the other, `--rate` a second (0: the next as
soon as the last is everywhere). Publisher and reader take the time from the same monotonic clock. The reader parses
frames only as far as it must, so that it is the server that is measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import re
import secrets
import select
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from websockets.sync.client import connect

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

UPGRADE = (
    b"GET /v1/ws?topics=chat HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
TEXT = "x" * 60
"""With what stands around it an event has about 150 bytes."""


def read(port: int, run: str, clients: int, messages: int, last: Connection) -> None:
    """The reader's process: open all clients, say so (None), then tell when each message was everywhere."""
    mark = re.compile(rb'"text":"%s (\d+) ' % run.encode())
    socks = [socket.create_connection(("127.0.0.1", port)) for _ in range(clients)]
    poll = select.epoll()
    rest = {}
    for sock in socks:
        sock.sendall(UPGRADE)
        begun = b""
        while b'"type":"snapshot"' not in begun:
            begun += sock.recv(65_536)
        rest[sock.fileno()] = b""
        poll.register(sock, select.EPOLLIN)
    by_number = {sock.fileno(): sock for sock in socks}
    seen, missing = [0] * messages, messages
    last.send(None)
    while missing:
        for number, _ in poll.poll():
            data = by_number[number].recv(65_536)
            now = time.monotonic_ns()
            assert data, "the server ended a connection"
            if b"\x89\x00" in data:  # a ping: it heard nothing of us for long
                by_number[number].sendall(b"\x8a\x80\0\0\0\0")
            data = rest[number] + data
            end = max(0, len(data) - 64)
            for found in mark.finditer(data):
                end = max(end, found.end())
                message = int(found[1])
                seen[message] += 1
                if seen[message] == clients:
                    last.send((message, now))
                    missing -= 1
            rest[number] = data[end:]


def measure(port: int, clients: int, messages: int, rate: float) -> list[float]:
    """Return, for each message, the seconds from before its `say` until the last client had it."""
    run = secrets.token_hex(4)
    last, end = multiprocessing.Pipe(duplex=False)
    reader = multiprocessing.get_context("spawn").Process(
        target=read, args=(port, run, clients, messages, end)
    )
    reader.start()
    try:
        assert last.recv() is None, "all clients are there"
        took = [0.0] * messages
        with connect(f"ws://127.0.0.1:{port}/v1/ws?after=0-0&topics=instances") as ws:
            token = secrets.token_urlsafe(24)
            ws.send(json.dumps({"type": "join", "id": "j", "nickname": "Bench", "token": token}))
            said: list[int] = []

            def note() -> None:
                number, moment = last.recv()
                took[number] = (moment - said[number]) / 1e9

            noted, start = 0, time.monotonic()
            for number in range(messages):
                if rate:
                    time.sleep(max(0.0, start + number / rate - time.monotonic()))
                said.append(time.monotonic_ns())
                ws.send(
                    json.dumps(
                        {"type": "say", "id": f"s{number}", "text": f"{run} {number} {TEXT}"}
                    )
                )
                while noted < number + 1 if not rate else last.poll():
                    note()
                    noted += 1
            while noted < messages:
                note()
                noted += 1
        return took
    finally:
        reader.join(10)
        reader.kill()


def main() -> None:
    """Measure, and print the figures with where they were taken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--rate", type=float, nargs="*", default=[0, 50])
    arguments = parser.parse_args()
    serve = [str(Path(sys.executable).with_name("cloudchat")), "serve", "--port", "0"]
    with tempfile.TemporaryDirectory() as folder:
        log = f"sqlite:{folder}/log.sqlite"
        server = subprocess.Popen(
            [*serve, "--log", log, "--limit", "commands_per_second=0"],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert server.stdout is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)", server.stdout.readline())
            assert found is not None, "the server says where it is"
            print(
                f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()},"
                f" SQLite {sqlite3.sqlite_version}, cloudchat {version('cloudchat')},"
                f" trio {version('trio')}"
            )
            for rate in arguments.rate:
                took = sorted(measure(int(found[1]), arguments.clients, arguments.messages, rate))
                p50, p99 = took[len(took) // 2], took[len(took) * 99 // 100]
                pace = f"{rate:g} messages/s" if rate else "one at a time"
                print(
                    f"say to the last of {arguments.clients} clients, {pace}, {len(took)} messages:"
                    f" p50 {p50 * 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms, worst {took[-1] * 1e3:.2f} ms"
                )
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
