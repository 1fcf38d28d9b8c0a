"""One client's side of the protocol, as the client sees it: the same for every transport, without any I/O.

Theory of operation. A client is a cursor, a token and the commands that are unanswered, and all three outlive every
connection. A transport reports `opened` and `closed`, hands in every frame (`receive`), sends what `transmit` returns.

A session with a token takes part: on each connection its `join` goes first and everything else waits for the answer.
`resumed` true (or the token's first use) means that the server remembers the ids of what was sent: all that is
unanswered is sent again, in order, before anything new, and happens no second time. `resumed` false means that it
does not: what was sent is *uncertain*, and given up instead of being done twice. A `join` gets a new id on each
connection: a remembered answer to an old one would not bring back a participant who has left meanwhile.

A client that stood still for longer than its grace (a laptop that slept) may find its connection as it was, and its
participation gone: from its own `left`, or because what it says is `not_joined`. It joins again, and says it then;
but not while it is about to leave: then it is out, as it wanted.

A `leave` that happened before a connection broke is undone by the `join` of the next one, and its remembered answer
says nothing of that: the same wish goes out once more, under another id.

Who has left, or was refused its nickname, is not sent for: what was never said is refused at once (`not_joined`), and
what may have happened is uncertain where its connection is gone and the next one begins without a join.

A session without a token is anonymous: it has no `join`, and its ids are UUIDs, which the server remembers for a day.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec
from msgspec import UNSET

from cloudchat_core.codec import decode_json, encode
from cloudchat_core.commands import ClientCommand, Join, Leave
from cloudchat_core.cursor import parse_cursor
from cloudchat_core.errors import Code, LocalProtocolError, RefusedError, RemoteProtocolError
from cloudchat_core.events import AnyInstanceEvent, Event, Left, Message, PublicEvent
from cloudchat_core.fields import CursorText
from cloudchat_core.frames import (
    Ack,
    Closing,
    Gap,
    Heartbeat,
    InstanceView,
    OperationView,
    ParticipantView,
    Refusal,
    Reply,
    Welcome,
    WireLimits,
)
from cloudchat_core.limits import Limits

PROTOCOL_ERROR: Final = 1002


class Snapshot(msgspec.Struct, frozen=True, tag_field="type", tag="snapshot"):
    """The state at `cursor`, or a part of it: with `more` true, the lists go on in the next frame. Oldest first."""

    cursor: CursorText
    participants: tuple[ParticipantView, ...] = ()
    messages: tuple[Message, ...] = ()
    instances: tuple[InstanceView, ...] = ()
    operations: tuple[OperationView, ...] = ()
    worklog: tuple[AnyInstanceEvent, ...] = ()
    more: bool = False


Frame = Welcome | Gap | Snapshot | Heartbeat | Closing | Ack | Refusal | PublicEvent
"""Everything that a server says."""

_KINDS: Final = {str(kind.__struct_config__.tag) for kind in Frame.__args__}
_decode_frame = msgspec.json.Decoder(Frame).decode


def decode_frame(data: bytes | str) -> Frame | None:
    """Read one frame of a server; None where its type is unknown, which a client ignores.

    Raises `RemoteProtocolError` (1002) where it is no frame, or lacks a field of its type.
    """
    try:
        frame: Frame = _decode_frame(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        kind = _kind(data)
        if kind is not None and kind not in _KINDS:
            return None
        raise RemoteProtocolError(f"the server sent no frame: {error}", PROTOCOL_ERROR) from None
    return frame


def _kind(data: bytes | str) -> str | None:
    try:
        value = decode_json(data)
    except RefusedError:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    return kind if isinstance(kind, str) else None


def may_return(close_code: int) -> bool:
    """Tell whether a client that was closed with `close_code` may come back: 4500 to 4999 say no, for good."""
    return not 4500 <= close_code <= 4999


def _is_at(cursor: str, known: str) -> bool:
    """Tell whether `cursor` is not after `known`, as far as both are cursors."""
    mine, theirs = parse_cursor(known), parse_cursor(cursor)
    # Offsets go on across epochs; a log that lost some says so by a snapshot, which sets the cursor anew.
    return mine is not None and theirs is not None and theirs[1] <= mine[1]


def _encode(command: ClientCommand) -> bytes:
    try:
        return encode(command)
    except UnicodeEncodeError as error:
        # A lone surrogate, as Python makes of bytes in its arguments that are not UTF-8.
        raise LocalProtocolError(f"what is said has to be Unicode text: {error}") from None


class Answered(msgspec.Struct, frozen=True):
    """A command has its answer."""

    command: ClientCommand
    reply: Reply


class Uncertain(msgspec.Struct, frozen=True):
    """Whether this command happened cannot be known any more.

    It was sent, and the server has forgotten the token; or its answer was lost, and the client takes no part any more.
    """

    command: ClientCommand


Outcome = Answered | Uncertain
"""What becomes of a command."""

_LIMITS: Final = Limits()
# The answers that a join survives: they say nothing about the nickname.
_PASSING: Final = {Code.UNAVAILABLE, Code.INTERNAL, Code.RATE_LIMITED}


class ClientSession:
    """What a client has to remember between connections, and what it says on the next one.

    `new_id` makes command ids, unique within the token. `token` is the participation's secret (22 to 128 of
    `A-Za-z0-9_-`), empty for a session that does not take part. `cursor` is where the feed begins (empty: with a
    snapshot).
    """

    def __init__(self, new_id: Callable[[], str], *, token: str = "", cursor: str = "") -> None:
        """Begin; no connection is open yet."""
        self.cursor = cursor
        self.nickname = ""
        self.joined = False
        self.heartbeat = 0.0
        self.retry_after: float | None = None
        self.limits = WireLimits(_LIMITS.text, _LIMITS.nickname, _LIMITS.frame, _LIMITS.unanswered)
        self._new_id, self._token = new_id, token
        self._used = False
        self._entered = ""
        self._open = False
        self._join: Join | None = None
        self._unanswered: dict[str, tuple[ClientCommand, bytes]] = {}
        self._ever: set[str] = set()
        self._again: set[str] = set()
        self._sent: set[str] = set()
        self._later: set[str] = set()

    @property
    def unanswered(self) -> list[ClientCommand]:
        """The commands without an answer, in order, the `join` left out."""
        return [command for command, _ in self._unanswered.values()]

    @property
    def full(self) -> bool:
        """Whether no further command may be submitted before one is answered."""
        return len(self._unanswered) >= self.limits.unanswered

    @property
    def postponed(self) -> bool:
        """Whether something waits for `retry`: the server could not do it when it was asked."""
        return bool(self._later)

    @property
    def joins(self) -> bool:
        """Whether this session takes part: it has joined, or wants to."""
        return bool(self.nickname or self._join)

    @property
    def _leaves(self) -> bool:
        return any(isinstance(command, Leave) for command, _ in self._unanswered.values())

    @property
    def _under_way(self) -> set[str]:
        """The ids of what was said on this connection and has an answer to come."""
        return self._sent - self._later

    def is_stale(self, frame: Frame) -> bool:
        """Tell whether a frame says what is known: feeds overlap while a session moves from one to another."""
        if not isinstance(frame, (Event, Heartbeat)):
            return False
        return _is_at(frame.cursor, self.cursor)

    def opened(self) -> None:
        """A connection is open, and nothing was said on it yet."""
        self._open, self.retry_after = True, None
        self._sent.clear()
        self._later.clear()
        wanted = self.nickname if self._join is None else self._join.nickname
        if wanted:
            self._prepare(wanted)

    def closed(self) -> None:
        """The connection has ended, in whatever way."""
        self._open = self.joined = False

    def join(self, nickname: str) -> None:
        """Take part as `nickname`, on this connection and on those after it; the answer is that of a `Join`.

        Raises `LocalProtocolError` in a session without a token, and where `nickname` is no Unicode text.
        """
        if not self._token:
            raise LocalProtocolError("a session without a token cannot join")
        self._prepare(nickname)

    def submit(self, command: ClientCommand) -> None:
        """Have `command` sent, again and again until it is answered.

        Raises `LocalProtocolError` where its id is in use, it is no Unicode text or larger than a frame may be, the
        session is `full`, or it has a token and neither holds a nickname nor asks for one: only a `join` tells the
        token, and makes commands its own.
        """
        data = _encode(command)
        if isinstance(command, Join):
            raise LocalProtocolError("a join is made by `join`")
        if self._token and not (self.joined or self.joins):
            raise LocalProtocolError("a session with a token joins before it says anything")
        if command.id in self._unanswered:
            raise LocalProtocolError(f"the command id {command.id!r} is unanswered")
        if len(data) > self.limits.frame:
            raise LocalProtocolError(
                f"the command takes {len(data)} bytes; the server takes {self.limits.frame}"
            )
        if self.full:
            raise LocalProtocolError(f"{len(self._unanswered)} commands are unanswered")
        self._unanswered[command.id] = command, data

    def retry(self) -> None:
        """Have what was postponed sent again; to be called a moment after `postponed` has become true."""
        self._sent -= self._later
        self._later.clear()

    def transmit(self) -> list[bytes]:
        """Return the frames to send now, in order; each is returned once a connection."""
        if not self._open:
            return []
        frames = []
        if self._join is not None and self._join.id not in self._sent:
            self._sent.add(self._join.id)
            frames.append(encode(self._join))
        if self._token and not self.joined:
            return frames
        fresh = [command_id for command_id in self._unanswered if command_id not in self._sent]
        self._sent.update(fresh)
        self._again |= self._ever.intersection(fresh)
        self._ever.update(fresh)
        return [*frames, *(self._unanswered[command_id][1] for command_id in fresh)]

    def receive(self, frame: Frame) -> list[Outcome]:
        """Take a frame of the server, and return what it settles."""
        match frame:
            case Ack() | Refusal():
                return self._answer(frame)
            case Event() | Heartbeat():
                self.cursor = frame.cursor
                if isinstance(frame, Left) and self._is_own(frame):
                    self._join_again()
            case Snapshot():
                # A part that is not the last moves nothing: a connection that ends here begins again before it.
                if not frame.more:
                    self.cursor = frame.cursor
            case Welcome():
                self.heartbeat, self.limits = frame.heartbeat, frame.limits
                return self._give_up(keeping=self._under_way)
            case Closing():
                self.retry_after = frame.retry_after
            case _:  # a gap is for who folds the feed
                pass
        return []

    def _prepare(self, nickname: str) -> None:
        join = Join(self._new_id(), nickname, self._token)
        _encode(join)  # what cannot be said is told to who wants to say it, and not to who sends it
        self._join = join

    def _is_own(self, left: Left) -> bool:
        """Tell whether this participation was given up since it joined, and not by itself."""
        own = self.joined and left.nickname == self.nickname and left.reason == "disconnected"
        return own and not _is_at(left.cursor, self._entered)

    def _join_again(self) -> None:
        """Take the participation up again, unless it is about to be given up anyway."""
        if self._leaves:
            return
        self.joined = False
        if self._join is None:
            self._prepare(self.nickname)

    def _answer(self, reply: Reply) -> list[Outcome]:
        if self._join is not None and reply.id == self._join.id:
            return self._enter(self._join, reply)
        if reply.id not in self._unanswered:
            return []
        command, _ = self._unanswered[reply.id]
        code = reply.code if isinstance(reply, Refusal) else None
        # Rates are looked at before what is remembered: what is said again may have happened, and still be too much.
        if code == Code.UNAVAILABLE or (code == Code.RATE_LIMITED and reply.id in self._again):
            self._later.add(reply.id)
            return self._give_up(keeping=self._under_way)
        if code == Code.NOT_JOINED and self.nickname and not self._leaves:
            for sent in (self._sent, self._ever, self._again):
                sent.discard(reply.id)
            self._join_again()
            return []
        self._forget(reply.id)
        if isinstance(command, Leave) and code in {None, Code.NOT_JOINED}:
            return self._leave(command, reply)
        return [Answered(command, reply)]

    def _leave(self, command: Leave, reply: Reply) -> list[Outcome]:
        undone = isinstance(reply, Ack) and self.joined and _is_at(reply.cursor, self._entered)
        if undone and self._join is None:
            again = msgspec.structs.replace(command, id=self._new_id())
            self._unanswered[again.id] = command, encode(again)
            return []
        self.joined, self.nickname = False, ""
        return [Answered(command, reply), *self._give_up(keeping=self._under_way)]

    def _enter(self, join: Join, reply: Reply) -> list[Outcome]:
        if isinstance(reply, Refusal):
            if reply.code in _PASSING:
                self._later.add(join.id)
                return []
            self._join = None
            if not self.joined:
                # Another name was asked for when the connection broke: the one held so far may still be ours.
                if self.nickname not in {"", join.nickname}:
                    self._prepare(self.nickname)
                self.nickname = ""
            # Another nickname may be asked for, and what may have happened be said again then.
            return [Answered(join, reply), *self._give_up(keeping=self._ever)]
        self._join = None
        self.joined, self._entered = True, reply.cursor
        if reply.nickname is not UNSET:
            self.nickname = reply.nickname
        lost: list[Outcome] = []
        if self._used and reply.resumed is False:
            for command_id in [each for each in self._unanswered if each in self._ever]:
                lost.append(Uncertain(self._unanswered[command_id][0]))
                self._forget(command_id)
        self._used = True
        return [Answered(join, reply), *lost]

    def _give_up(self, *, keeping: AbstractSet[str]) -> list[Outcome]:
        """Settle what will not be sent any more, since no nickname is held or asked for."""
        if not self._token or self.joined or self.joins:
            return []
        outcomes: list[Outcome] = []
        for command_id in [each for each in self._unanswered if each not in keeping]:
            command, _ = self._unanswered[command_id]
            refusal = Refusal(
                command.id, Code.NOT_JOINED, "this client does not take part any more"
            )
            known = command_id in self._ever
            outcomes.append(Uncertain(command) if known else Answered(command, refusal))
            self._forget(command_id)
        return outcomes

    def _forget(self, command_id: str) -> None:
        del self._unanswered[command_id]
        for known in (self._ever, self._again, self._sent, self._later):
            known.discard(command_id)
