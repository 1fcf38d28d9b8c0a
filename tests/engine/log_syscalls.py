"""Reads what strace recorded, and tells whether anything was acknowledged before it was durable."""

import re

TRACED = "trace=write,pwrite64,pwritev,fsync,fdatasync"
"""The calls that `early_acks` needs to see; strace must show strings whole (`-s 65536`)."""

_LINE = re.compile(r"(?P<pid>\d+) +(?:<\.\.\. )?(?P<call>\w+)(?: resumed>|\()(?P<rest>.*)")
_MARK = re.compile(r"<(\d+)>")
_ACK = re.compile(r'"acked (\d+)')


def acks(trace: str) -> list[int]:
    """Return the numbers that were acknowledged (`acked N` on standard output), in order."""
    return [int(n) for n in _ACK.findall(trace)]


def early_acks(trace: str) -> list[int]:
    """Return the numbers N whose `acked N` left before the write with `<N>` in it was synced.

    A write counts as made when it has returned. A sync covers the writes to its file that had returned when it was
    called, and counts when it has returned 0.
    """
    written: dict[
        str, set[int]
    ] = {}  # by file descriptor: what its last completed sync does not cover
    begun: dict[str, tuple[str, str, set[int]]] = {}  # by thread: the call that has not returned
    durable: set[int] = set()
    early = []
    for line in trace.splitlines():
        if not (match := _LINE.match(line)):
            continue
        pid, call, rest = match["pid"], match["call"], match["rest"]
        if " resumed>" not in line:
            fd = re.split(r"[,)\s]", rest, maxsplit=1)[0]
            if call == "write" and fd == "1" and (ack := _ACK.search(rest)):
                if int(ack[1]) not in durable:
                    early.append(int(ack[1]))
                continue
            covers = set(written.get(fd, ())) if "sync" in call else marks(rest)
            begun[pid] = call, fd, covers
        if "<unfinished" in rest:
            continue
        call, fd, covers = begun.pop(pid)
        result = rest.rpartition("= ")[2]
        if "sync" not in call:
            written.setdefault(fd, set()).update(covers)
        elif result.startswith("0"):
            durable |= covers
            written.get(fd, set()).difference_update(covers)
    return early


def marks(text: str) -> set[int]:
    """Return the numbers N of all `<N>` in what a call was given."""
    return {int(n) for n in _MARK.findall(text)}
