"""Hypothesis gives the same verdict to the same code, however slow the machine is.

`HYPOTHESIS_PROFILE=explore pytest` looks further, with new examples in each run.
"""

import os
import signal

from hypothesis import settings

settings.register_profile("verdict", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "verdict"))

# A run in the background of a script starts with SIGINT ignored, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
