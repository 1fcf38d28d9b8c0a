"""The requests that change something: commands as they are, and the resources that issue one.

Both have their commands decided by the node, beside those of every other transport.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

import anyio
import anyio.lowlevel
import msgspec
from msgspec import UNSET, UnsetType

from cloudchat_core.codec import hash_json
from cloudchat_core.commands import Caller, Create, Remove, Start, Stop
from cloudchat_core.errors import Code, RemoteProtocolError
from cloudchat_core.fields import InstanceName, Moment, OperationId, Spec, Verb
from cloudchat_core.frames import Ack, InstanceView, Refusal, Reply
from cloudchat_core.instances import RUNNING, STOPPED
from cloudchat_core.session import Session, Submission
from cloudchat_transports.responses import (
    ProblemError,
    Response,
    json_response,
    problem,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloudchat_core.rates import Rates
    from cloudchat_engine.node import Node
    from cloudchat_transports.requests import Request

_Order: TypeAlias = Create | Start | Stop | Remove

FAIR: Final = 16
"""Commands of one list until the others have their turn: about 1 ms."""

_WISHES: Final[dict[str, type[Start | Stop]]] = {RUNNING: Start, STOPPED: Stop}


class OperationLink(msgspec.Struct, frozen=True):
    """An operation that was begun, and where to see how it goes."""

    id: OperationId
    url: str
    command: Verb
    received_at: Moment
    expected: Moment | UnsetType = UNSET


class Begun(msgspec.Struct, frozen=True):
    """The answer to a request that began an operation."""

    status: Literal["ok"]
    operation: OperationLink
    instance: InstanceView


class InstancePlan(msgspec.Struct, frozen=True):
    """The body of `POST /v1/instances`."""

    name: InstanceName | None = None
    spec: Spec | None = None


class InstanceWish(msgspec.Struct, frozen=True):
    """The body of `PATCH /v1/instances/{id}`."""

    state: Literal["running", "stopped"]


class _Sender(NamedTuple):
    """Who sends a request, by the hash of its token, and the id that it gives its command (either may be empty)."""

    scope: str
    key: str

    @classmethod
    def of(cls, request: Request) -> _Sender:
        scope = request.token_scope()
        return cls(scope, request.idempotency_key(scope))


class Orders:
    """What comes of requests that change something; each public method is the handler of one.

    `outcomes` counts the commands, by type (empty: unreadable) and outcome (`ack`, or the error's code).
    """

    def __init__(self, node: Node, rates: Rates) -> None:
        """Have `node` decide; `rates` are those of commands, shared with the other transports."""
        self._node, self._rates = node, rates
        self.outcomes: Counter[tuple[str, str]] = Counter()

    async def commands(self, request: Request) -> Response:
        scope = request.token_scope()
        value = await request.json()
        limits = self._node.limits
        if not isinstance(value, (dict, list)):
            return problem(Code.BAD_REQUEST, "the body is one command (an object), or a list")
        values = value if isinstance(value, list) else [value]
        if len(values) > limits.commands_per_list:
            return problem(Code.TOO_LARGE, f"a list has up to {limits.commands_per_list} commands")
        session = Session(limits, self._rates, request.address, scope=scope)
        replies = await self._decide(session, values)
        failed = [
            one for one in replies if isinstance(one, Refusal) and one.code == Code.UNAVAILABLE
        ]
        if failed and len(failed) == len(replies):
            return refused(failed[0])  # the request as a whole: the log cannot be written
        return json_response(replies if values is value else replies[0])

    async def _decide(self, session: Session, values: Sequence[object]) -> list[Reply]:
        """Have all commands decided, in their order, and return their answers likewise."""
        replies: dict[int, Reply] = {}
        done = anyio.Event()

        def answer(place: int, submission: Submission, reply: Reply) -> None:
            session.answered(submission, reply)
            note(place, type(submission.command).__name__.lower(), reply)

        def note(place: int, kind: str, reply: Reply) -> None:
            replies[place] = reply
            self._count(kind, reply)
            if len(replies) == len(values):
                done.set()

        for place, value in enumerate(values):
            if place % FAIR == FAIR - 1:
                await anyio.lowlevel.checkpoint()
            try:
                taken = session.receive_value(value, self._node.now())
            except RemoteProtocolError as error:  # a flood; a request has no connection to lose
                taken = Refusal(None, Code.RATE_LIMITED, str(error), retry_after=1)
            if isinstance(taken, Refusal):
                note(place, "", taken)
            else:
                self._node.submit(taken.command, taken.caller, partial(answer, place, taken))
        if values:
            await done.wait()
        return [replies[place] for place in range(len(values))]

    async def create(self, request: Request) -> Response:
        sender = _Sender.of(request)
        value = await request.optional_json()
        plan = _convert(value, InstancePlan)
        return await self._begin(request, sender, value, Create(sender.key, plan.name, plan.spec))

    async def change(self, request: Request) -> Response:
        sender = _Sender.of(request)
        value = await request.json()
        wish = _WISHES[_convert(value, InstanceWish).state]
        return await self._begin(request, sender, value, wish(sender.key, request.name))

    async def remove(self, request: Request) -> Response:
        sender = _Sender.of(request)
        value = await request.optional_json()
        return await self._begin(request, sender, value, Remove(sender.key, request.name))

    async def _begin(
        self, request: Request, sender: _Sender, value: object, order: _Order
    ) -> Response:
        """Have the command of a resource decided, and say where its operation can be seen."""
        address = request.address
        wait = self._rates.take(sender.scope or address, self._node.now(), address=address)
        if wait:
            detail = f"too fast: wait {wait:.3g} s"
            return problem(Code.RATE_LIMITED, detail, retry_after=round(wait, 3))
        content = hash_json([request.method, request.path, value]) if sender.key else ""
        reply = await self._node.execute(order, Caller(sender.scope, content=content))
        self._count(type(order).__name__.lower(), reply)
        if isinstance(reply, Refusal):
            return refused(reply)
        operation, instance = reply.operation, reply.instance
        assert operation is not UNSET, "an operation was begun"  # noqa: S101 - the ack of any order has both
        assert instance is not UNSET, "on an instance"  # noqa: S101
        url = f"{quote(request.root)}/v1/operations/{operation.id}"
        link = OperationLink(
            operation.id, url, operation.command, operation.received_at, operation.expected
        )
        return json_response(Begun("ok", link, instance), 202, (("location", url),))

    def _count(self, kind: str, reply: Reply) -> None:
        self.outcomes[kind, "ack" if isinstance(reply, Ack) else str(reply.code)] += 1


def _convert(value: object, kind: type[msgspec.Struct]) -> Any:
    if not isinstance(value, dict):
        raise ProblemError(Code.BAD_REQUEST, "the body is a JSON object")
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ProblemError(Code.BAD_COMMAND, f"the body does not fit: {error}") from None
