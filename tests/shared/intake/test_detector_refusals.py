"""A detector that cannot be served, or not as it is, is refused or warned about with the reason, and leaves nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.session import Session
from intake.add import Added, Request, add
from intake.errors import Refused
from intake.wish import Wish
from onnx import TensorProto
from PIL import Image

from tests import detectors
from tests.detectors import LABELS, SIDE_PX, TOP, ULTRALYTICS, Network, anchors, write, yolov8_head
from tests.models import encoded

NOISE = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)))
ROWS, ANCHORS = 4 + len(LABELS), anchors()
SHAPE = ["batch", ROWS, ANCHORS]


def added(path: Path, **wish: Any) -> Added:
    return add(Request(path, path.parent / "models", Wish(**wish)))


def refusal(path: Path, **wish: Any) -> str:
    before = {path.name for path in (path.parent / "models").glob("*")}
    with pytest.raises(Refused) as fault:
        added(path, **wish)
    left = {path.name for path in (path.parent / "models").glob("*")}
    assert left == before
    return str(fault.value)


def altered(path: Path, factor: Any, offset: Any = 0.0, **more: Any) -> Path:
    """A YOLOv8 export whose output is multiplied and shifted row by row."""
    net = Network()
    head = yolov8_head(net, "images")
    scaled = net.node("Mul", head, net.constant(np.reshape(factor, (-1, 1))))
    shifted = net.node("Add", scaled, net.constant(np.reshape(offset, (-1, 1))))
    return write(path, net, {"output0": (shifted, SHAPE)}, **({"metadata": ULTRALYTICS} | more))


def per_row(box: float, score: float) -> list[float]:
    return [box] * 4 + [score] * len(LABELS)


@pytest.mark.parametrize(
    ("factor", "offset", "complaint"),
    [
        (per_row(1, 0), 0.0, "scores that are all exactly 0. An int8 export does this"),
        (per_row(1, 40), 0.0, "they must lie within 0 to 1"),
        (per_row(1, 1), per_row(0, -0.5), "they must lie within 0 to 1"),
        (per_row(1, np.nan), 0.0, "values that are no numbers"),
        (per_row(1 / SIDE_PX, 1), 0.0, "boxes are fractions of the picture"),
    ],
)
def test_an_output_that_cannot_be_right_is_refused(tmp_path: Path, factor: Any, offset: Any, complaint: str) -> None:
    said = refusal(altered(tmp_path / "m.onnx", factor, offset))
    assert complaint in said
    assert said.endswith("--task tensor.")


def test_an_end2end_export_with_boxes_and_no_scores_is_refused(tmp_path: Path) -> None:
    net = Network()
    rows = detectors.end2end_rows(net, yolov8_head(net, "images"))
    silent = net.node("Mul", rows, net.constant([1, 1, 1, 1, 0, 1]))
    path = write(tmp_path / "m.onnx", net, {"output0": (silent, ["batch", TOP, 6])}, metadata=ULTRALYTICS)
    assert "all exactly 0" in refusal(path)


def test_an_end2end_export_that_finds_nothing_is_added_with_a_warning(tmp_path: Path) -> None:
    net = Network()
    rows = detectors.end2end_rows(net, yolov8_head(net, "images"))
    nothing = net.node("Mul", rows, net.constant(0.0))
    path = write(tmp_path / "m.onnx", net, {"output0": (nothing, ["batch", TOP, 6])}, metadata=ULTRALYTICS)
    (warning,) = added(path).found.warnings
    assert "found nothing in a made-up picture" in warning


@pytest.mark.parametrize("factor", [0.5, 2.0, -1.0])
def test_labels_that_are_none_of_those_named_are_refused(tmp_path: Path, factor: float) -> None:
    net = Network()
    rows = detectors.end2end_rows(net, yolov8_head(net, "images"))
    shifted = net.node("Add", rows, net.constant([0, 0, 0, 0, 0, 1]))
    other = net.node("Mul", shifted, net.constant([1, 1, 1, 1, 1, factor]))
    path = write(tmp_path / "m.onnx", net, {"output0": (other, ["batch", TOP, 6])}, metadata=ULTRALYTICS)
    assert "It answers the label" in refusal(path)


def test_another_number_of_labels_is_refused(tmp_path: Path) -> None:
    path = detectors.yolov8(tmp_path / "m.onnx")
    assert "3 classes, but there are 2 labels" in refusal(path, labels=("a", "b"))
    wrong = detectors.yolov8(tmp_path / "n.onnx", metadata=ULTRALYTICS | {"names": "{0: 'one'}"})
    assert "3 classes, but there are 1 labels" in refusal(wrong)
    assert "there are 1 labels" in refusal(detectors.yolox(tmp_path / "x.onnx"), labels=("one",))
    assert added(path, labels=("a", "b", "c")).found.output == DetectionOutput("output0", "yolov8", ("a", "b", "c"))


def test_labels_that_nobody_knows_are_numbers_with_a_warning(tmp_path: Path) -> None:
    model = added(detectors.yolov8(tmp_path / "m.onnx", metadata={}))
    assert getattr(model.manifest.output, "labels", None) == ("0", "1", "2")
    assert "Its 3 labels are not known" in model.found.warnings[0]
    assert "--labels" in refusal(detectors.end2end(tmp_path / "e.onnx", metadata={}))
    assert "--labels" in refusal(detectors.nms(tmp_path / "n.onnx"))


def test_a_batch_fixed_at_one_runs_tile_by_tile(tmp_path: Path) -> None:
    model = added(detectors.yolov8(tmp_path / "m.onnx", batch=1))
    (warning,) = model.found.warnings
    assert "batch is fixed at 1" in warning
    assert isinstance(model.manifest.input, ImageInput)
    assert model.manifest.input.tile_batch == 1
    session = Session(model.manifest.model_bytes, threads=1)
    pipeline = DetectionPipeline(model.manifest, session, pixels_max=1_000_000)
    large = encoded(Image.new("RGB", (3 * SIDE_PX, 2 * SIDE_PX), "white"))
    assert pipeline.predict(large).fields["image"]["width"] == 3 * SIDE_PX


def test_a_batch_that_is_free_only_in_name_runs_tile_by_tile(tmp_path: Path) -> None:
    net = Network()
    head = yolov8_head(net, "images")
    fixed = net.node("Reshape", head, net.constant([1, ROWS, ANCHORS], np.int64))
    path = write(tmp_path / "m.onnx", net, {"output0": (fixed, SHAPE)}, metadata=ULTRALYTICS)
    model = added(path)
    (warning,) = model.found.warnings
    assert "Tiles run one by one" in warning
    assert getattr(model.manifest.input, "tile_batch", None) == 1


def test_a_model_that_mixes_its_batch_runs_tile_by_tile(tmp_path: Path) -> None:
    net = Network()
    mixed = net.node("Mul", net.node("Add", "images", net.node("ReduceMean", "images", axes=[0])), net.constant(0.5))
    path = write(tmp_path / "m.onnx", net, {"output0": (yolov8_head(net, mixed), SHAPE)}, metadata=ULTRALYTICS)
    model = added(path)
    (warning,) = model.found.warnings
    assert "otherwise to a picture among others" in warning
    assert getattr(model.manifest.input, "tile_batch", None) == 1


def test_a_batch_fixed_at_more_is_refused(tmp_path: Path) -> None:
    assert "takes exactly 4 pictures at a time" in refusal(detectors.yolov8(tmp_path / "m.onnx", batch=4))


def test_a_free_size_is_that_of_the_metadata_else_640(tmp_path: Path) -> None:
    model = added(detectors.yolov8(tmp_path / "m.onnx", sides=("h", "w")))
    assert getattr(model.manifest.input, "tile_px", None) == SIDE_PX
    assert model.found.warnings == []


def test_half_precision_is_served_and_brain_floats_are_refused(tmp_path: Path) -> None:
    def cast(kind: int, name: str, **more: Any) -> Path:
        net = Network()
        head = yolov8_head(net, net.node("Cast", "images", to=TensorProto.FLOAT))
        outputs: dict[str, Any] = {"output0": (net.node("Cast", head, to=kind), SHAPE)}
        return write(tmp_path / name, net, outputs, metadata=ULTRALYTICS, kinds={"output0": kind}, **more)

    half = added(cast(TensorProto.FLOAT16, "half.onnx", given=TensorProto.FLOAT16))
    assert getattr(half.manifest.input, "dtype", None) == "float16"
    session = Session(half.manifest.model_bytes, threads=1)
    assert DetectionPipeline(half.manifest, session, pixels_max=1_000_000).predict(NOISE).fields["detections"]
    assert "Output 'output0' is a tensor(bfloat16)" in refusal(cast(TensorProto.BFLOAT16, "brain.onnx"), task="tensor")


def test_a_head_on_its_side_is_refused_where_the_labels_tell(tmp_path: Path) -> None:
    net = Network()
    turned = net.node("Transpose", yolov8_head(net, "images"), perm=[0, 2, 1])
    path = write(tmp_path / "m.onnx", net, {"output0": (turned, ["batch", ANCHORS, ROWS])}, metadata=ULTRALYTICS)
    assert "a YOLOv8 head on its side: transpose it" in refusal(path)


def decoded(path: Path) -> Path:
    """A YOLOX export with the decoding inside: positions and sides in pixels."""
    net = Network()
    head = detectors.with_objectness(net, yolov8_head(net, "images"))
    return write(path, net, {"output": (head, ["batch", ANCHORS, 5 + len(LABELS)])})


def test_a_decoded_yolox_head_needs_its_labels_to_be_told_from_yolov8(tmp_path: Path) -> None:
    path = decoded(tmp_path / "m.onnx")
    assert "3 classes behind an objectness, or 4 without one. Say which by --labels" in refusal(path)
    model = added(path, labels=LABELS)
    assert model.manifest.output == DetectionOutput("output", "yolov5", LABELS)
    assert getattr(model.manifest.input, "colour", None) == "bgr"
    (warning,) = model.found.warnings
    assert "taken for a decoded YOLOX" in warning


def test_other_tasks_of_the_exporter_are_tensors(tmp_path: Path) -> None:
    path = detectors.yolov8(tmp_path / "m.onnx", metadata=ULTRALYTICS | {"task": "segment"})
    assert "not those of a detection model" in refusal(path, task="detection")
    assert added(path).manifest.task == "tensor"


def test_a_network_of_pictures_that_is_no_detector_is_a_tensor_model(tmp_path: Path) -> None:
    for classes in (5, 7):  # a row of 7 is also a box of YOLOv7
        net = Network()
        pooled = net.node("ReduceMean", net.levels("images", 3)[0], axes=[2, 3], keepdims=0)
        logits = net.node("MatMul", pooled, net.constant(net.random.normal(0, 3, (detectors.WIDTH, classes))))
        path = write(tmp_path / f"m{classes}.onnx", net, {"logits": (logits, ["batch", classes])})
        assert added(path).manifest.task == "tensor"
