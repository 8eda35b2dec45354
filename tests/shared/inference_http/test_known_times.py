"""What was measured on this processor is known from the start; what was measured elsewhere says nothing."""

from dataclasses import replace
from pathlib import Path

import pytest
from inference_core.cpu import cpu_name
from inference_core.errors import SettingsError
from inference_core.settings import Settings
from inference_http.known_times import known_tile_s
from tier_planner.measurements import Calibration, Measurement, Point, write_measurement
from tier_planner.records import Machine

from tests.models import TILE_PX, detection_model
from tests.shared.inference_http.conftest import ServiceOf

KIND = ("squares-m", 0.5)
POINT = Point(
    model="squares-m",
    family="squares",
    variant="m",
    scale=0.5,
    device="cpu",
    precision="float32",
    threads=1,
    batch=4,
    pixels=10 * TILE_PX**2,
    latencies_ms=(5000.0, 6000.0, 7000.0),
    stages_ms={"infer": 6000.0},
    throughput_per_s=0.2,
    callers=1,
    memory_peak_mib=None,
    accuracy=None,
)
MEASURED_S = 0.6
"""The median of ten tiles."""


def measurement(
    *points: Point, cpu: str = "", gpu: str | None = None, written_at: str = "2026-11-26T10:00:00+00:00"
) -> Measurement:
    machine = Machine(cpu or cpu_name(), 2, None, None, "Linux", {}, gpu)
    calibration = Calibration("none", 1.0, 0.0)
    return Measurement(written_at, "", "made up for tests", "none", machine, calibration, points)


@pytest.fixture
def records(tmp_path: Path, models_dir: Path) -> Path:
    detection_model(models_dir, "squares-m", accuracies={1.0: 0.9, 0.5: 0.8})
    folder = tmp_path / "records"
    folder.mkdir()
    return folder


def test_a_record_of_this_processor_tells_the_seconds_of_a_tile(records: Path, service_of: ServiceOf) -> None:
    write_measurement(records / "here.json", measurement(POINT))
    (records / "other.json").write_text('{"kind": "something else"}')
    for path in (records, records / "here.json"):
        tile_s = service_of(threads=1, records=path).tile_s
        assert tile_s[KIND] == pytest.approx(MEASURED_S)
        # The other scale was not measured: the warm-up tells.
        assert 0 < tile_s["squares-m", 1.0] < MEASURED_S


def test_a_record_that_names_the_file_speaks_for_it(records: Path, service_of: ServiceOf) -> None:
    service = service_of(threads=1)
    served = service.registry.find("squares-m").manifest.sha256
    write_measurement(records / "here.json", measurement(replace(POINT, sha256=served)))
    newer = replace(POINT, sha256="0" * 64, latencies_ms=(1000.0,))
    write_measurement(records / "new.json", measurement(newer, written_at="2026-11-27T10:00:00+00:00"))
    assert service_of(threads=1, records=records).tile_s[KIND] == pytest.approx(MEASURED_S)


def test_of_two_records_the_newer_one_is_right(records: Path, service_of: ServiceOf) -> None:
    newer = replace(POINT, latencies_ms=(1000.0,))
    write_measurement(records / "a.json", measurement(newer, written_at="2026-11-27T10:00:00+00:00"))
    write_measurement(records / "b.json", measurement(POINT))
    assert service_of(threads=1, records=records).tile_s[KIND] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "elsewhere",
    [
        measurement(POINT, cpu="another"),
        measurement(replace(POINT, threads=2)),
        measurement(replace(POINT, device="cuda")),
        measurement(replace(POINT, model="unknown")),
        measurement(replace(POINT, pixels=None)),
        measurement(replace(POINT, sha256="0" * 64)),
    ],
    ids=["processor", "threads", "device", "model", "no pixels", "file"],
)
def test_what_was_measured_elsewhere_says_nothing(records: Path, service_of: ServiceOf, elsewhere: Measurement) -> None:
    write_measurement(records / "elsewhere.json", elsewhere)
    assert 0 < service_of(threads=1, records=records).tile_s[KIND] < MEASURED_S


@pytest.mark.parametrize(
    ("gpu", "is_here"),
    [("NVIDIA A10, 580.95.05", True), ("NVIDIA A10", True), ("NVIDIA A10G, 580.95.05", False), (None, False)],
)
def test_what_was_measured_on_a_gpu_is_known_on_such_a_gpu(
    records: Path, service_of: ServiceOf, gpu: str | None, is_here: bool
) -> None:
    write_measurement(records / "gpu.json", measurement(replace(POINT, device="cuda", threads=7), gpu=gpu))
    settings = Settings(records=records)
    tile_s = known_tile_s(service_of().registry, settings, device="cuda", threads=1, gpu="NVIDIA A10")
    assert (tile_s[KIND] == pytest.approx(MEASURED_S)) is is_here


def test_a_delay_that_is_injected_does_not_hide_what_the_warm_up_saw(records: Path, service_of: ServiceOf) -> None:
    assert service_of(records=records, fault_delay_s=0.01).tile_s[KIND] > 0


def test_records_that_are_named_and_cannot_be_read_stop_the_start(records: Path, service_of: ServiceOf) -> None:
    with pytest.raises(SettingsError, match=r"INFERENCE_RECORDS=.*does not exist"):
        service_of(records=records / "none.json")
    (records / "broken.json").write_text('{"kind": "measurement", "schema": 1}')
    with pytest.raises(SettingsError, match=r"broken\.json"):
        service_of(records=records)
