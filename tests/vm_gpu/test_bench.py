"""The benchmark of the GPU tier, whole and on the CPU: every section runs, the record is read, nothing is claimed."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from gpu_bench.record import Bench, read_bench
from gpu_bench.rows import ROWS
from inference_core.registry import read_manifests
from tier_planner.measurements import read_measurement

from tests.conftest import PROJECT

SCRIPT = PROJECT / "vm-gpu" / "bench.py"
SMALL = {"--batches": "2,1", "--window-s": "0.1", "--load-s": "1", "--boards": "1", "--pictures": "2"}
END_S = 300
"""Far beyond any run here: a test that takes this long has hung."""
MEASURED = ("facts", "loop", "pipeline", "service", "equality", "accuracy", "cpu")

pytestmark = pytest.mark.slow


def bench(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    small = [part for pair in SMALL.items() for part in pair]
    given = ["--provider", "cpu", "--picture", "640x480", "--folder", str(folder / "work"), "--budget-s", "200"]
    command = [sys.executable, str(SCRIPT), "--out", str(folder / "record.json"), *given, *small, *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=END_S, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A whole run with the smallest detector: where it wrote, what it said."""
    folder = tmp_path_factory.mktemp("bench")
    shutil.copytree(PROJECT / "shared" / "models" / "board-defects-n", folder / "models" / "board-defects-n")
    done = bench(folder, "--models", str(folder / "models"))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture(scope="module")
def record(ran: tuple[Path, str]) -> Bench:
    return read_bench(ran[0] / "record.json")


def test_every_section_is_in_the_record_with_how_it_ended(record: Bench) -> None:
    assert [section.name for section in record.sections] == list(ROWS)
    states = {section.name: (section.state, section.reason) for section in record.sections}
    assert {name: states[name] for name in MEASURED} == dict.fromkeys(MEASURED, ("done", ""))
    assert {states[name][0] for name in ("gpu-decode", "options", "tensorrt")} == {"skipped"}


def test_a_stand_in_is_said_to_be_one(record: Bench, ran: tuple[Path, str]) -> None:
    assert record.device == "cpu-stand-in"
    assert record.machine.gpu is None
    assert {row.device for row in record.rows("service")} == {"cpu-stand-in"}
    assert "**A CPU stood in for the GPU: no figure here says anything of one.**" in ran[1]
    assert " met |" not in ran[1]
    assert "MISSED" not in ran[1]


def test_the_rows_hold_what_was_measured(record: Bench) -> None:
    assert [row.batch for row in record.rows("loop")] == [2, 1]
    assert all(row.images_per_s > 0 and row.runs >= 5 for row in record.rows("loop"))
    assert [(row.way, row.scale) for row in record.rows("pipeline")] == [
        *[("jpeg", 1.0), ("jpeg", 1.0), ("jpeg", 1.0), ("bmp", 1.0), ("jpeg", 0.5), ("jpeg", 0.5)],
        *[("single", 1.0), ("single", 1.0), ("alone", 1.0), ("threads", 1.0)],
    ]
    for row in record.rows("pipeline"):
        assert {"decode", "infer"} <= set(row.stages_ms)
        assert row.tiles == 1
        assert row.pictures_per_s > 0
    assert [row.answered for row in record.rows("service")] == [row.arrivals for row in record.rows("service")]
    assert record.rows("service")[0].rate_per_s == 5
    assert {row.within for row in record.rows("equality")} == {True}
    assert any(row.found for row in record.rows("equality")), "what finds nothing proves no equality"
    assert record.rows("accuracy")[0].map_50 > 0.5
    facts = {row.name: row.value for row in record.rows("facts")}
    assert facts["nodes.board-defects-n"].startswith("CPUExecutionProvider ")
    assert facts["graphs.board-defects-n"].startswith("not here")


def test_the_planner_can_read_the_run_as_a_measurement(record: Bench, ran: tuple[Path, str]) -> None:
    measurement = read_measurement(ran[0] / "record.measurement.json")
    assert measurement.calibration == record.calibration
    devices = {(point.device, point.scale, point.threads) for point in measurement.points}
    assert {("cpu-stand-in", 1.0, 1), ("cpu-stand-in", 0.5, 1), ("cpu", 0.5, 1)} <= devices
    whole = next(point for point in measurement.points if point.scale == 1.0)
    assert whole.accuracy is not None
    assert whole.accuracy.count == 1, "measured in this run, not taken from the manifest"
    assert whole.pixels == 640 * 640
    known = {manifest.name: manifest.sha256 for manifest in read_manifests(PROJECT / "shared" / "models")}
    assert {point.sha256 for point in measurement.points if point.model == whole.model} == {known[whole.model]}


def test_a_record_is_printed_again_without_measuring(ran: tuple[Path, str]) -> None:
    command = [sys.executable, str(SCRIPT), "--summary", str(ran[0] / "record.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=END_S, check=True)
    assert done.stdout.strip() == ran[1][ran[1].index("**A CPU stood in") :].strip()


def test_a_section_that_fails_is_recorded_and_the_next_goes_on(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    done = bench(tmp_path, "--models", str(tmp_path / "models"), "--sections", "service,cpu,options")
    assert done.returncode == 1
    sections = read_bench(tmp_path / "record.json").sections
    assert [(section.name, section.state) for section in sections] == [
        ("service", "failed"),
        ("cpu", "done"),
        ("options", "skipped"),
    ]
    assert sections[0].reason.startswith("IndexError")


def test_one_model_that_fails_leaves_the_rows_of_the_others(tmp_path: Path) -> None:
    good, bad = (tmp_path / "models" / f"board-defects-{variant}" for variant in "ns")
    shutil.copytree(PROJECT / "shared" / "models" / "board-defects-n", good)
    shutil.copytree(good, bad)
    (bad / "model.onnx").write_bytes(b"no graph")
    text = (good / "model.toml").read_text().replace('"board-defects-n"', '"board-defects-s"')
    digest = hashlib.sha256(b"no graph").hexdigest()
    (bad / "model.toml").write_text(re.sub('sha256 = ".*"', f'sha256 = "{digest}"', text))
    assert bench(tmp_path, "--models", str(tmp_path / "models"), "--sections", "loop").returncode == 1
    (loop,) = read_bench(tmp_path / "record.json").sections
    assert [row.model for row in read_bench(tmp_path / "record.json").rows("loop")] == ["board-defects-n"] * 2
    assert loop.state == "failed"
    assert loop.reason.startswith("board-defects-s: ")


def test_a_section_that_overruns_is_ended_and_one_without_time_is_not_begun(tmp_path: Path) -> None:
    models = str(PROJECT / "shared" / "models")
    done = bench(tmp_path, "--models", models, "--sections", "loop,options", "--window-s", "600", "--budget-s", "4")
    assert done.returncode == 0
    loop, options = read_bench(tmp_path / "record.json").sections
    assert (loop.state, loop.reason[:12]) == ("cut", "ended after ")
    assert (options.state, options.reason) == ("skipped", "the time of the run was over")
