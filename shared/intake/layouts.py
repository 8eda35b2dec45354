"""Which layout of boxes the outputs of a detector have, by their shapes and, where these leave two, by their values."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from inference_core.manifest import DetectionOutput, ImageInput
from numpy.typing import NDArray

from intake.errors import Refused
from intake.trial_run import Arrays

_LEVELS = ((8, 16, 32), (8, 16, 32, 64), (4, 8, 16, 32), (16, 32))
"""Strides of the levels that heads of the YOLO family stand on: the usual three, P6, P2, and the tiny ones."""
_ANCHORS_A_CELL = (1, 3)
"""YOLOv5 and YOLOv7 have three, those without anchor boxes one."""
_DECODED = 0.9
"""Correlation of the boxes' centres with those of their cells from which they are positions in the picture."""

Reading = tuple[DetectionOutput, ImageInput]
"""The layout, and the input as networks of that layout were trained to see pictures."""


def recognised_layout(outputs: Arrays, labels: tuple[str, ...], image: ImageInput) -> Reading | None:
    """The layout of `outputs`, one tile's; None for what is no detector. Raises Refused where `labels` (those that are
    known, or none) contradict it, or are needed to tell.
    """
    # YOLOv5 also puts out its three levels as they were, in five dimensions.
    arrays = {name: value for name, value in outputs.items() if isinstance(value, np.ndarray) and value.ndim < 5}
    if len(arrays) > 1:
        return _suppressed(arrays, labels, image)
    for name, value in arrays.items():
        if value.dtype.kind == "f" and value.ndim == 2 and value.shape[1] == 7 and _is_list_of_boxes(value):
            return DetectionOutput(name, "yolov7_nms", _needed(labels)), image
        if value.dtype.kind == "f" and value.ndim == 3 and len(value) == 1:
            return _one_array(name, value, labels, image)
    return None


def _one_array(name: str, value: NDArray[Any], labels: tuple[str, ...], image: ImageInput) -> Reading | None:
    rows, columns = value.shape[1:]
    by_column, by_row = _levels(columns, image.graph_px), _levels(rows, image.graph_px)
    if by_column and by_column[1] == 1 and rows > 4 and (by_row is None or columns >= rows):
        named = _counted(labels, rows - 4)
        return DetectionOutput(name, "yolov8", named), replace(image, stride=by_column[0][-1])
    if by_row is None:
        return (DetectionOutput(name, "end2end", _needed(labels)), image) if columns == 6 else None
    if columns < 6:
        return None
    if labels and columns == 4 + len(labels):
        raise Refused(
            f"The output has shape {list(value.shape)}, a YOLOv8 head on its side: transpose it to "
            f"[N, {columns}, {rows}] when exporting."
        )
    levels, anchors = by_row
    named = _counted(labels, columns - 5)
    if anchors == 3:
        return DetectionOutput(name, "yolov5", named), replace(image, stride=levels[-1])
    seen = replace(image, stride=levels[-1], scale=1.0, colour=_bgr(image))
    if _is_decoded(value[0, :, 0], levels, image.graph_px):
        if not labels:
            raise Refused(
                f"The output has shape {list(value.shape)}: {columns - 5} classes behind an objectness, or "
                f"{columns - 4} without one. Say which by --labels FILE, one label a line."
            )
        return DetectionOutput(name, "yolov5", named), seen
    return (DetectionOutput(name, "yolox", named), seen) if levels[0] == 8 else None


def _suppressed(arrays: Arrays, labels: tuple[str, ...], image: ImageInput) -> Reading | None:
    """Boxes, their scores and classes in tensors of their own, and perhaps how many are meant."""
    boxes = [name for name, value in arrays.items() if value.ndim == 3 and value.shape[2] == 4]
    if len(boxes) != 1:
        return None
    beside = [name for name, value in arrays.items() if value.shape == arrays[boxes[0]].shape[:2]]
    counts = [name for name, value in arrays.items() if name not in boxes and name not in beside]
    classes = [name for name in beside if arrays[name].dtype.kind == "i" or _is_called(name, "class", "label")]
    scores = [name for name in beside if name not in classes and arrays[name].dtype.kind == "f"]
    if len(scores) != 1 or len(classes) != 1 or any(arrays[name].size != 1 for name in counts) or len(counts) > 1:
        return None
    named = _needed(labels)
    count = counts[0] if counts else ""
    return DetectionOutput(boxes[0], "nms", named, scores=scores[0], classes=classes[0], count=count), image


def _is_called(name: str, *parts: str) -> bool:
    return any(part in name.lower() for part in parts)


def _is_list_of_boxes(rows: NDArray[Any]) -> bool:
    """Rows of tile, box, label, score; a network that sorts pictures into seven classes also answers [1, 7]."""
    whole = rows[:, [0, 5]]
    scores = rows[:, 6]
    return bool((whole == np.round(whole)).all() and (whole >= 0).all() and ((scores >= 0) & (scores <= 1)).all())


def _levels(anchors: int, graph_px: tuple[int, int]) -> tuple[tuple[int, ...], int] | None:
    """The strides and anchors a cell that add up to `anchors` in a tile."""
    high, wide = graph_px
    for count in _ANCHORS_A_CELL:
        for strides in _LEVELS:
            if anchors == count * sum(high // stride * (wide // stride) for stride in strides):
                return strides, count
    return None


def _is_decoded(x: NDArray[Any], strides: tuple[int, ...], graph_px: tuple[int, int]) -> bool:
    """Whether `x` [anchors] are positions in the picture, not offsets from their cells."""
    high, wide = graph_px
    cells = [np.tile((np.arange(wide // stride) + 0.5) * stride, high // stride) for stride in strides]
    centres, found = np.concatenate(cells), x.astype(np.float64)
    if not np.isfinite(found).all() or found.std() == 0:
        return False
    return bool(np.corrcoef(centres, found)[0, 1] > _DECODED)


def _bgr(image: ImageInput) -> Literal["grey", "bgr"]:
    return "grey" if image.colour == "grey" else "bgr"


def _counted(labels: tuple[str, ...], classes: int) -> tuple[str, ...]:
    """`labels`, or numbers in their place. Raises Refused when they are not `classes`."""
    if labels and len(labels) != classes:
        raise Refused(
            f"The model has {classes} classes, but there are {len(labels)} labels; give --labels FILE with one a line."
        )
    return labels or tuple(map(str, range(classes)))


def _needed(labels: tuple[str, ...]) -> tuple[str, ...]:
    if not labels:
        raise Refused("Neither shapes nor metadata say how many classes the model has; give --labels FILE, one a line.")
    return labels
