"""A measurement is written whole, read back the same, and a damaged one is refused by the key at fault."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from tier_planner.measurements import (
    Accuracy,
    Calibration,
    Measurement,
    Point,
    is_measurement,
    quantile,
    read_measurement,
    write_measurement,
)
from tier_planner.records import Machine
from tier_planner.tables import TableError

POINT = Point(
    model="m-n",
    family="m",
    variant="n",
    scale=0.5,
    device="cpu",
    precision="float32",
    threads=2,
    batch=4,
    pixels=640 * 640,
    latencies_ms=(10.0, 12.0, 11.0, 30.0),
    stages_ms={"decode": 2.0, "infer": 8.0},
    throughput_per_s=90.0,
    callers=2,
    memory_peak_mib=120.5,
    accuracy=Accuracy("mAP@0.5", 0.9, "boards", 20, {"recall_small": 0.8}),
)
MEASUREMENT = Measurement(
    written_at="2026-11-26T00:00:00Z",
    commit="abc",
    command="tiers measure m",
    workload="1 row",
    machine=Machine("a cpu", 2, None, 1024, "Linux", {"onnxruntime": "1.31"}, gpu="a gpu"),
    calibration=Calibration("matrix product", 50.0, 0.02),
    points=(POINT, replace(POINT, scale=None, pixels=None, memory_peak_mib=None, accuracy=None, sha256="a" * 64)),
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "measurement.json"
    write_measurement(path, MEASUREMENT)
    assert read_measurement(path) == MEASUREMENT
    assert is_measurement(path)


def test_the_quantile_is_one_of_the_values() -> None:
    assert quantile((4.0, 1.0, 3.0, 2.0), 0.5) == 2.0
    assert quantile((4.0, 1.0, 3.0, 2.0), 0.95) == 4.0
    assert POINT.p50_ms == 11.0
    with pytest.raises(ValueError, match="no values"):
        quantile((), 0.5)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("kind",), "record", "kind = 'record': must be one of measurement"),
        (("points", 0, "device"), "tpu", "points[0].device = 'tpu'"),
        (("points", 1, "latencies_ms"), [], "points[1].latencies_ms"),
        (("calibration", "gflops_per_core"), 0, "calibration.gflops_per_core = 0: must be greater than 0"),
        (("machine", "speed"), 3, "machine.speed = 3: is not a key that is read here"),
    ],
)
def test_a_damaged_file_is_refused_by_the_key_at_fault(
    tmp_path: Path, path: tuple[str | int, ...], value: object, said: str
) -> None:
    file = tmp_path / "measurement.json"
    write_measurement(file, MEASUREMENT)
    document = json.loads(file.read_text())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    file.write_text(json.dumps(document))
    with pytest.raises(TableError) as error:
        read_measurement(file)
    assert said in str(error.value)


def test_what_is_no_measurement_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    file.write_text('{"schema": 1}')
    assert not is_measurement(file)
    assert not is_measurement(tmp_path / "missing.json")
