"""What a server promises on a disk that is full, fails, cannot be written, or has something else on it."""

import sys
from collections.abc import Callable

import pytest

from tests.faults import disk
from tests.faults.accounts import Result
from tests.faults.damage import KINDS, damaged
from tests.faults.disk import DISK, on_a_disk


@pytest.mark.parametrize(
    "fault",
    [disk.read_only, disk.failing_writes, disk.failing_syncs, disk.misplaced],
    ids=lambda fault: fault.__name__,
)
def test_a_disk_that_takes_nothing_costs_no_promise_and_service_resumes_by_itself(
    fault: Callable[[int, int], Result],
) -> None:
    came_to = fault(2, 1)
    assert came_to.acknowledged > 2 * 5
    assert came_to.lost == came_to.doubled == 0


@pytest.mark.parametrize("fault", [disk.restored, disk.lost_tail], ids=lambda fault: fault.__name__)
def test_what_went_with_the_disk_is_told_to_whoever_had_seen_it(
    fault: Callable[[int, int], Result],
) -> None:
    assert fault(2, 1).acknowledged > 2 * 10


def test_what_is_damaged_is_named_or_not_served_and_all_else_is_as_it_was() -> None:
    came_to = damaged(len(KINDS), seed=2)
    assert came_to.seen > came_to.acknowledged
    assert not came_to.note.startswith(("0 times", f"{len(KINDS)} times"))


def test_where_nothing_can_be_written_a_server_says_so_and_its_log_can_be_looked_at() -> None:
    log = f"--log sqlite:{DISK}/log.db"
    cloudchat = f"{sys.executable} -c 'from cloudchat_cli import main; main()'"
    done = on_a_disk(
        "3m",
        f"""
        {sys.executable} -m tests.faults.full_disk {DISK} 0
        mount -o remount,ro {DISK}
        {cloudchat} log check {log} -o name; echo checked $?
        {cloudchat} log export {log}; echo exported $?
        {cloudchat} serve --port 0 {log} || echo served $?
        """,
    )
    assert done.returncode == 0, done.stderr
    (said,) = done.stderr.splitlines()
    assert "log.db cannot be used" in said
    assert "Read-only file system" in said
    acknowledged, path, checked, *exported, end, served = done.stdout.splitlines()
    assert (acknowledged, path) == ("acknowledged 20", f"{DISK}/log.db")
    assert (checked, end, served) == ("checked 0", "exported 0", "served 1")
    assert sum('"type":"message"' in line for line in exported) == 20
