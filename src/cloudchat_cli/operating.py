"""Saying something in passing, and operating instances: one command each, sent until it is answered.

An operation is waited for over the feed, from the cursor of its acknowledgement on: whatever happens to it stands after
that cursor, so nothing is missed, however often the connection breaks. Only where the feed says that it has lost
something is the operation asked for by name.
"""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypedDict

import anyio
import click
import msgspec
from msgspec import UNSET

from cloudchat_cli.api import Api, new_command_id
from cloudchat_cli.output import Exit, Failure, emit, note, printable, rejected
from cloudchat_cli.progress import Progress
from cloudchat_cli.shapes import INSTANCE, write_one
from cloudchat_core.client_session import Snapshot
from cloudchat_core.clock import SECOND, SystemClock, parse_rfc3339
from cloudchat_core.commands import Create, Remove, Say, Start, Stop
from cloudchat_core.events import INSTANCES, Failed, InstanceEvent, Received
from cloudchat_core.frames import Welcome
from cloudchat_engine.timers import SystemTimer
from cloudchat_transports.client import Client, ConnectionEndedError, Disconnected
from cloudchat_transports.client_transport import RejectedError

if TYPE_CHECKING:
    from cloudchat_core.clock import Clock
    from cloudchat_core.commands import ClientCommand
    from cloudchat_core.frames import InstanceView, OperationRef, OperationView
    from cloudchat_engine.ports import Timer

_DONE: Final = {"create": "created", "start": "started", "stop": "stopped", "remove": "removed"}
_STATES: Final = {"create": "stopped", "start": "running", "stop": "stopped"}
_COMMANDS: Final[dict[str, type[Start | Stop | Remove]]] = {
    "start": Start,
    "stop": Stop,
    "remove": Remove,
}


class Options(TypedDict):
    """What all operations are told: whether to wait, how long (seconds) and over which transport, and how to write the
    result.
    """

    wait: bool
    timeout: float
    transport: str
    output: str


class Pace(NamedTuple):
    """The time that progress and timeouts go by."""

    clock: Clock
    timer: Timer


def read_spec(text: str) -> dict[str, Any]:
    """Read the provider's own parameters; `ValueError` where `text` is no JSON object."""
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ValueError(f"this is no JSON object: {error}") from None


async def speak(server: str, nickname: str, text: str) -> None:
    """Say `text` without being present."""
    async with Api(server) as api:
        await api.execute(Say(new_command_id(), text, nickname), secrets.token_urlsafe(32))


async def create(
    server: str, name: str | None, spec: dict[str, Any] | None, options: Options
) -> None:
    """Create an instance and print its id."""
    async with Api(server) as api:
        await perform(api, Create(new_command_id(), name, spec), options)


async def operate(server: str, command: str, instance: str, options: Options) -> None:
    """Start, stop or remove the instance that `instance` names."""
    async with Api(server) as api:
        await perform(api, _COMMANDS[command](new_command_id(), await api.find(instance)), options)


async def find(server: str, instance: str) -> InstanceView:
    """Return the instance that `instance` names."""
    async with Api(server) as api:
        return await api.instance(await api.find(instance))


def consent(command: str, view: InstanceView) -> None:
    """Go on only if whoever sits at the terminal agrees; raises `Failure` where they do not."""
    name = "" if view.name is UNSET else f"{printable(view.name)} "
    state = "" if view.state is UNSET else f", which is {view.state}"
    if not click.confirm(f"{command} {name}({view.id}){state}?", err=True):
        raise Failure("nothing was done")


async def perform(
    api: Api, command: ClientCommand, options: Options, pace: Pace | None = None
) -> None:
    """Send `command`, wait for its end as `options` say, and write the result."""
    if pace is None:
        clock = SystemClock()
        pace = Pace(clock, SystemTimer(clock))
    try:
        ack = await api.execute(command)
    except anyio.get_cancelled_exc_class():
        note("whether that was begun is not known; `cloudchat operations list` shows it")
        raise
    operation, instance = ack.operation, ack.instance
    if operation is UNSET or instance is UNSET:
        raise Failure("the server acknowledged the command, but named no operation")
    if options["wait"]:
        watch = _Watch(api, options["transport"], ack.cursor, operation, instance)
        try:
            instance = await _wait(watch, options["timeout"], pace)
        except anyio.get_cancelled_exc_class():
            note(f"{watch.what} goes on; {watch.how}")
            raise
        note(f"{watch.what}: {_DONE[operation.command]}")
    else:
        note(f"{operation.command} {instance.id}: accepted")
        instance = msgspec.structs.replace(instance, operation=operation)
    if options["output"] != "table":
        write_one(INSTANCE, instance, options["output"])
    elif operation.command == "create":
        emit(instance.id)


async def _wait(watch: _Watch, seconds: float, pace: Pace) -> InstanceView:
    """Wait for the end of an operation; raises `Failure` where it failed, or is not there in time."""
    begun = pace.clock.now()
    end = begun + math.ceil(seconds * SECOND)
    result: list[InstanceView] = []
    with Progress(watch.what, watch.expected()) as progress:
        async with anyio.create_task_group() as tasks:

            async def follow() -> None:
                result.append(await watch.follow())
                tasks.cancel_scope.cancel()

            tasks.start_soon(follow)
            while (now := pace.clock.now()) < end:
                progress.update((now - begun) / SECOND)
                await pace.timer.wait_until(min(now + SECOND, end))
            tasks.cancel_scope.cancel()
    if result:
        return result[0]
    raise Failure(
        f"{watch.what} is not done after {seconds:g} s; it goes on; {watch.how}",
        Exit.TIMEOUT,
    )


class _Watch:
    """Follows one operation from `after`, the cursor of its acknowledgement."""

    def __init__(
        self,
        api: Api,
        transport: str,
        after: str,
        operation: OperationRef,
        instance: InstanceView,
    ) -> None:
        self._api, self._transport, self._after = api, transport, after
        self._operation, self._instance = operation, instance
        self.what = f"{operation.command} {instance.id}"
        self.how = f"to see how it ends: cloudchat operations get {operation.id}"

    def expected(self) -> float | None:
        """Return how many seconds the server expects it to take."""
        operation = self._operation
        if operation.expected is UNSET:
            return None
        return (parse_rfc3339(operation.expected) - parse_rfc3339(operation.received_at)) / SECOND

    async def follow(self) -> InstanceView:
        """Return the instance as it is at the end of the operation; raises `Failure` where that failed."""
        away = False
        try:
            async with Client(
                self._api.url,
                transport=self._transport,
                after=self._after,
                topics=(INSTANCES,),
                patient=True,
            ) as client:
                async for item in client:
                    if isinstance(item, Disconnected):
                        if not away:
                            note(f"{item.why}; trying again")
                        away = True
                    elif isinstance(item, Welcome):
                        away = False
                    elif isinstance(item, Snapshot) and not item.more:
                        known = await self._api.operation(self._operation.id)
                        if known.done:
                            return self._ended(known)
                    elif isinstance(item, InstanceEvent):
                        if item.operation.id != self._operation.id or isinstance(item, Received):
                            continue
                        if isinstance(item, Failed):
                            raise self._failed(item.reason, item.detail)
                        return item.instance
        except RejectedError as error:
            raise rejected(error) from None
        except ConnectionEndedError as error:
            raise Failure(str(error), Exit.REFUSED) from None
        raise AssertionError("a feed has no end")

    def _ended(self, known: OperationView) -> InstanceView:
        if known.error is not UNSET:
            raise self._failed(known.error.reason, known.error.detail)
        state = _STATES.get(known.command, UNSET)
        return msgspec.structs.replace(self._instance, state=state, operation=UNSET)

    def _failed(self, reason: str, detail: str) -> Failure:
        return Failure(f"{self.what} failed: {detail or reason} ({reason})", Exit.FAILED)
