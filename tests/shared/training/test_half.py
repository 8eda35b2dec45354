"""The float16 variant answers as the float32 one does, and is served like any model."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from inference_core.detection import DetectionPipeline
from inference_core.manifest import read_manifest
from inference_core.session import Session
from onnx import TensorProto
from training.detector import half

from tests.conftest import PROJECT

FLOAT32 = PROJECT / "shared" / "models" / "board-defects-n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models") / "board-defects-n-fp16"
    half.main(["--model", str(FLOAT32), "--out", str(made)])
    return made


def types_of(path: Path, operator: str) -> set[int]:
    """The types of the weights of all nodes of one kind."""
    graph = onnx.load(path).graph
    weights = {value.name: value.data_type for value in graph.initializer}
    return {weights[name] for node in graph.node if node.op_type == operator for name in node.input if name in weights}


def test_it_finds_what_the_float32_model_finds(folder: Path) -> None:
    answers = []
    for each in (FLOAT32, folder):
        manifest = read_manifest(each)
        pipeline = DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1_000_000)
        answers.append(pipeline.predict((each / "golden.jpg").read_bytes()).fields["detections"])
    wanted, found = answers
    assert [one["label"] for one in found] == [one["label"] for one in wanted]
    assert len(wanted) > 3
    tolerance = json.loads((folder / "golden.json").read_text())["tolerance"]
    for one, other in zip(wanted, found, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=tolerance["score"])
        np.testing.assert_allclose(one["box"], other["box"], atol=tolerance["box_px"])
    assert answers[0] != answers[1]


def test_convolutions_are_float16_pixels_and_boxes_are_not(folder: Path) -> None:
    assert types_of(folder / "model.onnx", "Conv") == {TensorProto.FLOAT16}
    graph = onnx.load(folder / "model.onnx").graph
    types = [value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)]
    assert types == [TensorProto.UINT8, TensorProto.FLOAT]
    assert (folder / "model.onnx").stat().st_size < 0.6 * (FLOAT32 / "model.onnx").stat().st_size


def test_its_manifest_is_another_variants_and_claims_no_accuracy(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert (manifest.name, manifest.family, manifest.variant) == ("board-defects-n-fp16", "board-defects", "n-fp16")
    assert manifest.accuracy is None
    assert "float16" in manifest.source
    assert manifest.output == read_manifest(FLOAT32).output
    assert manifest.model_bytes


def test_a_model_that_float16_changes_too_much_is_not_left_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half, "_GOLDEN_TOLERANCE", {"score": 1e-9, "box_px": 1e-9})
    with pytest.raises(SystemExit, match="answers too differently"):
        half.main(["--model", str(FLOAT32), "--out", str(tmp_path / "out")])
    assert list((tmp_path / "out").iterdir()) == []
