"""One client's side of the protocol, as the server sees it: the same for every transport, without any I/O.

A transport hands in what arrived and gets back what to submit to the node, or what to answer at once. How a feed begins
(`begin`) stands here too, so that no transport decides it.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from cloudchat_core.clock import rfc3339
from cloudchat_core.codec import command_from, decode_command, encode, token_hash
from cloudchat_core.commands import Caller, ClientCommand, Join
from cloudchat_core.cursor import Lost, locate
from cloudchat_core.errors import Code, RefusedError, RemoteProtocolError
from cloudchat_core.frames import Ack, Gap, Refusal, Reply, Welcome, WireLimits
from cloudchat_core.limits import Limits
from cloudchat_core.rates import Rates, network
from cloudchat_core.workspace import Workspace

PROTOCOL: Final = "cloudchat.v1"
"""The name of the protocol: in `welcome`, and as the WebSocket subprotocol."""

POLICY_VIOLATION: Final = 1008


class Submission(msgspec.Struct, frozen=True):
    """A command that is fit to be decided, and who sends it."""

    command: ClientCommand
    caller: Caller


class Session:
    """What one connection (or one request) has said of itself so far: which participation it speaks for, how fast.

    `scope` is the hash of the token it came with (HTTP), else empty until it joins. `address` stands for it while it
    has no token. `feed` is the random name of its feed, where it has one.
    """

    __slots__ = (
        "_address",
        "_given",
        "_identity",
        "_joined",
        "_joining",
        "_limits",
        "_rates",
        "_refused",
        "_scope",
        "_unanswered",
        "feed",
    )

    def __init__(
        self,
        limits: Limits,
        rates: Rates,
        address: str,
        *,
        scope: str = "",
        feed: str = "",
        identity: str | None = None,
    ) -> None:
        """Begin; nothing has been said yet."""
        self.feed = feed
        self._limits, self._rates, self._identity = limits, rates, identity
        self._address = network(address)
        self._given = scope
        self._scope = scope
        self._joined = False
        self._joining = 0
        self._unanswered = 0
        self._refused = 0

    @property
    def scope(self) -> str:
        """The hash of the token this session speaks for; empty while it has none."""
        return self._scope

    @property
    def unanswered(self) -> int:
        """How many of its commands were submitted and have no answer yet."""
        return self._unanswered

    @property
    def joined(self) -> bool:
        """Whether a `join` of this session was acknowledged."""
        return self._joined

    def receive(self, data: bytes | str, now: int) -> Submission | Refusal:
        """Take one frame (JSON) at `now` (ms) and return what to submit, or the answer to give at once.

        Raises `RemoteProtocolError` (1008) when a flood goes on after it was refused.
        """
        return self._take(lambda: decode_command(data), now)

    def receive_value(self, value: object, now: int) -> Submission | Refusal:
        """Take one command that is decoded JSON already, as `receive` does."""
        return self._take(lambda: command_from(value), now)

    def answered(self, submission: Submission, reply: Reply) -> None:
        """Note the answer to what was submitted; to be called once for each submission, when the answer goes out."""
        self._unanswered -= 1
        if isinstance(submission.command, Join):
            self._joining -= 1
            if isinstance(reply, Ack):
                self._joined = True
            elif not self._joined and not self._joining:
                self._scope = self._given

    def _take(self, read: Callable[[], ClientCommand], now: int) -> Submission | Refusal:
        wait = self._rates.take(self._scope or self._address, now, address=self._address)
        try:
            command = read()
        except RefusedError as refused:
            if not wait:
                return Refusal(refused.command_id, refused.code, refused.detail)
            return self._slow_down(refused.command_id, wait)
        if wait:
            return self._slow_down(command.id, wait)
        if self._unanswered >= self._limits.unanswered:
            return self._slow_down(command.id, 1)
        # One in time forgives one too many: a flood that now and then finds room is one all the same.
        self._refused = max(0, self._refused - 1)
        if isinstance(command, Join):
            refusal, command = self._join(command)
            if refusal is not None:
                return refusal
        self._unanswered += 1
        return Submission(command, Caller(self._scope, self._identity))

    def _slow_down(self, command_id: str | None, wait: float) -> Refusal:
        self._refused += 1
        if self._refused > self._limits.floods:
            raise RemoteProtocolError(
                "commands keep coming in spite of rate_limited", POLICY_VIOLATION
            )
        detail = f"too fast: wait {wait:.3g} s, and have at most {self._limits.unanswered} commands unanswered"
        return Refusal(command_id, Code.RATE_LIMITED, detail, retry_after=round(wait, 3))

    def _join(self, command: Join) -> tuple[Refusal | None, Join]:
        """Bind the session to the token of a `join`; the token itself goes no further than this."""
        scope = self._given
        if command.token is not None:
            named = token_hash(command.token)
            if named is None:
                return Refusal(
                    command.id, Code.TOKEN_INVALID, "a token is 22 to 128 of A-Z a-z 0-9 _ -"
                ), command
            if self._given and named != self._given:
                detail = "the token in the command and the one in the header differ"
                return Refusal(command.id, Code.BAD_COMMAND, detail), command
            scope = named
        if not scope:
            return Refusal(
                command.id, Code.BAD_COMMAND, "a join needs a `token`: 22 to 128 of A-Z a-z 0-9 _ -"
            ), command
        if self._scope and scope != self._scope:
            detail = "this connection speaks for another token already; open a new one"
            return Refusal(command.id, Code.ALREADY_JOINED, detail), command
        self._scope = scope
        self._joining += 1
        return None, msgspec.structs.replace(command, token=None, feed=self.feed or command.feed)


class Beginning(msgspec.Struct, frozen=True):
    """How a feed begins: its `welcome`, a `gap` where something was lost, the snapshot's parts where there is one.

    All frames are JSON. `offset` is the cursor (an offset) that the feed goes on from.
    """

    welcome: bytes
    gap: bytes | None
    snapshot: Sequence[bytes]
    offset: int

    def frames(self) -> list[bytes]:
        """Return all frames in their order."""
        return [self.welcome, *([] if self.gap is None else [self.gap]), *self.snapshot]


def begin(
    state: Workspace,
    first: int,
    after: str,
    snapshot: Callable[[], Sequence[bytes]],
    *,
    feed: str,
    heartbeat: float,
    limits: Limits,
    now: int,
) -> Beginning:
    """Return how a feed begins for a client that hands in the cursor `after` (empty: it has none).

    `first` is the oldest offset that the log still has; `snapshot` makes the snapshot's frames as of `state`.
    """
    place = locate(after, state.epochs, first, state.offset) if after else None
    if place is None or isinstance(place, Lost):
        offset, frames = state.offset, snapshot()
        gap = None if place is None else encode(Gap(after, place.reason))
    else:
        offset, frames, gap = place.offset, (), None
    wire = WireLimits(limits.text, limits.nickname, limits.frame, limits.unanswered)
    beat = int(heartbeat) if heartbeat == int(heartbeat) else heartbeat
    welcome = Welcome(PROTOCOL, feed, state.cursor_at(offset), rfc3339(now), beat, wire)
    return Beginning(encode(welcome), gap, frames, offset)
