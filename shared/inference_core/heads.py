"""What detection networks put out, read as boxes: each layout that a manifest may name, in tile pixels."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core import tiling
from inference_core.candidates import chosen
from inference_core.errors import ManifestError
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.tiling import Boxes

Floats = NDArray[np.float32]

_CANDIDATES_MAX = 1000
"""Boxes of one tile that enter suppression, best first: it keeps the worst picture's time bounded."""
_STRIDE_MIN = 8
"""Pixels of the finest cells of a YOLOX head; each further level doubles them, up to the model's stride."""
_LOG_SIDE_MAX = 12.0
"""Sides of a YOLOX box end at e^12 cells, more than any picture has: areas stay within float32."""
_OBJECTNESS = 4
"""Where it stands in a row of `yolov5` and `yolox`, behind the box."""


def is_final(layout: DetectionOutput) -> bool:
    """Whether the graph itself has removed the duplicates of each tile, or never makes any."""
    return layout.layout in ("end2end", "nms", "yolov7_nms")


def output_names(layout: DetectionOutput) -> list[str]:
    """The tensors of the graph that `packed` takes, in order."""
    return [name for name in (layout.name, layout.scores, layout.classes, layout.count) if name]


def packed(tensors: list[NDArray[Any]], layout: DetectionOutput, tiles: int) -> Floats:
    """The values of `output_names` for `tiles` tiles as the one float32 array that `candidates` takes, a row of its
    first axis a tile: boxes whose parts stand in several tensors, or tiles in one list, become rows as of `end2end`.
    """
    if layout.layout == "nms":
        return _side_by_side(tensors, counted=bool(layout.count))
    if layout.layout == "yolov7_nms":
        return _by_tile(tensors[0], tiles)
    output: Floats = np.asarray(tensors[0], np.float32)
    return output


def _side_by_side(tensors: list[NDArray[Any]], *, counted: bool) -> Floats:
    boxes, scores, classes = tensors[:3]
    rows = np.concatenate([boxes, scores[..., None], classes[..., None]], axis=2, dtype=np.float32)
    if counted:
        unused = np.arange(rows.shape[1]) >= tensors[3].reshape(-1, 1)
        rows[unused, 4] = 0
    return rows


def _by_tile(rows: NDArray[Any], tiles: int) -> Floats:
    """[M, 7] as [tiles, K, 6], K being the most boxes of one tile."""
    owners = rows[:, 0].astype(np.intp)
    counts = np.bincount(owners, minlength=tiles)
    places = np.arange(len(rows)) - (np.cumsum(counts) - counts)[np.sort(owners)]
    order = np.argsort(owners, kind="stable")
    table = np.zeros((tiles, counts.max(initial=0), 6), np.float32)
    table[owners[order], places] = rows[order][:, [1, 2, 3, 4, 6, 5]]
    return table


def candidates(output: Floats, layout: DetectionOutput, image: ImageInput) -> list[Boxes]:
    """The boxes above `score_min` of each tile, in tile pixels, duplicates suppressed. `output` is what `packed` gives.

    Raises ManifestError when its shape, or the index of a label in it, contradicts the manifest.
    """
    _check_shape(output, layout, image)
    match layout.layout:
        case "yolov8":
            return [_yolov8(tile, layout) for tile in output]
        case "yolov5":
            return [_with_objectness(tile, layout, None) for tile in output]
        case "yolox":
            grid = _grid(image.graph_px, image.stride)
            return [_with_objectness(tile, layout, grid) for tile in output]
        case "candidates":
            return chosen(output, score_min=layout.score_min, iou_max=layout.iou_max)
        case _:
            return [_finished(tile, layout) for tile in output]


def _check_shape(output: Floats, layout: DetectionOutput, image: ImageInput) -> None:
    classes = len(layout.labels)
    wanted: tuple[int | str, ...] = ("N", "K", 6)
    match layout.layout:
        case "yolov8":
            wanted = ("N", 4 + classes, "anchors")
        case "yolov5":
            wanted = ("N", "anchors", 5 + classes)
        case "yolox":
            wanted = ("N", len(_grid(image.graph_px, image.stride)), 5 + classes)
    fixed = [(axis, size) for axis, size in enumerate(wanted) if isinstance(size, int)]
    if output.ndim != len(wanted) or any(output.shape[axis] != size for axis, size in fixed):
        shape = ", ".join(map(str, wanted))
        raise ManifestError(f"The output has shape {output.shape}; {classes} labels need [{shape}].")


def _yolov8(output: Floats, layout: DetectionOutput) -> Boxes:
    scores = output[4:].max(axis=0)
    kept = _best(scores, layout.score_min)
    boxes = Boxes(_corners(output[:4, kept].T), scores[kept], output[4:, kept].argmax(axis=0))
    return tiling.suppress(boxes, iou_max=layout.iou_max)


def _with_objectness(output: Floats, layout: DetectionOutput, grid: Floats | None) -> Boxes:
    """Rows of `yolov5`, or with the `grid` of their cells (x, y, stride) those of `yolox`."""
    # No class score exceeds 1, so few anchors need theirs looked at.
    hopeful = np.flatnonzero(output[:, _OBJECTNESS] >= layout.score_min)
    rows = output[hopeful]
    scores = rows[:, _OBJECTNESS] * rows[:, _OBJECTNESS + 1 :].max(axis=1)
    kept = _best(scores, layout.score_min)
    boxes = rows[kept, :4]
    if grid is not None:
        cells, strides = grid[hopeful[kept], :2], grid[hopeful[kept], 2:]
        sides = np.exp(np.minimum(boxes[:, 2:], _LOG_SIDE_MAX))
        boxes = np.concatenate([boxes[:, :2] + cells, sides], axis=1) * strides
    found = Boxes(_corners(boxes), scores[kept], rows[kept, _OBJECTNESS + 1 :].argmax(axis=1))
    return tiling.suppress(found, iou_max=layout.iou_max)


def _finished(output: Floats, layout: DetectionOutput) -> Boxes:
    """Rows of `end2end`, final as they are."""
    kept = _best(output[:, 4], layout.score_min)
    labels = output[kept, 5].astype(np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < len(layout.labels):
        raise ManifestError(f"The output has a box of label {labels.max()}; the manifest names {len(layout.labels)}.")
    return Boxes(output[kept, :4], output[kept, 4], labels)


def _best(scores: Floats, score_min: float) -> NDArray[np.intp]:
    kept = np.flatnonzero(scores >= score_min)
    return kept[np.argsort(-scores[kept], kind="stable")[:_CANDIDATES_MAX]]


def _corners(boxes: Floats) -> Floats:
    """(cx, cy, w, h) as (x1, y1, x2, y2), both [K, 4]."""
    centres, halves = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


@cache
def _grid(graph_px: tuple[int, int], stride_max: int) -> Floats:
    """(x, y, stride) of every cell of a YOLOX head, float32 [anchors, 3]: the finest level first, each row by row."""
    levels = []
    stride = _STRIDE_MIN
    while stride <= stride_max:
        y, x = np.indices((graph_px[0] // stride, graph_px[1] // stride))
        levels.append(np.stack([x.ravel(), y.ravel(), np.full(x.size, stride)], axis=1))
        stride *= 2
    return np.concatenate(levels, dtype=np.float32)
