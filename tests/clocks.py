"""Clocks of the machine that are not right, for one program (libfaketime)."""

from typing import Final

_LIBRARY: Final = "/usr/$LIB/faketime/libfaketimeMT.so.1"
FAKED: Final = {
    "LD_PRELOAD": _LIBRARY,
    "FAKETIME_NO_CACHE": "1",
    # A clock that is set moves the time of day, not the time since boot.
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "FAKETIME_FORCE_MONOTONIC_FIX": "0",
}
"""The environment of a program whose clock is set."""
SLOW: Final = {"LD_PRELOAD": _LIBRARY, "FAKETIME": "+0 x0.1"}
"""The environment of a program to which ten seconds are one: what it allows little time for may take its time."""
