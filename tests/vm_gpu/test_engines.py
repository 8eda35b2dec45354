"""Engines: what of the device each model gets, readiness by a real inference, the figures, and the end."""

import logging
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gpu_api.engine import open_engine
from gpu_api.engines import Engines
from gpu_api.metrics import GpuMetrics, gpu_gauges
from inference_core import heads
from inference_core.detection import DetectionPipeline
from inference_core.device import HostMemory
from inference_core.errors import DeviceLost, ManifestError, OutOfMemory, Overloaded
from inference_core.manifest import DetectionOutput, ImageInput, read_manifest
from inference_core.providers import GpuPlan
from inference_core.registry import Pipeline
from inference_core.session import Session
from inference_core.settings import GpuSettings, Settings
from inference_http.service import builders
from onnx import TensorProto, helper
from prometheus_client import CollectorRegistry, generate_latest

from tests.models import squares_picture, tensor_model
from tests.vm_gpu.finished import end2end_manifest, nms_manifest, suppressed_manifest
from tests.vm_gpu.reading import killed
from tests.vm_gpu.runs import GatedRuns, numbered, squares_engine, squares_manifest

PICTURE = squares_picture(112, 64, [(16, 32), (96, 16)])


@pytest.fixture
def engines() -> Iterator[Engines]:
    opened = Engines(GpuSettings(gpu_wait_ms=0), lost=lambda _: None)
    yield opened
    opened.close()


def opened(engines: Engines, folder: Path) -> Pipeline:
    manifest = squares_manifest(folder)
    return engines.builders(Settings(), "cpu", builders(Settings(), "cpu"))["detection"](manifest)


def test_a_pipeline_of_the_engines_answers_as_the_plain_one(engines: Engines, tmp_path: Path) -> None:
    pipeline = opened(engines, tmp_path)
    manifest = read_manifest(tmp_path / "squares-n")
    plain = DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1_000_000)
    assert pipeline.predict(PICTURE).fields == plain.predict(PICTURE).fields
    assert len(plain.predict(PICTURE).fields["detections"]) == 2


def test_it_says_what_each_model_got(engines: Engines, tmp_path: Path) -> None:
    opened(engines, tmp_path)
    said = engines.describe()["squares-n"]
    assert (said["bound"], said["candidates"], said["graphs"], said["batch_max"]) == (True, True, False, 4)


def test_without_the_package_that_rewrites_graphs_it_runs_the_file_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "gpu_api.graph", raising=False)
    engine = open_engine(squares_manifest(tmp_path), GpuSettings(), "cpu", threads=1)
    assert engine.describe()["bound"]
    assert not engine.describe()["candidates"]
    assert "the graph is run as it is" in caplog.text
    assert engine.runs([numbered(255)]).shape == (1, 5, 16)
    engine.close()


def test_boxes_in_several_tensors_are_batched_but_not_bound(
    engines: Engines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = nms_manifest(tmp_path)
    pipeline = engines.builders(Settings(), "cpu", {})["detection"](manifest)
    assert not engines.describe()["squares-n"]["bound"]
    assert "is not bound" in caplog.text
    boxes = [found["box"] for found in pipeline.predict(PICTURE).fields["detections"]]
    assert sorted(boxes) == [[16, 32, 32, 48], [96, 16, 112, 32]]
    engines.check()


def test_lists_of_boxes_of_different_lengths_are_put_together_when_a_request_is_split(tmp_path: Path) -> None:
    """Each run answers with as many rows as its fullest tile has boxes."""
    engines = Engines(GpuSettings(gpu_wait_ms=0, gpu_batch_max=1), lost=lambda _: None)
    engines.builders(Settings(), "cpu", {})["detection"](suppressed_manifest(tmp_path))
    engine, batcher = engines.by_name["squares-n"]
    tiles = numbered(0, 255, 200, 0)
    tiles[1, :, 48:, 48:] = 240
    counts = [batcher(tile[None]).shape[1] for tile in tiles]
    outputs = batcher(tiles)
    engines.close()
    assert counts == [0, 2, 1, 0]
    assert isinstance(engine.manifest.output, DetectionOutput)
    assert isinstance(engine.manifest.input, ImageInput)
    found = heads.candidates(outputs, engine.manifest.output, engine.manifest.input)
    assert [len(boxes) for boxes in found] == counts
    assert sorted(found[1].xyxy.tolist()) == [[0, 0, 16, 16], [48, 48, 64, 64]]


def test_rows_of_a_free_number_are_not_bound_to_those_of_a_black_tile(engines: Engines, tmp_path: Path) -> None:
    pipeline = engines.builders(Settings(), "cpu", {})["detection"](end2end_manifest(tmp_path))
    assert not engines.describe()["squares-n"]["bound"]
    boxes = [found["box"] for found in pipeline.predict(PICTURE).fields["detections"]]
    assert sorted(boxes) == [[16, 32, 32, 48], [96, 16, 112, 32]]


def test_graphs_are_said_to_be_used_only_where_runs_are_bound(tmp_path: Path) -> None:
    bound, plain = (
        open_engine(make(tmp_path / make.__name__), GpuSettings(), "cpu", threads=1)
        for make in (squares_manifest, nms_manifest)
    )
    for engine, uses_graphs in ((bound, True), (plain, False)):
        engine.session.plan = GpuPlan(graphs=True)
        assert engine.describe()["graphs"] is uses_graphs
        engine.close()


def test_a_manifest_that_contradicts_its_graph_is_a_sentence(tmp_path: Path) -> None:
    manifest = squares_manifest(tmp_path)
    assert isinstance(manifest.input, ImageInput)
    wrong = replace(manifest, input=replace(manifest.input, tile_px=80))
    with pytest.raises(ManifestError, match="squares-n: the first batch of up to 4 tiles failed"):
        open_engine(wrong, GpuSettings(), "cpu", threads=1)


def test_a_check_runs_a_real_inference_unless_one_ended_just_now(engines: Engines, tmp_path: Path) -> None:
    opened(engines, tmp_path)
    _, batcher = engines.by_name["squares-n"]
    before = batcher.counts.tiles
    engines.check()
    assert batcher.counts.tiles == before
    batcher.ended -= 3600
    engines.check()
    assert batcher.counts.tiles == before + 1


def test_a_check_fails_once_the_device_is_lost_and_the_process_is_told_once(tmp_path: Path) -> None:
    told: list[DeviceLost] = []
    engines = Engines(GpuSettings(gpu_wait_ms=0), lost=told.append)
    pipeline = opened(engines, tmp_path)
    _, batcher = engines.by_name["squares-n"]
    runs = GatedRuns(squares_engine(tmp_path / "again"))
    runs.is_lost = True
    batcher._runs = runs
    with pytest.raises(DeviceLost):
        pipeline.predict(PICTURE)
    for _ in range(2):
        with pytest.raises(DeviceLost):
            engines.check()
    assert len(told) == 1
    engines.close()


def test_a_check_that_the_device_does_not_answer_times_out_on_one_thread(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_api.engines._CHECK_S", 0.01)
    opened(engines, tmp_path)
    _, batcher = engines.by_name["squares-n"]
    runs = GatedRuns(squares_engine(tmp_path / "again"), is_open=False)
    batcher._runs = runs
    batcher.ended -= 3600
    before = threading.active_count()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            engines.check()
    assert len(runs.batches) == 1
    assert threading.active_count() <= before + 1
    runs.gate.set()


class LostMemory(HostMemory):
    """A device that is lost."""

    def check(self) -> None:
        raise DeviceLost("The GPU failed and stays so.")


def pairs(engines: Engines, folder: Path) -> Session:
    """A tensor model whose runs fail unless they get pairs."""
    given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("given", "made"))
    graph = helper.make_graph([helper.make_node("Identity", ["given"], ["made"])], "pairs", [given], [made])
    manifest = read_manifest(tensor_model(folder, graph))
    return engines.builders(Settings(), "cpu", {})["tensor"](manifest).session


def test_where_only_tensor_models_are_served_a_check_asks_the_device_itself(tmp_path: Path) -> None:
    told: list[DeviceLost] = []
    engines = Engines(GpuSettings(), lost=told.append)
    pairs(engines, tmp_path)
    engines.check()
    assert told == []
    engines._memory = LostMemory()
    for _ in range(2):
        with pytest.raises(DeviceLost):
            engines.check()
    assert len(told) == 1
    engines.close()


def test_processes_that_read_pictures_are_started_for_the_first_model_of_pictures(
    engines: Engines, tmp_path: Path
) -> None:
    pairs(engines, tmp_path / "tensor")
    assert process_count(engines) == 0
    opened(engines, tmp_path / "pictures")
    assert process_count(engines) == Settings().slots


def process_count(engines: Engines) -> int:
    return len(engines.processes.pids) if engines.processes else 0


def test_a_check_fails_where_no_picture_can_be_read(
    engines: Engines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(engines, tmp_path)
    assert engines.processes
    engines.check()
    killed(engines.processes, signal.SIGKILL)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(OutOfMemory, match="No process that reads pictures starts"):
            engines.check()
    engines.check()


def test_a_tensor_run_that_fails_tells_whether_the_device_is_lost(tmp_path: Path) -> None:
    told: list[DeviceLost] = []
    engines = Engines(GpuSettings(), lost=told.append)
    session, triple = pairs(engines, tmp_path), {"given": np.zeros((1, 3), np.float32)}
    assert session.run({"given": np.ones((1, 2), np.float32)})[0].tolist() == [[1, 1]]
    with pytest.raises(Exception, match="Got: 3 Expected: 2"):
        session.run(triple)
    assert told == []
    engines._memory = LostMemory()
    with pytest.raises(DeviceLost):
        session.run(triple)
    assert len(told) == 1
    with pytest.raises(DeviceLost):
        engines.check()
    engines.close()


def test_closing_refuses_further_pictures(tmp_path: Path) -> None:
    engines = Engines(GpuSettings(gpu_wait_ms=0), lost=lambda _: None)
    pipeline = opened(engines, tmp_path)
    engines.close()
    with pytest.raises(Overloaded, match="stopping"):
        pipeline.predict(PICTURE)


def test_the_figures_of_batches_stand_in_the_metrics(engines: Engines, tmp_path: Path) -> None:
    pipeline = opened(engines, tmp_path)
    pipeline.predict(PICTURE)
    registry = CollectorRegistry()
    registry.register(GpuMetrics(engines))
    text = generate_latest(registry).decode()
    tiles = engines.by_name["squares-n"][1].counts.tiles
    assert f'inference_batch_tiles_sum{{model="squares-n"}} {tiles}.0' in text
    for name in ("batch_tiles_bucket", "batch_queue_seconds_count", "batch_padding_tiles_total", "batch_dropped_tiles"):
        assert f"inference_{name}" in text


def test_without_a_driver_the_metrics_go_without_the_gpu(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "inference.gpu"):
        gauges = gpu_gauges(0)()
    if not gauges:
        assert "no figures of a GPU in the metrics" in caplog.text
    else:
        assert gauges["inference_gpu_memory_bytes"][1] > 0
