"""Hypothesis gives the same verdict to the same code, however slow the machine is.

`HYPOTHESIS_PROFILE=explore pytest` looks further, with new examples in each run.
"""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CORE = Path(__file__).with_name("core")

settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("verdict", settings.get_profile("patient"), derandomize=True)
settings.register_profile("explore", settings.get_profile("patient"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "verdict"))

# A run in the background of a script starts with SIGINT ignored, and so would every program that a test interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """`--cov` is the core's coverage by the core's own tests: measuring makes tests twice as slow.

    `--cov=cloudchat_engine` measures what it names, in all tests.
    """
    if any(isinstance(named, str) for named in config.getoption("cov_source", None) or ()):
        return
    for item in items:
        if CORE not in item.path.parents:
            item.add_marker("no_cover")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the tables that tests have made, wherever they ran."""
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, table in getattr(report, "user_properties", ()):
            if name == "table" and report.when == "call":
                terminalreporter.section(report.nodeid, "-")
                terminalreporter.write_line(str(table))
