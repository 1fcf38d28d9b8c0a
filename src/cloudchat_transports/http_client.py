"""What the clients of transports over HTTP share: where the server is, and how it says no."""

from __future__ import annotations

import ssl
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import anyio
import httpx
import msgspec

from cloudchat_core.errors import RemoteProtocolError
from cloudchat_transports.client_transport import RejectedError, UnreachableError, reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

OPENING: Final = 10.0
"""Seconds in which a connection has to be there and its feed has to begin."""

_SCHEMES: Final = {"http": "http", "ws": "http", "https": "https", "wss": "https"}


class Problem(msgspec.Struct, frozen=True):
    """What is of interest of a problem (RFC 9457) with a code of the protocol."""

    code: str
    detail: str
    retry_after: float | None = None


def read_problem(response: httpx.Response) -> Problem | None:
    """Return the problem that is a response's body; None where it has none of ours."""
    with suppress(msgspec.MsgspecError, UnicodeError):
        return msgspec.json.decode(response.content, type=Problem)
    return None


def rejected(response: httpx.Response) -> RejectedError:
    """Say what a server said that would not give a feed; the response's body is read."""
    problem = read_problem(response)
    if problem is not None and problem.retry_after is not None:
        return RejectedError(response.status_code, problem.detail, problem.retry_after)
    detail = f"the server answered with HTTP status {response.status_code}"
    after = response.headers.get("retry-after", "")
    return RejectedError(
        response.status_code,
        problem.detail if problem is not None else detail,
        float(after) if after.isdecimal() else None,
    )


class _Body(httpx.AsyncByteStream):
    """A request's body as a plain iterator.

    httpx has an async generator, which is left to the garbage collector when a connection breaks; Trio warns of that.
    """

    def __init__(self, data: bytes) -> None:
        self._parts = [data] if data else []

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._parts:
            raise StopAsyncIteration
        return self._parts.pop()


async def _with_plain_body(request: httpx.Request) -> None:
    request.stream = _Body(request.content)


class HttpTransport:
    """What transports over HTTP share: the server's address, and what it takes to reach it."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        """Reach the server at `url` (`http`, `https`, `ws` or `wss`; its path stands before `/v1/…`).

        `headers` go with each request. Raises `ValueError` where `url` is no address.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(f"{url!r} is no address of a server; it looks like http://HOST:PORT")
        self._url, scheme = url, _SCHEMES[parts.scheme]
        self._base = parts._replace(scheme=scheme, query="", fragment="").geturl()
        # A collecting proxy has less reason to hold back what is not compressed.
        self._headers = {"accept-encoding": "identity", **(headers or {})}
        # The system's certificates, as the WebSocket has it; without TLS there is no need to load any.
        secure = scheme == "https"
        self._tls = (
            ssl.create_default_context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
        # Whoever runs a server on this machine does not mean a proxy's idea of it.
        self._local = parts.hostname == "localhost" or parts.hostname.startswith(("127.", "::1"))

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._base,
            headers=self._headers,
            event_hooks={"request": [_with_plain_body]},
            verify=self._tls,
            trust_env=not self._local,
            timeout=None,  # noqa: S113 - whatever is waited for has a deadline where it is waited for
        )

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Bound the opening in time, and tell whatever goes wrong with it as `UnreachableError`."""
        try:
            with anyio.fail_after(OPENING):
                yield
        except TimeoutError:
            raise UnreachableError(f"{self._url}: no answer within {OPENING:g} s") from None
        except (httpx.RemoteProtocolError, RemoteProtocolError, ValueError):
            raise UnreachableError(
                f"{self._url}: what answers there is no cloudchat server"
            ) from None
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._url}: {reason(error)}") from error


def feed_query(after: str, topics: Sequence[str]) -> dict[str, str]:
    """Return the parameters that ask for a feed."""
    asked = {"after": after, "topics": ",".join(topics)}
    return {name: value for name, value in asked.items() if value}
