"""Whatever goes wrong, nothing that was acknowledged is lost, and nothing happens or is seen twice."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from cloudchat_core.codec import token_hash
from tests.faults import report
from tests.faults.accounts import Account, Result, Seen, Tally, result, tally
from tests.faults.harness import Server, answer, records_of, serve_command
from tests.faults.kinds import KINDS
from tests.faults.scene import clean

TOKEN = "the-token-that-ann-made-up"


QUICK = {name: (kind.run, kind.quick) for name, kind in KINDS.items() if kind.quick}


@pytest.mark.parametrize(("run", "rounds"), QUICK.values(), ids=QUICK)
def test_nothing_is_lost_or_doubled_whatever_goes_wrong(
    run: Callable[[int, int], Result], rounds: int
) -> None:
    found = run(rounds, 1)
    assert clean(found), found


def test_what_is_lost_or_doubled_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    server = Server(serve_command(path))
    with server.connect() as socket:
        answer(socket, {"type": "join", "id": "j", "nickname": "Ann", "token": TOKEN})
        cursors = [
            answer(socket, {"type": "create", "id": f"c{number}"})["cursor"] for number in range(3)
        ]
    server.kill()
    records = records_of(path)
    epoch = cursors[0].partition("-")[0]

    def counted(acked: dict[str, str], events: list[str], gaps: int = 0) -> Tally:
        seen = Seen(f"{epoch}-2", events, gaps)
        return tally(records, [Account("Ann", token_hash(TOKEN) or "", acked, seen)])

    right = dict(zip(("c0", "c1", "c2"), cursors, strict=True))
    assert counted(right, cursors) == Tally(3, 3, 0, 0)
    assert counted({**right, "c3": f"{epoch}-9"}, cursors) == Tally(4, 3, 1, 0)
    assert counted({"c0": cursors[1]}, cursors) == Tally(1, 3, 1, 0)
    assert counted(right, [cursors[0], cursors[2]]) == Tally(3, 2, 1, 0)
    assert counted(right, [*cursors, cursors[1]]) == Tally(3, 4, 0, 1)
    assert counted(right, cursors, gaps=1) == Tally(3, 3, 1, 0)
    with pytest.raises(AssertionError, match="out of order"):
        counted(right, list(reversed(cursors)))
    with pytest.raises(AssertionError):
        tally(records[1:], [])


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    document = tmp_path / "reliability.md"
    document.write_text("before\n<!-- measured: faults -->\nold\n<!-- end -->\nafter\n")
    found = result(Tally(2_000, 3, 0, 0), 5, "a note")
    report.write([report.Row("cut", "a cut", found, 1.0)], "cloudchat 1", document)
    text = document.read_text()
    assert "old" not in text
    assert "\n| `cut` | a cut | 5 | 2,000 | 3 | 0 | 0 | a note |\n" in text
    assert text.startswith("before\n")
    assert text.endswith("<!-- end -->\nafter\n")


def test_the_document_has_zeros_for_every_kind() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| .* \| ([\d,]+) \| [\d,]+ \| (\d+) \| (\d+) \|",
        report.DOCUMENT.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert [name for name, *_ in rows] == list(KINDS)
    assert all(int(acked.replace(",", "")) > 0 for _, acked, _, _ in rows)
    assert {(lost, doubled) for *_, lost, doubled in rows} == {("0", "0")}


def test_a_result_without_evidence_is_not_clean() -> None:
    assert not clean(Result(0, 0, 0, 0, 5))
