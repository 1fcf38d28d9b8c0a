"""Whatever is asked of the HTTP side, by who has read its specification, the answer is one that it describes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.cli.program import Server, clean
from tests.specs.generated import OPENAPI

ROOT = Path(__file__).parents[2]
PATIENCE = 240
"""Seconds after which it hangs."""


def test_a_real_server_keeps_its_specification_whatever_it_is_asked(tmp_path: Path) -> None:
    with Server(
        *("--log", f"sqlite:{tmp_path}/log.sqlite", "--provider", "simulated:?duration=0.2"),
        *("--limit", "commands_per_second=0", "--limit", "requests_per_second=0"),
    ) as server:
        ran = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                *("--config-file", ROOT / "tests/specs/schemathesis.toml"),
                *("run", f"{server.url}/v1/openapi.json", "--no-color"),
            ],
            cwd=tmp_path,
            env={**clean(), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default"},
            capture_output=True,
            check=False,
            text=True,
            timeout=PATIENCE,
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        operations = sum(len(methods) for methods in OPENAPI["paths"].values())
        # All but the document itself, with which it began.
        assert f"Tested: {operations - 1}\n" in ran.stdout, ran.stdout
        cases = re.search(r"(\d+) generated, \d+ passed", ran.stdout)
        assert cases is not None, ran.stdout
        assert int(cases[1]) > 400
    assert not [line for line in server.errors if "Traceback" in line]
