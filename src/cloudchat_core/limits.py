"""Every bound in one place: nothing in cloudchat grows without a limit that stands here.

Sizes of frames and bodies are bytes, lengths of text are Unicode code points, durations are seconds, rates are per
second (0: no limit). Each field's metadata says its unit, why the value is what it is, and what others use.
"""

from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

_AROUND = 4_096


def _limit(default: float, unit: str, why: str, peers: str = "") -> Any:
    return field(default=default, metadata={"unit": unit, "why": why, "peers": peers})


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server. All are inclusive."""

    text: int = _limit(
        4096,
        "code points",
        "a screenful; longer things are files",
        "Slack 4,000 advised, Matrix 65 kB an event",
    )
    nickname: int = _limit(32, "code points", "fits a list's column", "IRC 9 to 30, Discord 32")
    nickname_bytes: int = _limit(
        64, "bytes of UTF-8", "32 code points of combining marks stay small", "XMPP resource 1,023"
    )
    name: int = _limit(
        64, "code points", "an instance's name is a label", "DNS label 63, EC2 tag 256"
    )
    frame: int = _limit(
        65_536,
        "bytes",
        "one frame, either way, fits a socket buffer",
        "centrifuge 64 kB, NATS 1 MB",
    )
    body: int = _limit(
        1_048_576, "bytes", "100 commands of a full text each", "nginx client_max_body_size 1 MB"
    )
    body_time: float = _limit(
        15, "seconds", "a body that drips is ended", "nginx client_body_timeout 60 s between reads"
    )
    head: int = _limit(
        16_384, "bytes", "request line and headers", "nginx 8 kB a header, h11 16 kB"
    )
    head_time: float = _limit(
        10, "seconds", "a connection that asks nothing is ended", "nginx client_header_timeout 60 s"
    )
    commands_per_list: int = _limit(100, "commands", "as many as may be unanswered", "")
    unanswered: int = _limit(
        100, "commands", "what a client may have to resend", "AMQP prefetch 10 to 1,000"
    )
    command_id: int = _limit(64, "characters", "a UUID and a prefix", "Stripe idempotency keys 255")
    command_ids: int = _limit(256, "ids a token", "more than may be unanswered, twice over", "")
    token_memory: float = _limit(
        604_800,
        "seconds",
        "a laptop shut over a week-end still resumes exactly",
        "Matrix txn ids: none",
    )
    tokens: int = _limit(100_000, "tokens", "about 170 MB; the longest unused one goes first", "")
    shared_ids: int = _limit(100_000, "ids", "keys of callers without a token, a day's worth", "")
    shared_memory: float = _limit(
        86_400, "seconds", "a script's retries are over in a day", "Stripe 24 h"
    )
    participants: int = _limit(
        10_000,
        "participants",
        "a snapshot stays under a second",
        "Discord member lists are lazy over 1,000",
    )
    instances: int = _limit(10_000, "instances", "one dashboard", "Kubernetes 5,000 nodes")
    finished_operations: int = _limit(
        1_000,
        "operations",
        "what GET /v1/operations can still tell",
        "Nomad keeps 4 h of evaluations",
    )
    operation_time: float = _limit(
        600,
        "seconds after the expected end",
        "a provider that says nothing has failed",
        "Terraform 10 to 30 min",
    )
    window: int = _limit(
        8_388_608,
        "bytes",
        "the newest frames, shared by all connections",
        "nchan 32 MB of shared memory",
    )
    page: int = _limit(256, "events", "one read from the log", "")
    waiting: int = _limit(
        20_000, "commands", "what may wait for one batch; more is answered unavailable", ""
    )
    batch: int = _limit(2_000, "commands", "keeps one append short", "")
    connections: int = _limit(
        20_000, "connections", "file descriptors", "nginx worker_connections 512 to 1,024"
    )
    connections_per_address: int = _limit(
        0,
        "connections",
        "0: none, since behind a proxy all have one address; an IPv6 network (/64) counts as one",
        "nginx limit_conn: none unless told",
    )
    feeds_per_token: int = _limit(
        8, "feeds", "tabs and devices of one person", "HTTP/1.1 browsers: 6 connections"
    )
    tokens_per_feed: int = _limit(
        256, "tokens", "tabs of one browser that share a feed", "HTTP/2: 100 streams a connection"
    )
    direct: int = _limit(1_048_576, "bytes", "answers that a client does not read", "")
    stalled: float = _limit(
        60, "seconds", "a reader that takes nothing is ended", "nginx send_timeout 60 s"
    )
    commands_per_second: float = _limit(
        50,
        "per second and token, else address",
        "a person types slower, a script is told",
        "Discord 50/s",
    )
    commands_burst: int = _limit(
        200, "commands", "a resend of all that is unanswered passes, twice", ""
    )
    rates_per_address: int = _limit(
        0,
        "full rates",
        "what all tokens of an address may use together, in rates of commands of one; 0: any, as above",
        "nginx limit_req: none unless told",
    )
    requests_per_second: float = _limit(
        200, "per second and address", "a page load and its polls", ""
    )
    requests_burst: int = _limit(400, "requests", "a few tabs that load their pages at once", "")
    floods: int = _limit(
        1_000, "commands", "sent on in spite of rate_limited before the connection ends", ""
    )
    snapshot_every: int = _limit(
        20_000, "events", "bounds the tail that a start has to replay", "etcd 10,000 to 100,000"
    )

    def with_values(self, values: dict[str, float]) -> "Limits":
        """Return a copy with `values` (name to number) in place; `ValueError` says what is wrong with them."""
        known = {limit.name: limit for limit in fields(self)}
        changed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise ValueError(
                    f"there is no limit {name!r}; the limits are: {', '.join(sorted(known))}"
                )
            if not isfinite(value) or value < 0:
                raise ValueError(f"the limit {name} is a number, not negative")
            whole, unit = known[name].type is int, known[name].metadata["unit"]
            if whole and value != int(value):
                raise ValueError(f"the limit {name} is a whole number of {unit}")
            if value == 0 and known[name].default and not name.endswith("_per_second"):
                raise ValueError(
                    f"the limit {name} must be more than 0 {unit};"
                    " only rates, and what is per address, may be 0 (none)"
                )
            changed[name] = int(value) if whole else value
        limits = replace(self, **changed)
        # An event stands in one frame: up to 4 bytes of UTF-8 a code point, and what stands around the text.
        if limits.frame < 4 * limits.text + _AROUND:
            raise ValueError(
                f"the limit frame must be at least {4 * limits.text + _AROUND} bytes"
                f" when the limit text is {limits.text}"
            )
        if limits.command_ids < limits.unanswered:
            raise ValueError(
                f"the limit command_ids must be at least the limit unanswered, {limits.unanswered}:"
                " what may be sent again has to be known"
            )
        return limits
