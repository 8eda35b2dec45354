"""Detectors as others export them, from the file to boxes, against plain decoders of their papers' definitions."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from inference_core import heads
from inference_core.detection import DetectionPipeline
from inference_core.manifest import DetectionOutput, ImageInput, Manifest
from inference_core.session import Session
from intake.add import Added, Request, add
from intake.wish import Wish
from onnx import TensorProto
from PIL import Image

from tests import detectors
from tests.decoders import Found, decode_yolov5, decode_yolov8, decode_yolox, suppressed
from tests.detectors import LABELS, SIDE_PX, ULTRALYTICS, Network, anchors, write, yolov8_head
from tests.models import encoded

LIMITS = {"score_min": DetectionOutput.score_min, "iou_max": DetectionOutput.iou_max}
SQUARE = (SIDE_PX, SIDE_PX)


def picture(seed: int = 0, width: int = 120, height: int = 90) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST)


def added(path: Path, labels: tuple[str, ...] = (), **more: Any) -> Added:
    return add(Request(path, path.parent / "models", Wish(labels=labels, **more)))


def served(manifest: Manifest, image: Image.Image) -> list[dict[str, Any]]:
    session = Session(manifest.model_bytes, threads=1, data_folder=manifest.data_folder)
    pipeline = DetectionPipeline(manifest, session, pixels_max=1_000_000)
    detections: list[dict[str, Any]] = pipeline.predict(encoded(image)).fields["detections"]
    return detections


def run_plainly(
    path: Path, image: Image.Image, *, sides: tuple[int, int] = SQUARE, bgr: bool = False, scale: float = 1 / 255
) -> dict[str, Any]:
    """The file's own answer to the picture in the corner of a grey one, as its authors preprocess."""
    canvas = np.full((*sides, 3), 114, np.float64)
    canvas[: image.height, : image.width] = np.asarray(image)
    if bgr:
        canvas = canvas[..., ::-1]
    tensor = (canvas.transpose(2, 0, 1)[None] * scale).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": tensor}), strict=True))


def inside(found: list[Found], image: Image.Image) -> list[Found]:
    """Boxes cut to the picture; those that lie outside are none."""
    cut = [
        Found((max(x1, 0), max(y1, 0), min(x2, image.width), min(y2, image.height)), score, label)
        for (x1, y1, x2, y2), score, label in found
    ]
    return [one for one in cut if one.box[0] < one.box[2] and one.box[1] < one.box[3]]


def assert_same(model: Added, image: Image.Image, wanted: list[Found]) -> None:
    detections = served(model.manifest, image)
    wanted = sorted(inside(wanted, image), key=lambda one: -one.score)
    assert isinstance(model.manifest.output, DetectionOutput)
    if not heads.is_final(model.manifest.output):
        # A box that was cut to the picture may overlap another more than before.
        wanted = suppressed(wanted, LIMITS["iou_max"])
    assert len(wanted) > 3
    assert [d["label"] for d in detections] == [LABELS[one.label] for one in wanted]
    for detection, one in zip(detections, wanted, strict=True):
        assert detection["score"] == pytest.approx(one.score, abs=1e-3)
        assert detection["box"] == pytest.approx(one.box, abs=0.05)


@pytest.mark.parametrize("yolo11", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_yolov8_and_yolo11_exports_are_served_as_they_say(tmp_path: Path, seed: int, yolo11: bool) -> None:
    path = detectors.yolov8(tmp_path / "yolo.onnx", Network(seed), yolo11=yolo11)
    model = added(path)
    assert model.found.warnings == []
    assert model.manifest.input == ImageInput(
        "images", "nchw", "float32", "rgb", tile_px=SIDE_PX, scale=1 / 255, overlap_px=19
    )
    assert model.manifest.output == DetectionOutput("output0", "yolov8", LABELS)
    assert model.manifest.licence.startswith("AGPL-3.0")
    rows = run_plainly(path, picture(seed))["output0"][0].tolist()
    assert_same(model, picture(seed), decode_yolov8(rows, **LIMITS))


@pytest.mark.parametrize("seed", range(3))
def test_yolox_exports_see_bgr_bytes_and_are_decoded_by_their_grid(tmp_path: Path, seed: int) -> None:
    path = detectors.yolox(tmp_path / "yolox.onnx", Network(seed))
    model = added(path, LABELS)
    assert model.found.warnings == []
    assert isinstance(model.manifest.input, ImageInput)
    assert (model.manifest.input.colour, model.manifest.input.scale) == ("bgr", 1.0)
    assert model.manifest.output == DetectionOutput("output", "yolox", LABELS)
    rows = run_plainly(path, picture(seed), bgr=True, scale=1.0)["output"][0].tolist()
    assert_same(model, picture(seed), decode_yolox(rows, sides=SQUARE, **LIMITS))


def test_end2end_exports_are_served_row_by_row(tmp_path: Path) -> None:
    path = detectors.end2end(tmp_path / "yolo26.onnx")
    model = added(path)
    assert model.found.warnings == []
    assert model.manifest.output == DetectionOutput("output0", "end2end", LABELS)
    rows = run_plainly(path, picture())["output0"][0].tolist()
    wanted = [Found(tuple(row[:4]), row[4], int(row[5])) for row in rows if row[4] >= LIMITS["score_min"]]
    assert_same(model, picture(), wanted)


def test_exports_with_the_suppression_in_four_tensors_are_served(tmp_path: Path) -> None:
    path = detectors.nms(tmp_path / "nms.onnx")
    model = added(path, LABELS)
    assert model.manifest.output == DetectionOutput(
        "det_boxes", "nms", LABELS, scores="det_scores", classes="det_classes", count="num_dets"
    )
    answer = run_plainly(path, picture())
    count = int(answer["num_dets"][0, 0])
    wanted = [
        Found(tuple(box), score, label)
        for box, score, label in zip(
            answer["det_boxes"][0].tolist(),
            answer["det_scores"][0].tolist(),
            answer["det_classes"][0].tolist(),
            strict=True,
        )
    ][:count]
    assert_same(model, picture(), wanted)


def test_exports_with_the_suppression_in_one_list_are_served(tmp_path: Path) -> None:
    path = detectors.yolov7_nms(tmp_path / "yolov7.onnx")
    model = added(path, LABELS)
    assert model.manifest.output == DetectionOutput("output", "yolov7_nms", LABELS)
    rows = run_plainly(path, picture())["output"].tolist()
    wanted = [Found(tuple(row[1:5]), row[6], int(row[5])) for row in rows]
    assert_same(model, picture(), sorted(wanted, key=lambda one: -one.score))


@pytest.mark.parametrize("sides", [(64, 128), (160, 96)])
def test_a_graph_that_takes_no_square_gets_padded_tiles(tmp_path: Path, sides: tuple[int, int]) -> None:
    image = picture(1, 60, 54)
    yolov8 = added(detectors.yolov8(tmp_path / "yolo.onnx", Network(1, sides)))
    yolox = added(detectors.yolox(tmp_path / "yolox.onnx", Network(1, sides)), LABELS)
    for model in (yolov8, yolox):
        (warning,) = model.found.warnings
        assert f"no square but {sides[1]} x {sides[0]} px" in warning
        assert isinstance(model.manifest.input, ImageInput)
        assert (model.manifest.input.tile_px, model.manifest.input.graph_px) == (min(sides), sides)
    rows = run_plainly(tmp_path / "yolo.onnx", image, sides=sides)["output0"][0].tolist()
    assert_same(yolov8, image, decode_yolov8(rows, **LIMITS))
    rows = run_plainly(tmp_path / "yolox.onnx", image, sides=sides, bgr=True, scale=1.0)["output"][0].tolist()
    assert_same(yolox, image, decode_yolox(rows, sides=sides, **LIMITS))


def test_yolov5_exports_are_served_without_their_raw_levels(tmp_path: Path) -> None:
    path = detectors.yolov5(tmp_path / "yolov5.onnx")
    model = added(path)
    assert model.found.warnings == []
    assert model.manifest.output == DetectionOutput("output0", "yolov5", LABELS)
    assert isinstance(model.manifest.input, ImageInput)
    assert (model.manifest.input.colour, model.manifest.input.scale) == ("rgb", 1 / 255)
    rows = run_plainly(path, picture())["output0"][0].tolist()
    assert_same(model, picture(), decode_yolov5(rows, **LIMITS))


def test_pictures_of_bytes_whose_channels_come_last_are_given_so(tmp_path: Path) -> None:
    net = Network()
    scaled = net.node("Div", net.node("Cast", "images", to=TensorProto.FLOAT), net.constant(255))
    head = yolov8_head(net, net.node("Transpose", scaled, perm=[0, 3, 1, 2]))
    shapes: dict[str, Any] = {"shape": ["batch", *SQUARE, 3], "given": TensorProto.UINT8}
    outputs = {"output0": (head, ["batch", 4 + len(LABELS), anchors()])}
    model = added(write(tmp_path / "last.onnx", net, outputs, metadata=ULTRALYTICS, **shapes))
    assert isinstance(model.manifest.input, ImageInput)
    assert (model.manifest.input.layout, model.manifest.input.dtype) == ("nhwc", "uint8")
    rows = run_plainly(detectors.yolov8(tmp_path / "first.onnx"), picture())["output0"][0].tolist()
    assert_same(model, picture(), decode_yolov8(rows, **LIMITS))


def test_one_channel_is_grey(tmp_path: Path) -> None:
    net = Network()
    head = yolov8_head(net, net.node("Concat", "images", "images", "images", axis=1))
    outputs = {"output0": (head, ["batch", 4 + len(LABELS), anchors()])}
    model = added(write(tmp_path / "grey.onnx", net, outputs, metadata=ULTRALYTICS, shape=["batch", 1, *SQUARE]))
    assert getattr(model.manifest.input, "colour", None) == "grey"
    grey = picture().convert("L")
    threefold = grey.convert("RGB")
    rows = run_plainly(detectors.yolov8(tmp_path / "rgb.onnx"), threefold)["output0"][0].tolist()
    assert_same(model, grey, decode_yolov8(rows, **LIMITS))
