"""The servers that are measured: how each is started, and how it is spoken to."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.tools import HERE, PEERS, MissingError, compiled, first_line, free_port, pinned

START: Final = 60.0
"""Seconds that a server may take until it can be reached."""

STAMP: Final = 32
"""Characters of what stands for `%s` in a message."""

FRAME: Final = 150
"""Bytes of a message as a WebSocket frame, its head of four included. Ours are as the protocol makes them."""

TEXT: Final = "%s hello everybody, this is a message"
"""What is said in ours: 65 characters."""

Command = Callable[[int, Path], Sequence[str | Path]]
"""Makes the command line of a server from its port and a folder of its own."""

Speech = Mapping[str, str]
"""Options of the load generator (see `load --help`)."""


@dataclass(frozen=True)
class Server:
    """One server, and the transports over which it can be followed."""

    name: str
    title: str
    command: Command
    speech: Mapping[str, Speech]
    version: Callable[[], str] = lambda: ""
    needs: Sequence[Path] = ()
    says: bytes = b""
    """What stands in its output when it is ready: a connection may succeed long before."""
    joins: bool = field(default=False)
    """Whether it writes several messages at once: only then is the heaviest load in its reach."""

    @property
    def there(self) -> bool:
        """Whether it is installed."""
        return all(path.exists() for path in self.needs)


class StartError(Exception):
    """A server did not start; the text has the end of its output."""


@dataclass(frozen=True)
class Running:
    """A server that runs."""

    port: int
    pid: int


@contextmanager
def running(server: Server) -> Iterator[Running]:
    """Run a server on its core while the context lasts; its own process alone is ended."""
    if not server.there:
        raise MissingError(f"{server.title} is not installed: see benchmarks/install_peers.sh")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        port = free_port()
        output = Path(folder, "output")
        command = [*pinned(0), *server.command(port, Path(folder))]
        with output.open("wb") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, cwd=HERE.parent
            )
        try:
            _wait_for(server, port, process, output)
            yield Running(port, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(server: Server, port: int, process: subprocess.Popen[bytes], output: Path) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and process.poll() is None:
        if server.says in output.read_bytes():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                pass
            else:
                return
        time.sleep(0.005)
    raise StartError(f"the server did not start:\n{output.read_text(errors='replace')[-2000:]}")


# ---------------------------------------------------------------- cloudchat


def serve(log: str = "memory:", *options: str, main: Sequence[str] = ()) -> Command:
    """Return what starts `cloudchat serve` over a log (a `sqlite:` one without a path: over a new file)."""
    program = main or ("-c", "from cloudchat_cli import main; main()")

    def command(port: int, folder: Path) -> Sequence[str | Path]:
        place = f"sqlite:{folder / 'log.sqlite'}" if log == "sqlite:" else log
        rates = ("--limit", "commands_per_second=0", "--limit", "requests_per_second=0")
        fixed = ("serve", "--port", str(port), "--log", place, *rates)
        return [sys.executable, *program, *fixed, *options]

    return command


def _cloudchat(path: str) -> Speech:
    """Return how a client of ours speaks that follows at `path`."""
    run = secrets.token_hex(3)
    token = f"benchmark-{secrets.token_hex(8)}-%i"
    return {
        "path": path,
        "publish-path": "/v1/ws?topics=instances",
        "ready": '{"type":"snapshot"',
        "join": json.dumps(
            {"type": "join", "id": "join", "nickname": f"load {run} %i", "token": token}
        ),
        "joined": '{"type":"ack","id":"join"',
        "message": json.dumps({"type": "say", "id": "%s", "text": TEXT}),
        "event": '{"type":"message"',
        "stamp": '"text":"',
        "ack": '{"type":"ack","id":"',
        "refusal": '{"type":"error"',
        "gap": '{"type":"gap"',
        "unanswered": "100",
    }


CLOUDCHAT_SPEECH: Final = {
    "ws": _cloudchat("/v1/ws?topics=chat"),
    "sse": _cloudchat("/v1/sse?topics=chat"),
    "poll": _cloudchat("/v1/poll?topics=chat&wait=25&after=%c"),
}


def cloudchat(name: str, title: str, command: Command) -> Server:
    """Return a server of ours."""
    return Server(name, title, command, CLOUDCHAT_SPEECH, says=b" serves at ", joins=True)


MEMORY: Final = cloudchat("cloudchat-memory", "cloudchat, `memory:`", serve())
SQLITE: Final = cloudchat("cloudchat-sqlite", "cloudchat, `sqlite:`", serve("sqlite:"))


def sliced(size: int) -> Server:
    """Return ours with sweeps that are cut into slices of `size` clients."""
    main = ("-m", "benchmarks.sliced", str(size))
    return cloudchat(f"slices-{size}", f"slices of {size}", serve(main=main))


# ---------------------------------------------------------------- the others


def _message(begin: str, end: str) -> str:
    """Return the template of a message whose frame has `FRAME` bytes."""
    body = f'{begin}{{"type":"msg","room":"general","from":"alice","t":"%s","text":"'
    room = FRAME - 4 - (len(body) - len("%s") + STAMP) - len(f'"}}{end}')
    return f'{body}{"hello everybody, this is a chat message of the usual size"[:room]:.<{room}}"}}{end}'


_PLAIN: Final = {"path": "/", "message": _message("", "")}
_SOCKETIO: Final = {
    "path": "/socket.io/?EIO=4&transport=websocket",
    "hello": "40",
    "ready": "40",
    "message": _message('42["m",', "]"),
    "event": "42[",
}


def _node(script: str) -> Command:
    def command(port: int, folder: Path) -> Sequence[str | Path]:
        # What a script requires is looked for from its own folder on.
        here = PEERS / script
        shutil.copy(HERE / "peers" / script, here)
        return ["node", here, str(port)]

    return command


def _nchan(port: int, folder: Path) -> Sequence[str | Path]:
    text = (HERE / "peers/nchan.conf").read_text(encoding="utf-8")
    for mark, value in {"@ROOT@": _NGINX, "@PORT@": port, "@FOLDER@": folder}.items():
        text = text.replace(mark, str(value))
    (folder / "nginx.conf").write_text(text, encoding="utf-8")
    return [_NGINX / "usr/sbin/nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf"]


def _python(script: str) -> Command:
    return lambda port, _: [_PYTHON, HERE / "peers" / script, str(port)]


def _npm_version(package: str) -> Callable[[], str]:
    def read() -> str:
        text = (PEERS / "node_modules" / package / "package.json").read_text(encoding="utf-8")
        return f"{package} {json.loads(text)['version']}"

    return read


def _pypi_version(package: str) -> Callable[[], str]:
    script = f"from importlib.metadata import version; print(version({package!r}))"
    return lambda: f"{package} {first_line(_PYTHON, '-c', script)}"


def _node_version(package: str) -> Callable[[], str]:
    return lambda: f"{_npm_version(package)()}, Node {first_line('node', '--version')}"


_NGINX: Final = PEERS / "nginx"
_PYTHON: Final = PEERS / "venv/bin/python"
_BUN: Final = PEERS / "node_modules/.bin/bun"
_MODULES: Final = PEERS / "node_modules"

TRANSPORTS: Final = {"ws": "WebSocket", "sse": "server-sent events"}
"""Those over which there is something to compare with."""

FLOOR: Final = Server(
    "floor",
    "one `write()` each, in C",
    lambda port, _: [compiled("floor"), str(port)],
    {"ws": _PLAIN},
)
NCHAN: Final = Server(
    "nchan",
    "Nchan (nginx, C)",
    _nchan,
    {
        "ws": {**_PLAIN, "path": "/ws"},
        "sse": {**_PLAIN, "path": "/sse", "publish-path": "/ws"},
    },
    version=lambda: f"Nchan of Debian, {first_line(_NGINX / 'usr/sbin/nginx', '-v')}",
    needs=[_NGINX / "usr/lib/nginx/modules/ngx_nchan_module.so", Path("/var/lib/nginx")],
)
WS: Final = Server(
    "ws",
    "Node `ws`",
    _node("ws.js"),
    {"ws": _PLAIN},
    version=_node_version("ws"),
    needs=[_MODULES / "ws"],
)
NODE_SSE: Final = Server(
    "node-sse",
    "Node `http`",
    _node("sse.js"),
    {"sse": _PLAIN},
    version=lambda: f"Node {first_line('node', '--version')}",
    needs=[_MODULES / "ws"],
)
SOCKETIO: Final = Server(
    "socketio",
    "Socket.IO (Node)",
    _node("socketio.js"),
    {"ws": _SOCKETIO},
    version=_node_version("socket.io"),
    needs=[_MODULES / "socket.io"],
)
BUN: Final = Server(
    "bun",
    "bun (uWebSockets, C++)",
    lambda port, _: [_BUN, HERE / "peers/bun.js", str(port)],
    {"ws": _PLAIN},
    version=_npm_version("bun"),
    needs=[_BUN],
    joins=True,
)
WEBSOCKETS: Final = Server(
    "websockets",
    "`websockets`, uvloop",
    _python("websockets_server.py"),
    {"ws": _PLAIN},
    version=_pypi_version("websockets"),
    needs=[_PYTHON],
)
PICOWS: Final = Server(
    "picows",
    "picows, uvloop",
    _python("picows_server.py"),
    {"ws": _PLAIN},
    version=_pypi_version("picows"),
    needs=[_PYTHON],
)

ALL: Final = (FLOOR, MEMORY, NCHAN, SQLITE, BUN, WS, SOCKETIO, NODE_SSE, WEBSOCKETS, PICOWS)
"""In the order of a round: ours are not all together."""


def title(name: str) -> str:
    """Return what a server is called in tables."""
    return next((server.title for server in ALL if server.name == name), name.replace("-", " of "))
