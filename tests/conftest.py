"""Hypothesis gives the same verdict to the same code, however slow the machine is.

`HYPOTHESIS_PROFILE=explore pytest` looks further, with new examples in each run.
"""

import os

from hypothesis import settings

settings.register_profile("verdict", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("explore", deadline=None, print_blob=True, max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "verdict"))
