"""The examples of a log and a provider of one's own keep what every log and every provider promises."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import pytest
from hypothesis import settings

from cloudchat_engine.testing import (
    DurableLogContract,
    DurableLogMachine,
    LogFactory,
    ProviderContract,
    ProviderFactory,
)
from examples.folder_provider import FolderProvider
from examples.journal_log import JournalLog


class TestJournalLog(DurableLogContract):
    @pytest.fixture
    def make_log(self, tmp_path: Path) -> LogFactory:
        return lambda: JournalLog(tmp_path / "journal")


class JournalLogMachine(DurableLogMachine):
    @contextmanager
    def storage(self) -> Iterator[LogFactory]:
        with TemporaryDirectory() as directory:
            yield lambda: JournalLog(Path(directory, "journal"))


TestJournalLogMachine = JournalLogMachine.TestCase
TestJournalLogMachine.settings = settings(max_examples=20, stateful_step_count=20)


class TestFolderProvider(ProviderContract):
    impossible: ClassVar[dict[str, Any] | None] = {"size": "large"}

    @pytest.fixture
    def make_provider(self, tmp_path: Path) -> ProviderFactory:
        return lambda timer: FolderProvider(tmp_path / "instances")
