"""The benchmark suite works, and its load generator sees what it is there to see. Nothing here looks at how fast."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from benchmarks import charts, report
from benchmarks.goals import judged
from benchmarks.load import Figures, load
from benchmarks.results import Results
from benchmarks.servers import CLOUDCHAT_SPEECH, FLOOR, MEMORY, TRANSPORTS, Running, running
from tests.faults.harness import needs

PLAIN = FLOOR.speech["ws"]


@pytest.fixture(scope="module", autouse=True)
def gcc() -> None:
    needs("gcc", "--version")


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    with running(MEMORY) as server:
        yield server


def is_sound(figures: Figures) -> bool:
    """Whether no copy was missed or came twice, and nothing else went wrong."""
    return not any(map(figures.get, ("missed", "doubled", "refused", "closed", "gaps")))


def test_the_floor_can_be_measured() -> None:
    phases = ("fill:8:100", "closed:1:0.1", "open:50:0.1", "pipelined:2:0.1")
    with running(FLOOR) as server:
        set_up, idle, *loaded, probe = load(
            server, PLAIN, "idle:0.1", *phases, "probe:1:1", clients=3, publishers=2
        )
    assert (set_up["clients"], set_up["failed"]) == (3, 0)
    assert idle["memory_kb"] > 0
    assert [one["phase"] for one in loaded] == ["fill", "closed:1", "open:50", "pipelined:2"]
    assert all(map(is_sound, loaded))
    assert loaded[0]["deliveries_s"] > 0 < loaded[0]["answers_s"]
    assert probe["trips"] > 0


@pytest.mark.parametrize("transport", ["ws", "sse", "poll"])
def test_ours_can_be_followed_over(ours: Running, transport: str) -> None:
    speech = CLOUDCHAT_SPEECH[transport]
    phases = ("fill:4:20", "open:50:0.1")
    filled, opened = load(ours, speech, *phases, transport=transport, clients=3)[1:]
    assert is_sound(opened), opened
    assert filled["deliveries_s"] > 0 < filled["answers_s"]


def test_followers_may_join(ours: Running) -> None:
    set_up, idle = load(ours, CLOUDCHAT_SPEECH["ws"], "idle:0.1", clients=3, all_join=True)
    assert (set_up["clients"], set_up["failed"], idle["clients"]) == (3, 0, 3)


def test_stalled_readers_get_everything_in_the_end(ours: Running) -> None:
    phase = "stalled:2:100:0.2:60"
    [stalled] = load(ours, CLOUDCHAT_SPEECH["ws"], phase, clients=2)[1:]
    assert is_sound(stalled), stalled
    assert (stalled["stalled"], stalled["caught_up"], stalled["disordered"]) == (2, 2, 0)
    assert stalled["stalled_missed"] == 0


def test_what_is_missed_and_what_is_doubled_is_noticed() -> None:
    """A server that leaves out the fifth message and sends the seventh twice."""
    connections: list[ServerConnection] = []

    def relay(connection: ServerConnection) -> None:
        connections.append(connection)
        try:
            for message in connection:
                assert isinstance(message, str)
                found = re.search(r"\.(\d{8})\.", message)
                assert found
                times = {5: 0, 7: 2}.get(int(found[1]), 1)
                for other in connections:
                    for _ in range(1 if other is connection else times):
                        other.send(message)
        except ConnectionClosed:
            pass

    with serve(relay, "127.0.0.1", 0, compression=None) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            where = Running(server.socket.getsockname()[1], 0)
            [figures] = load(where, PLAIN, "fill:30:18", clients=2)[1:]
        finally:
            server.shutdown()
            serving.join()
    assert (figures["missed"], figures["doubled"]) == (2, 2)


def results() -> Results:
    """Two rounds of a comparison, and a curve of it."""
    found = Results()
    circumstances = {"rounds": 2, "disturbance": 0.0, "machine": "a machine", "versions": []}
    records = [
        {
            "server": server,
            "transport": "ws",
            "round": number,
            "asked": clients,
            "phase": "closed:1",
            "clients": clients,
            "cpu_us": cost * (number + 1),
        }
        for number in range(2)
        for clients in (10, 100)
        for server, cost in (("floor", 4.0), ("cloudchat-memory", 4.8), ("nchan", 6.0))
    ]
    found.add_section("fan-out", records, **circumstances)
    found.add_section("clients", records, **circumstances)
    return found


def test_goals_are_judged_by_ratios_within_a_round() -> None:
    told = {one.goal: (one.reached, one.met) for _, one in judged(results())}
    assert told["CPU a delivery, in that of the floor ≤ 1.25"] == ("1.20", True)
    assert told["in that of nchan ≤ 1.00"] == ("0.80", True)


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    results().keep(tmp_path / "results.json")
    assert Results.read(tmp_path / "results.json").sections == results().sections


def test_the_page_is_drawn_where_something_was_measured(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text(report.DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    report.write(results(), document)
    text = document.read_text(encoding="utf-8")
    assert "| one `write()` each, in C | 6.00 (4.00 to 8.00) |" in text
    pictures = re.findall(r"\]\(performance/([\w-]+\.svg)\)", text)
    drawn = {file.name: file.read_text() for file in (tmp_path / "performance").iterdir()}
    assert {"fan-out-ws.svg", "clients-alone.svg"} <= drawn.keys() & set(pictures)
    assert all(picture.startswith("<svg") for picture in drawn.values())


def test_every_part_of_the_page_is_one_that_is_drawn() -> None:
    parts = re.findall(r"<!-- measured: ([\w-]+) -->", report.DOCUMENT.read_text(encoding="utf-8"))
    kinds = [part.removeprefix("charts-") for part in parts if part.startswith("charts-")]
    assert {part for part in parts if not part.startswith("charts-")} == set(report.TABLES)
    names = [*charts.CHARTS, *(f"fan-out-{transport}" for transport in TRANSPORTS)]
    assert [name for name in names if not name.startswith(tuple(kinds))] == []
