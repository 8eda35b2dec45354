"""Each layout against its definition, written out in plain loops; what contradicts the manifest is refused."""

from typing import Any

import numpy as np
import pytest
from inference_core.errors import ManifestError
from inference_core.heads import candidates, output_names, packed
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.tiling import Boxes
from numpy.typing import NDArray

from tests.decoders import Found, decode_yolov5, decode_yolov8, decode_yolox

LABELS = ("a", "b", "c")
IMAGE = ImageInput("images", "nchw", "float32", "rgb", tile_px=64)
ANCHORS = 8 * 8 + 4 * 4 + 2 * 2


def layout(kind: Any, **more: str) -> DetectionOutput:
    return DetectionOutput("output0", kind, LABELS, score_min=0.3, iou_max=0.5, **more)


def as_found(boxes: Boxes) -> list[Found]:
    return [
        Found(tuple(box), score, label)
        for box, score, label in zip(boxes.xyxy.tolist(), boxes.scores.tolist(), boxes.labels.tolist(), strict=True)
    ]


def assert_same(boxes: Boxes, wanted: list[Found]) -> None:
    found = as_found(boxes)
    assert len(found) == len(wanted) > 0
    for one, other in zip(found, wanted, strict=True):
        assert one.label == other.label
        assert one.score == pytest.approx(other.score, abs=1e-6)
        assert one.box == pytest.approx(other.box, abs=1e-3)


def boxes_and_scores(seed: int, columns: int) -> NDArray[np.float32]:
    """Boxes of 4 to 24 px all over a tile, then `columns` scores of which few are high: [anchors, 4 + columns]."""
    random = np.random.default_rng(seed)
    boxes = np.concatenate([random.uniform(0, 64, (ANCHORS, 2)), random.uniform(4, 24, (ANCHORS, 2))], axis=1)
    return np.concatenate([boxes, random.beta(0.5, 1.0, (ANCHORS, columns))], axis=1).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
def test_yolov8_is_decoded_by_its_definition(seed: int) -> None:
    output = np.stack([boxes_and_scores(seed, 3).T, boxes_and_scores(seed + 10, 3).T])
    for tile, found in zip(output, candidates(output, layout("yolov8"), IMAGE), strict=True):
        assert_same(found, decode_yolov8(tile.tolist(), score_min=0.3, iou_max=0.5))


@pytest.mark.parametrize("seed", range(4))
def test_yolov5_is_decoded_by_its_definition(seed: int) -> None:
    output = np.stack([boxes_and_scores(seed, 4), boxes_and_scores(seed + 10, 4)])
    for tile, found in zip(output, candidates(output, layout("yolov5"), IMAGE), strict=True):
        assert_same(found, decode_yolov5(tile.tolist(), score_min=0.3, iou_max=0.5))


@pytest.mark.parametrize("seed", range(4))
def test_yolox_is_decoded_by_its_definition(seed: int) -> None:
    output = boxes_and_scores(seed, 4)[None]
    output[0, :, :4] = np.random.default_rng(seed).normal(0, 0.6, (ANCHORS, 4))
    (found,) = candidates(output, layout("yolox"), IMAGE)
    assert_same(found, decode_yolox(output[0].tolist(), sides=(64, 64), score_min=0.3, iou_max=0.5))


def test_a_yolox_box_without_end_covers_the_picture_and_is_no_error() -> None:
    output = np.zeros((1, ANCHORS, 8), np.float32)
    output[0, 3] = [0, 0, 1000, 1000, 1, 1, 0, 0]
    (found,) = candidates(output, layout("yolox"), IMAGE)
    ((x1, y1, x2, y2),) = found.xyxy.tolist()
    assert x1 < 0
    assert y1 < 0
    assert min(x2, y2) > 100_000
    assert np.isfinite(found.xyxy).all()


def test_rows_of_end2end_are_taken_as_they_are_and_unused_ones_left() -> None:
    output = np.zeros((2, 4, 6), np.float32)
    output[0, 0] = [1, 2, 30, 40, 0.75, 2]
    output[0, 1] = [2, 2, 30, 40, 0.5, 2]  # the model left it in: it is not ours to remove
    output[0, 2] = [5, 5, 9, 9, 0.29, 1]  # below the least score
    first, second = candidates(output, layout("end2end"), IMAGE)
    assert as_found(first) == [
        Found((1, 2, 30, 40), 0.75, 2),
        Found((2, 2, 30, 40), 0.5, 2),
    ]
    assert len(second) == 0


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_the_manifest_does_not_name_is_refused(label: int) -> None:
    output = np.array([[[1, 2, 30, 40, 0.9, label]]], np.float32)
    with pytest.raises(ManifestError, match="the manifest names 3"):
        candidates(output, layout("end2end"), IMAGE)


@pytest.mark.parametrize("counted", [True, False])
def test_boxes_in_several_tensors_become_rows(counted: bool) -> None:
    nms = layout("nms", scores="scores", classes="classes", count="count" if counted else "")
    assert output_names(nms) == ["output0", "scores", "classes", *(["count"] if counted else [])]
    boxes = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    scores = np.full((2, 3), 0.5, np.float16)
    classes = np.array([[0, 1, 2], [2, 1, 0]], np.int32)
    tensors: list[NDArray[Any]] = [boxes, scores, classes, np.array([[2], [0]], np.int32)]
    output = packed(tensors[: 4 if counted else 3], nms, 2)
    assert output.dtype == np.float32
    first, second = candidates(output, nms, IMAGE)
    assert (len(first), len(second)) == ((2, 0) if counted else (3, 3))
    assert as_found(first)[1] == Found((4, 5, 6, 7), 0.5, 1)


def test_boxes_of_all_tiles_in_one_list_go_to_their_tiles() -> None:
    rows = np.array(
        [[2, 1, 2, 3, 4, 1, 0.9], [0, 5, 6, 7, 8, 0, 0.75], [2, 9, 9, 12, 12, 2, 0.7]],
        np.float32,
    )
    yolov7 = layout("yolov7_nms")
    found = candidates(packed([rows], yolov7, 4), yolov7, IMAGE)
    assert [len(boxes) for boxes in found] == [1, 0, 2, 0]
    assert as_found(found[0]) == [Found((5, 6, 7, 8), 0.75, 0)]
    assert [label for _, _, label in as_found(found[2])] == [1, 2]
    assert [len(boxes) for boxes in candidates(packed([rows[:0]], yolov7, 2), yolov7, IMAGE)] == [0, 0]


def test_half_precision_is_served_as_single() -> None:
    output = packed([np.full((1, 7, 3), 0.5, np.float16)], layout("yolov8"), 1)
    assert output.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "shape", "wanted"),
    [
        ("yolov8", (1, 8, 84), "[N, 7, anchors]"),
        ("yolov8", (1, 7), "[N, 7, anchors]"),
        ("yolov5", (1, 84, 7), "[N, anchors, 8]"),
        ("yolox", (1, 83, 8), "[N, 84, 8]"),
        ("end2end", (1, 300, 7), "[N, K, 6]"),
    ],
)
def test_an_output_of_another_shape_is_refused(kind: str, shape: tuple[int, ...], wanted: str) -> None:
    with pytest.raises(ManifestError) as fault:
        candidates(np.zeros(shape, np.float32), layout(kind), IMAGE)
    assert str(fault.value) == f"The output has shape {shape}; 3 labels need {wanted}."
