"""Runs a command within this process: what only its words decide needs none of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from click.testing import CliRunner

from cloudchat_cli.app import cli
from tests.cli.program import clean

if TYPE_CHECKING:
    from click.testing import Result


def run_here(*arguments: str, **environment: str) -> Result:
    """Run a command to its end."""
    unset = dict.fromkeys(os.environ.keys() - clean().keys())
    return CliRunner().invoke(cli, arguments, env={**unset, **environment}, prog_name="cloudchat")
