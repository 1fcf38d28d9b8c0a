"""The HTTP side of a node: a bare ASGI application, on asyncio and trio, under any server, mounted anywhere.

Theory of operation. Every request goes the same way: who may call (`access.py`), how fast, what is asked (a table of
routes), the handler (`resources.py` reads, `orders.py` changes), and one place that sends. Whatever goes wrong on the
way is an exception that carries its answer, a problem (RFC 9457); any other exception is a bug: it is logged, and
answered by `internal`.

A request is answered as soon as the answer is known, though its body may not have been read. Servers hand a body on
through a bounded queue, and some stop reading the connection for good when nobody takes from it (Hypercorn does), so
what is left of a body is discarded until the answer is out.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio

from cloudchat_core.errors import Code, LocalProtocolError, RefusedError
from cloudchat_core.rates import Rates
from cloudchat_engine.ports import LogError
from cloudchat_transports import website
from cloudchat_transports.access import parse_authority
from cloudchat_transports.feeds import TRANSPORTS, WORKSPACE, switched_off
from cloudchat_transports.metrics import (
    CONTENT_TYPE,
    Metric,
    exposition,
    http_metrics,
    node_metrics,
)
from cloudchat_transports.orders import Orders
from cloudchat_transports.poll.server import Polls
from cloudchat_transports.requests import Bodies, DisconnectedError, Request, mounted_path
from cloudchat_transports.resources import Resources
from cloudchat_transports.responses import (
    Headers,
    ProblemError,
    Response,
    Stream,
    problem,
    send_response,
    send_stream,
)
from cloudchat_transports.specs.server import Specifications
from cloudchat_transports.sse.server import STREAM, EventStreams, postponed
from cloudchat_transports.ws.asgi import AsgiWebSockets

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping

    from cloudchat_engine.node import Node
    from cloudchat_transports.access import Access
    from cloudchat_transports.requests import Receive, Scope, Send

_Handler: TypeAlias = "Callable[[Request], Awaitable[Response | Stream]]"

_METHODS: Final = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
_HEALTH: Final = frozenset({"/healthz", "/readyz"})

_CORS: Final[Headers] = (
    ("access-control-allow-methods", "GET, HEAD, POST, PATCH, DELETE"),
    (
        "access-control-allow-headers",
        "Authorization, Content-Type, Cloudchat-Token, Idempotency-Key, Last-Event-ID",
    ),
    ("access-control-max-age", "7200"),  # the most that Chromium takes
)
_EXPOSED: Final = "ETag, Location, Retry-After"

PROMPT: Final = 0.05
"""Seconds for the rest of a body that nobody wants: one that is here by then costs its connection nothing."""

_log = logging.getLogger(__name__)


class HttpApp:
    """The ASGI application of one node.

    The node has to be running in the same event loop. `access` says who may call; `rates` are those of commands, shared
    with the other transports; `metrics` are told at `/metrics` beside the node's own.
    """

    def __init__(
        self,
        node: Node,
        access: Access,
        *,
        rates: Rates | None = None,
        metrics: Iterable[Metric] = (),
        transports: Collection[str] = TRANSPORTS,
    ) -> None:
        """Serve `node`; `transports` are those that are switched on (`ws`, `sse`, `poll`)."""
        limits = node.limits
        self._node, self._access = node, access
        self._rates = Rates(limits.requests_per_second, limits.requests_burst)
        self._bodies = Bodies(limits)
        resources = Resources(node)
        rates = rates or Rates(
            limits.commands_per_second, limits.commands_burst, limits.rates_per_address
        )
        orders = Orders(node, rates)
        self._websockets = AsgiWebSockets(
            node, rates=rates, check=access.check, transports=transports
        )
        self._streams, self._polls = EventStreams(node), Polls(node)
        feeds: dict[str, _Handler] = {
            "ws": resources.upgrade,
            "sse": self._streams.open,
            "poll": self._polls.answer,
        }
        self._answered: Counter[tuple[str, int]] = Counter()
        self._metrics = [
            *node_metrics(node),
            *metrics,
            *http_metrics(orders.outcomes, self._answered),
        ]
        specifications = Specifications(limits, transports)
        self._routes: dict[str, dict[str, _Handler]] = {
            "/": {"GET": website.page},
            "/healthz": {"GET": resources.alive},
            "/readyz": {"GET": resources.ready},
            "/metrics": {"GET": self._measure},
            "/v1/asyncapi.json": {"GET": specifications.asyncapi},
            "/v1/commands": {"POST": orders.commands},
            "/v1/instances": {"GET": resources.instances, "POST": orders.create},
            "/v1/messages": {"GET": resources.messages},
            "/v1/openapi.json": {"GET": specifications.openapi},
            "/v1/operations": {"GET": resources.operations},
            "/v1/participants": {"GET": resources.participants},
            "/v1/worklog": {"GET": resources.worklog},
            **{f"/v1/{name}": {"GET": feeds[name]} for name in feeds if name in transports},
        }
        self._named_routes: dict[str, dict[str, _Handler]] = {
            "/v1/instances": {
                "GET": resources.instance,
                "PATCH": orders.change,
                "DELETE": orders.remove,
            },
            "/v1/operations": {"GET": resources.operation},
        }
        specifications.describe(_offered(self._routes, self._named_routes))
        for name in feeds.keys() - set(transports):
            self._routes[f"/v1/{name}"] = {"GET": _off(name, transports)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: a request, a WebSocket, or the server's lifespan (nothing to do)."""
        if scope["type"] == "http":
            request = Request(scope, receive, self._node.limits, self._bodies)
            await self._serve(request, send)
        elif scope["type"] == "websocket":
            path = mounted_path(scope, scope["path"])[1]
            await self._websockets.serve(scope, path, receive, send)
        elif scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        else:
            raise LocalProtocolError(f"this ASGI application has no {scope['type']!r}")

    def wind_down(self) -> None:
        """Tell all feeds that the server restarts, and end them."""
        self._websockets.wind_down()
        self._streams.wind_down()
        self._polls.wind_down()

    # -- from request to response

    async def _serve(self, request: Request, send: Send) -> None:
        cors: Headers = ()
        response: Response | Stream
        try:
            cors = self._admit(request)
            response = await self._answer(request)
        except DisconnectedError:
            return
        except ProblemError as error:
            response = error.response
        except RefusedError as error:
            response = problem(error.code, error.detail)
        except LogError:
            _log.warning("the log cannot be read", exc_info=True)
            response = problem(Code.UNAVAILABLE, "the server cannot read its log now")
        except Exception:  # noqa: BLE001 - a bug costs one request
            _log.exception("%s %s could not be answered", request.method, request.path)
            response = problem(Code.INTERNAL, "the server failed to answer; its log says more")
        asks = request.method in {"GET", "HEAD"}
        if request.path == STREAM and asks and isinstance(response, Response):
            response = postponed(response)
        method = request.method if request.method in _METHODS else "other"
        self._answered[method, response.status] += 1
        if isinstance(response, Stream):
            await send_stream(send, request.method, response, cors)
            return
        if request.unread:
            with anyio.move_on_after(PROMPT):
                await request.discard()
        if not request.unread:
            await send_response(send, request.method, response, cors)
            return
        if request.http_version in {"1.0", "1.1"}:
            # The server ends the connection behind this; a client must be told, or sends its next request into the
            # void (RFC 9112 §9.6).
            cors = (*cors, ("connection", "close"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(request.discard)
            await send_response(send, request.method, response, cors)
            tasks.cancel_scope.cancel()

    def _admit(self, request: Request) -> Headers:
        """Let the caller in, and return the CORS headers for it (WHATWG Fetch, §3.3)."""
        if request.ambiguous:
            # RFC 9112 §6.3: a proxy may have read another body than we, and nobody knows whose the next request is.
            detail = "a request has a Content-Length or a Transfer-Encoding, not both"
            headers = (("connection", "close"),)
            raise ProblemError(Code.BAD_REQUEST, detail, headers=headers)
        host, origin = request.header("host"), request.header("origin")
        if not host or parse_authority(host) is None:
            # RFC 9112 §3.2; the listener's own requests of HTTP/1.0 need one as well.
            raise ProblemError(Code.BAD_REQUEST, "a request needs a Host header that names a host")
        forbidden = self._access.check(host, origin)
        if forbidden is not None:
            raise ProblemError(Code.FORBIDDEN, forbidden)
        if origin is None:
            return ()
        return (
            ("access-control-allow-origin", origin),
            ("access-control-expose-headers", _EXPOSED),
        )

    async def _answer(self, request: Request) -> Response | Stream:
        if request.path not in _HEALTH:
            wait = self._rates.take(request.address, self._node.now())
            if wait:
                detail = f"too many requests from your address: wait {wait:.3g} s"
                raise ProblemError(Code.RATE_LIMITED, detail, retry_after=round(wait, 3))
        if request.path == "*" and request.method == "OPTIONS":
            # RFC 9110 §9.3.7: the server as a whole.
            return Response(204, headers=(("allow", ", ".join(_METHODS)),))
        handlers = self._find(request)
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            methods = {*handlers, "OPTIONS", *(("HEAD",) if "GET" in handlers else ())}
            allow = ("allow", ", ".join(method for method in _METHODS if method in methods))
            if request.method == "OPTIONS":
                asks = request.header("access-control-request-method") is not None
                return Response(204, headers=(allow, *(_CORS if asks else ())))
            detail = f"this resource has no {request.method[:32]}; it has: {allow[1]}"
            raise ProblemError(Code.METHOD_NOT_ALLOWED, detail, headers=(allow,))
        workspace = request.query().get("workspace", WORKSPACE)
        if workspace != WORKSPACE:
            raise ProblemError(Code.NOT_FOUND, f"there is no workspace {workspace[:64]!r}")
        return await handler(request)

    def _find(self, request: Request) -> Mapping[str, _Handler]:
        """Return the handlers of the request's path by method, and note the name that it ends with."""
        handlers = self._routes.get(request.path)
        if handlers is None and request.path.startswith(website.ASSETS):
            handlers = {"GET": website.asset}
        if handlers is None:
            parent, _, request.name = request.path.rpartition("/")
            handlers = self._named_routes.get(parent) if request.name else None
        if handlers is None:
            raise ProblemError(Code.NOT_FOUND, "there is no such resource")
        return handlers

    # -- what is no resource of the protocol

    async def _measure(self, request: Request) -> Response:
        headers = (("cache-control", "no-store"),)
        return Response(200, exposition(self._metrics), CONTENT_TYPE, headers)


def _offered(
    routes: Mapping[str, Mapping[str, _Handler]], named: Mapping[str, Mapping[str, _Handler]]
) -> Iterator[tuple[str, str]]:
    """Return what is served: method and path, `{id}` in place of a name."""
    for path, handlers in (*routes.items(), *((f"{each}/{{id}}", named[each]) for each in named)):
        for method in handlers:
            yield method, path


def _off(name: str, offered: Collection[str]) -> _Handler:
    async def refuse(request: Request) -> Response:
        return problem(Code.NOT_FOUND, switched_off(name, offered))

    return refuse
