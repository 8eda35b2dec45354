"""The record of the benchmark is read strictly, and its summary judges what was measured on a GPU."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gpu_bench.record import Bench, Section, read_bench, write_bench
from gpu_bench.rows import EqualityRow, FactRow, LoopRow, PipelineRow, PowerRow, ServiceRow
from gpu_bench.summary import summary
from tier_planner.measurements import Calibration
from tier_planner.records import Machine
from tier_planner.tables import TableError

MACHINE = Machine("a CPU", 16, None, 1024, "Linux", {"python": "3.12"}, "a GPU, driver 580")
BARE = LoopRow("b-n", "n", "float32", "", 32, 640, 9, 10.0, 0.1, 3200.0, 50.0, None, 900.0)
SHARED = PipelineRow(
    *("b-n", "b", "n", "float32", "jpeg", 1.0, 32, "{}", 8, 40, 29, 640, 100.0, 2900.0, 9.0, 0.97),
    latencies_ms=(80.0, 81.0),
    stages_ms={"decode": 30.0},
)
SLOWER = replace(SHARED, callers=16, pictures_per_s=90.0, tiles_per_s=2610.0)
SINGLE = replace(SHARED, way="single", batch=1, pictures_per_s=20.0, tiles_per_s=580.0)
ALONE = replace(SINGLE, way="alone", engine="", pictures_per_s=10.0)
LOADED = ServiceRow(
    *("b-l", "l", "threads", 5.0, 15.0, 75, 75, (), 5.0, 300.0, 400.0, 450.0, 1.0, "cuda"), stages_ms={"infer": 200.0}
)
SAME = EqualityRow("b-n", "n", "float32", 0.5, 20, 0, 0, 0.002, 0.3, 0.01, 1.0)
POWER = PowerRow("b-n", "b", "n", "float32", "jpeg", 0.5, 4, 9, 640, 1, (100.0,), {})


def bench(*parts: tuple[str, Any], device: str = "cuda") -> Bench:
    sections: dict[str, list[Any]] = {}
    for name, row in parts:
        sections.setdefault(name, []).append(row)
    done = tuple(Section(name, "done", "", 1.5, tuple(rows)) for name, rows in sections.items())
    calibration = Calibration("a product", 50.0, 0.01)
    return Bench("2026-11-26T12:00:00+00:00", "abc", "bench.py", device, 220.0, "boards", MACHINE, calibration, done)


WHOLE = bench(
    ("facts", FactRow("gpu.name", "a GPU")),
    ("loop", BARE),
    ("pipeline", SHARED),
    ("pipeline", SLOWER),
    ("pipeline", SINGLE),
    ("pipeline", ALONE),
    ("service", LOADED),
    ("equality", SAME),
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_bench(tmp_path / "deep" / "record.json", WHOLE)
    assert read_bench(tmp_path / "deep" / "record.json") == WHOLE
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["record.json"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda d: d.update(schema=2), "schema = 2"),
        (lambda d: d.update(kind="measurement"), "kind = 'measurement'"),
        (lambda d: d.update(device="gpu"), "device = 'gpu'"),
        (lambda d: d.update(more=1), "more = 1: is not a key that is read here"),
        (lambda d: d["sections"][0].update(state="fine"), "state = 'fine'"),
        (lambda d: d["sections"][0].update(name="other"), "name = 'other'"),
        (lambda d: d["sections"][1]["rows"][0].pop("runs"), "sections[1].rows[0].runs is missing"),
        (lambda d: d["sections"][1]["rows"][0].update(runs=1.5), "runs = 1.5: must be a whole number"),
        (lambda d: d["sections"][1]["rows"][0].update(hot=1), "hot = 1: is not a key that is read here"),
        (lambda d: d["sections"][2]["rows"][0].update(latencies_ms=[1, None]), "latencies_ms = None"),
        (lambda d: d["sections"][2]["rows"][0]["stages_ms"].update(decode="x"), "stages_ms.decode = 'x'"),
        (lambda d: d["sections"][0].update(rows=[d["sections"][1]["rows"][0]]), "sections[0].rows[0].name is missing"),
    ],
)
def test_what_is_wrong_in_a_record_is_named(tmp_path: Path, change: Any, complaint: str) -> None:
    path = tmp_path / "record.json"
    write_bench(path, WHOLE)
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
    with pytest.raises(TableError) as raised:
        read_bench(path)
    assert str(path) in str(raised.value)
    assert complaint in str(raised.value)


def test_a_file_that_is_no_record_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="No such file"):
        read_bench(tmp_path / "none.json")
    (tmp_path / "text.json").write_text("hello")
    with pytest.raises(TableError):
        read_bench(tmp_path / "text.json")


def goals(record: Bench) -> dict[str, str]:
    """The goals of the summary with their verdicts."""
    lines = summary(record).partition("## Goals")[2].partition("##")[0].splitlines()
    cells = [line.strip("| ").split(" | ") for line in lines if line.startswith("| ")]
    return {goal.split()[0]: f"{measured}: {verdict}" for goal, measured, verdict in cells[1:]}


def test_the_goals_are_judged_by_what_a_gpu_did() -> None:
    assert goals(WHOLE) == {
        "pipeline": "b-n 0.91: met",
        "batched": "5.0 x the tier with one tile a run, 10.0 x a plain session with one tile a run: met",
        "largest": "b-l 400, 75 of 75 answered: met",
        "GPU": "100% of the pictures: met",
    }


@pytest.mark.parametrize(
    ("goal", "part"),
    [
        ("pipeline", ("pipeline", replace(SHARED, model="b-l", tiles_per_s=1.0))),
        ("batched", ("pipeline", replace(SINGLE, callers=1, pictures_per_s=26.0))),
        ("largest", ("service", replace(LOADED, p95_ms=None))),
        ("GPU", ("equality", replace(SAME, extra=1))),
    ],
)
def test_one_miss_is_a_miss(goal: str, part: tuple[str, Any]) -> None:
    parts = [("loop", BARE), ("loop", replace(BARE, model="b-l")), ("pipeline", SHARED), ("pipeline", SINGLE)]
    late = [part, ("service", LOADED)] if goal == "largest" else [("service", LOADED), part]
    verdicts = goals(bench(*parts, ("equality", SAME), *late))
    assert {name for name, verdict in verdicts.items() if verdict.endswith("MISSED")} == {goal}


def test_what_was_not_measured_is_not_met() -> None:
    assert set(goals(bench(("loop", BARE))).values()) == {"not measured: -"}


def test_pictures_on_which_nothing_is_found_prove_nothing() -> None:
    assert goals(bench(("equality", replace(SAME, found=0))))["GPU"] == "not measured: -"


def test_a_stand_in_is_not_judged() -> None:
    record = replace(WHOLE, device="cpu-stand-in")
    assert {verdict.rpartition(": ")[2] for verdict in goals(record).values()} == {"NOT JUDGED"}
    assert summary(record).startswith("**A CPU stood in for the GPU")


def test_amdahls_law_is_checked_on_a_thread_count_that_it_has_not_seen() -> None:
    times_ms = {1: 1000.0, 2: 550.0, 4: 325.0, 8: 212.5}  # a tenth of it serial
    rows = [("cpu", replace(POWER, threads=threads, latencies_ms=(ms,))) for threads, ms in times_ms.items()]
    assert "8: 212.5 ms, +0%" in summary(bench(*rows))
