"""Engines: what of the device each model gets, readiness by a real inference, the figures, and the end."""

import hashlib
import logging
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from gpu_api.engine import open_engine
from gpu_api.engines import Engines
from gpu_api.metrics import GpuMetrics, gpu_gauges
from inference_core import heads
from inference_core.detection import DetectionPipeline
from inference_core.errors import DeviceLost, ManifestError, Overloaded
from inference_core.manifest import DetectionOutput, ImageInput, Manifest, read_manifest
from inference_core.registry import Pipeline
from inference_core.session import Session
from inference_core.settings import GpuSettings, Settings
from inference_http.service import builders
from onnx import TensorProto, helper, numpy_helper
from prometheus_client import CollectorRegistry, generate_latest

from tests.models import squares_picture
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


CORNERS = {"from0": [0], "from2": [2], "from4": [4], "from5": [5], "axis1": [1]}


def rewritten(
    folder: Path, nodes: list[onnx.NodeProto], numbers: dict[str, Any], shapes: dict[str, list[Any]]
) -> Manifest:
    """The tiny detector with `nodes` behind it and outputs of `shapes`: its boxes are corners [N, 16, 4] in `boxes_out`
    there, its scores [N, 1, 16] in `column`.
    """
    manifest = squares_manifest(folder)
    model = onnx.load_from_string(manifest.model_bytes)
    graph = model.graph
    for name, values in (CORNERS | numbers).items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "a_half"))
    graph.node.extend(
        [
            helper.make_node("Slice", ["output0", "from0", "from2", "axis1"], ["centres"]),
            helper.make_node("Slice", ["output0", "from2", "from4", "axis1"], ["sides"]),
            helper.make_node("Mul", ["sides", "a_half"], ["halves"]),
            helper.make_node("Sub", ["centres", "halves"], ["low"]),
            helper.make_node("Add", ["centres", "halves"], ["high"]),
            helper.make_node("Concat", ["low", "high"], ["corners"], axis=1),
            helper.make_node("Transpose", ["corners"], ["boxes_out"], perm=[0, 2, 1]),
            helper.make_node("Slice", ["output0", "from4", "from5", "axis1"], ["column"]),
            *nodes,
        ]
    )
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    data = model.SerializeToString()
    (folder / "squares-n" / "model.onnx").write_bytes(data)
    return replace(manifest, sha256=hashlib.sha256(data).hexdigest())


def nms_manifest(folder: Path) -> Manifest:
    """Boxes in three tensors, as graphs with suppression inside have them."""
    nodes = [
        helper.make_node("Squeeze", ["column", "axis1"], ["scores_out"]),
        helper.make_node("Sub", ["scores_out", "scores_out"], ["classes_out"]),
    ]
    shapes = {"boxes_out": ["n", 16, 4], "scores_out": ["n", 16], "classes_out": ["n", 16]}
    manifest = rewritten(folder, nodes, {}, shapes)
    assert isinstance(manifest.output, DetectionOutput)
    output = replace(manifest.output, name="boxes_out", layout="nms", scores="scores_out", classes="classes_out")
    return replace(manifest, output=output)


def suppressed_manifest(folder: Path) -> Manifest:
    """One list of the boxes of all tiles, as many as there are, by ONNX's own NonMaxSuppression."""
    numbers = {
        "most": np.array(100),
        "iou": np.float32(0.5),
        "least": np.float32(0.25),
        "parts": [1, 1, 1],
        "place": [0, 2],
    }
    nodes = [
        helper.make_node("NonMaxSuppression", ["boxes_out", "column", "most", "iou", "least"], ["chosen"]),
        helper.make_node("Split", ["chosen", "parts"], ["picture", "label", "cell"], axis=1),
        helper.make_node("Gather", ["chosen", "place"], ["places"], axis=1),
        helper.make_node("GatherND", ["boxes_out", "places"], ["found"]),
        helper.make_node("GatherND", ["column", "chosen"], ["likely"]),
        helper.make_node("Unsqueeze", ["likely", "axis1"], ["score"]),
        helper.make_node("Cast", ["picture"], ["picture_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["label"], ["label_float"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["picture_float", "found", "label_float", "score"], ["rows_out"], axis=1),
    ]
    manifest = rewritten(folder, nodes, numbers, {"rows_out": ["m", 7]})
    assert isinstance(manifest.output, DetectionOutput)
    return replace(manifest, output=replace(manifest.output, name="rows_out", layout="yolov7_nms"))


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
