"""The core's own tests run all of it, whatever other tests the process has run before."""

import sys

import pytest


@pytest.fixture(autouse=True, scope="module")
def nothing_is_remembered() -> None:
    """Forget the answers that were kept: a line that needs no running again would not be seen to run."""
    for name, module in tuple(sys.modules.items()):
        if name.startswith("cloudchat_core"):
            for value in tuple(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()
