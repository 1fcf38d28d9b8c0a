"""A person: a real client on its own line, the acts of the plan, and notes of all that was asked and answered."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

import trio

from cloudchat_core.client_session import Uncertain
from cloudchat_core.codec import token_hash
from cloudchat_core.commands import Create, Leave, Ping, Redact, Remove, Say, Start, Stop
from cloudchat_core.errors import LocalProtocolError
from cloudchat_core.events import TOPICS
from cloudchat_core.frames import Ack, Welcome
from cloudchat_transports.client import (
    Client,
    CommandRefusedError,
    CommandUncertainError,
    Disconnected,
    NicknameLost,
)
from cloudchat_transports.testing.simulation.history import Operation, ViolationError, offset_of
from cloudchat_transports.testing.simulation.plan import COMEBACKS
from cloudchat_transports.testing.simulation.sockets import PORT
from cloudchat_transports.testing.simulation.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cloudchat_core.commands import ClientCommand
    from cloudchat_transports.testing.simulation.network import Line
    from cloudchat_transports.testing.simulation.plan import Act, Person, Plan
    from cloudchat_transports.testing.simulation.world import World

CLIMB: Final = 1.0
"""Seconds after which a person whose client is on a lesser transport has a better one tried."""

ABSENCE: Final = 65.0
"""Seconds that an absent person is away: longer than it takes until a server drops old records."""

_GARBAGE: Final = ("code 1002", "code 1007", "code 1009", "no frame", "no event")
"""What a client says of bytes that make no sense."""

_ORDERS: Final[dict[str, Callable[[str, str], ClientCommand]]] = {
    "start": Start,
    "stop": Stop,
    "remove": Remove,
}


class Somebody:
    """One person, who lives through its part of a plan."""

    def __init__(self, number: int, person: Person, plan: Plan, line: Line, world: World) -> None:
        self.number, self.person, self.line = number, person, line
        self.name = f"{number} {person.kind}"
        self.token = f"token-of-person-number-{number}"
        self.scope = token_hash(self.token) or ""
        self.operations: list[Operation] = []
        self.client: Client | None = None
        self.finished = False
        """Whether all acts are done and answered."""
        complete = not plan.keep and not any(fault.harm == "restore" for fault in plan.faults)
        self._chance = random.Random(f"{plan.seed} person {number}")
        self.witness = Witness(
            self.name,
            person.topics or TOPICS,
            world.disk,
            self._chance,
            world.network.coverage,
            complete=complete,
        )
        self._world, self._ids = world, 0
        self._said: list[str] = []
        self._absence = 0.0
        self._life, self._joining = trio.CancelScope(), trio.Lock()
        self._leaving, self._ending = trio.Event(), trio.Event()
        self.out = False
        """Whether it has said `leave` in the end, and was told that it is out."""
        self._nursery: trio.Nursery | None = None
        self._transport = ""

    # -- living

    async def live(self) -> None:
        """Come, do what the plan says, and stay until `leave`."""
        acts = list(self.person.acts)
        await trio.sleep(self.person.arrives / 1000)
        while not self._leaving.is_set():
            await trio.sleep(self._absence)
            self._absence = 0.0
            with trio.CancelScope() as self._life:
                await self._with_client(acts)

    async def _with_client(self, acts: list[Act]) -> None:
        async with (
            self._world.parts.client(
                f"http://{self.line.address}:{PORT}",
                transport=self.person.kind,
                token=self.token,
                after=self.witness.mirror.cursor,
                topics=self.person.topics,
                patient=True,
                climb=CLIMB,
                new_id=self._new_id,
                jitter=self._chance.random,
            ) as self.client,
            trio.open_nursery() as self._nursery,
        ):
            self._nursery.start_soon(self._listen, self.client)
            async with trio.open_nursery() as asking:
                await self._enter(self.person.nickname)
                while acts:
                    act = acts.pop(0)
                    await trio.sleep(act.after / 1000)
                    if act.verb in COMEBACKS:
                        self._die(act)
                        await trio.lowlevel.checkpoint()
                    asking.start_soon(self._act, act)
            self.finished = True
            await self._leaving.wait()
            if self.person.farewell == "leave":
                await self._execute("leave", Leave(self._new_id()))
                self.out = True
                await self._ending.wait()
            self._nursery.cancel_scope.cancel()

    def leave(self) -> None:
        """Go: end the session in order; or say `leave`, and look on until `end`."""
        self._leaving.set()

    def end(self) -> None:
        """Look on no longer."""
        self._ending.set()

    def _die(self, act: Act) -> None:
        """The client's process is killed, and another one starts."""
        what = "with its cursor"
        if act.verb == "forget":
            what = "that has forgotten everything"
            self.witness.forget()
        elif act.verb == "rewind" and self.witness.rewind(act.number):
            what = "with an earlier cursor"
        self._absence = ABSENCE if act.verb == "absent" else 0.0
        self._world.network.coverage[f"a client that came back {what}"] += 1
        self._world.note(f"{self.name}: the client is killed; it comes back {what}")
        self._world.network.cut(self.line)
        self._life.cancel()

    async def _listen(self, client: Client) -> None:
        async for item in client:
            if isinstance(item, Disconnected):
                self._world.note(f"{self.name}: disconnected, {item.why}")
                if any(sign in item.why for sign in _GARBAGE):
                    raise ViolationError(
                        "frames", f"{self.name} was sent what is no frame: {item.why}"
                    )
            elif isinstance(item, NicknameLost):
                self._world.network.coverage["a nickname lost to somebody else"] += 1
                assert self._nursery is not None, "it listens in one"
                self._nursery.start_soon(self._enter, f"Guest {self.number}")
            elif isinstance(item, Uncertain):
                self._world.network.coverage["a command that nobody remembers"] += 1
            else:
                if isinstance(item, Welcome):
                    self._welcomed(client, item)
                self.witness.see(item)

    def _welcomed(self, client: Client, welcome: Welcome) -> None:
        self._world.note(f"{self.name}: welcome at {welcome.cursor} by {client.transport}")
        ours = (each for each in self.line.connections if each.kind == client.transport)
        self.witness.opened_at = max((c.opened_at for c in ours if not c.sink), default=0.0)
        if self.witness.mirror.cursor:
            self._world.network.coverage[f"a feed resumed by {client.transport}"] += 1
        if self._transport and self._transport != client.transport:
            self._world.network.coverage[
                f"a move from {self._transport} to {client.transport}"
            ] += 1
        self._transport = client.transport

    # -- acting

    def _new_id(self) -> str:
        self._ids += 1
        return f"p{self.number}-{self._ids}"

    async def _enter(self, nickname: str) -> None:
        """Join as `nickname`, or under a name that nobody else wants."""
        for wanted in (nickname, f"Guest {self.number}"):
            if await self._join(wanted):
                return

    async def _join(self, nickname: str) -> bool:
        client = self.client
        assert client is not None, "who acts has a client"
        async with self._joining:  # of several at once only the last one counts
            reply = await self._ask("join", nickname, lambda: client.join(nickname))
        return isinstance(reply, Ack)

    async def _act(self, act: Act) -> None:
        match act.verb:
            case "burst":
                async with trio.open_nursery() as saying:
                    for _ in range(act.number + 2):
                        saying.start_soon(self._say)
            case "rename":
                await self._join(f"{self.person.nickname} {act.number}")
            case "leave":
                await self._execute("leave", Leave(self._new_id()))
                await self._enter(self.person.nickname)
            case "ping":
                await self._execute("ping", Ping(self._new_id()))
            case "redact" if self._said:
                message = self._said[act.number % len(self._said)]
                await self._execute("redact", Redact(self._new_id(), message), message)
            case "start" | "stop" | "remove" if self.witness.mirror.instances:
                known = list(self.witness.mirror.instances)
                instance = known[act.number % len(known)]
                order = _ORDERS[act.verb](self._new_id(), instance)
                await self._execute(act.verb, order, instance)
            case "create" | "start" | "stop" | "remove":
                command = self._new_id()
                await self._execute("create", Create(command, f"of {command}"), f"of {command}")
            case _:
                await self._say()

    async def _say(self) -> None:
        command = self._new_id()
        text = f"{command} says this"
        reply = await self._execute("say", Say(command, text), text)
        if isinstance(reply, Ack):
            self._said.append(reply.cursor)

    async def _execute(self, verb: str, command: ClientCommand, text: str = "") -> object:
        client = self.client
        assert client is not None, "who acts has a client"
        return await self._ask(verb, text, lambda: client.execute(command))

    async def _ask(self, verb: str, text: str, ask: Callable[[], Awaitable[Ack]]) -> object:
        world = self._world
        asked = Operation(self.name, verb, self.scope, text, trio.current_time(), world.disk.head)
        self.operations.append(asked)
        world.note(f"{self.name}: {verb} {text}")
        try:
            asked.reply = await ask()
        except CommandRefusedError as error:
            asked.reply = error.refusal
        except LocalProtocolError:
            # Said between a `leave` and the next `join`: the client does not send it.
            self.operations.remove(asked)
            world.note(f"{self.name}: {verb} {text}: not sent")
            return None
        except CommandUncertainError:
            world.note(f"{self.name}: {verb} {text}: uncertain")
            return None
        asked.answered_at, asked.answered_head = trio.current_time(), world.disk.head
        reply = asked.reply
        said = f"ack at {reply.cursor}" if isinstance(reply, Ack) else reply.code
        world.note(f"{self.name}: {verb} {text}: {said}")
        world.network.coverage[f"{verb}: {'ack' if isinstance(reply, Ack) else reply.code}"] += 1
        if isinstance(reply, Ack):
            self._hold_to(asked, reply)
        return reply

    def _hold_to(self, asked: Operation, ack: Ack) -> None:
        """See that what is acknowledged is in the log."""
        disk = self._world.disk
        if offset_of(ack.cursor) > disk.head and not disk.lost:
            raise ViolationError(
                "durable", f"{asked.verb} of {self.name} has {ack}, which the log has not"
            )
        entry = disk.branch.get(offset_of(ack.cursor))
        if entry is not None and entry.at < asked.answered_at - 2:
            self._world.network.coverage["a command answered long after it had happened"] += 1
