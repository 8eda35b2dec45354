"""Detection heads decoded from their papers' definitions in plain loops over lists: slow, and independent of ours."""

import math
from collections.abc import Sequence
from typing import NamedTuple

Row = Sequence[float]


class Found(NamedTuple):
    """A box (x1, y1, x2, y2), its score and the index of its label."""

    box: tuple[float, ...]
    score: float
    label: int


def decode_yolov8(rows: Sequence[Row], *, score_min: float, iou_max: float) -> list[Found]:
    """`rows` [4 + classes][anchors]: centre, sides, then a score a class."""
    found = []
    for anchor in range(len(rows[0])):
        values = [row[anchor] for row in rows]
        label, score = _best(values[4:])
        found.append(Found(_box(*values[:4]), score, label))
    return suppressed([one for one in found if one.score >= score_min], iou_max)


def decode_yolov5(rows: Sequence[Row], *, score_min: float, iou_max: float) -> list[Found]:
    """`rows` [anchors][5 + classes]: centre, sides, objectness, then the probability of each class of an object."""
    found = []
    for row in rows:
        label, score = _best(row[5:])
        found.append(Found(_box(*row[:4]), score * row[4], label))
    return suppressed([one for one in found if one.score >= score_min], iou_max)


def decode_yolox(rows: Sequence[Row], *, sides: tuple[int, int], score_min: float, iou_max: float) -> list[Found]:
    """As `decode_yolov5`, after the box of each row was placed from the corner of its cell in cells. `sides`
    are the height and width of the picture.
    """
    decoded = []
    remaining = iter(rows)
    for stride in (8, 16, 32):
        for y in range(sides[0] // stride):
            for x in range(sides[1] // stride):
                dx, dy, wide, high, *scores = next(remaining)
                centre = ((x + dx) * stride, (y + dy) * stride)
                decoded.append([*centre, math.exp(wide) * stride, math.exp(high) * stride, *scores])
    assert next(remaining, None) is None
    return decode_yolov5(decoded, score_min=score_min, iou_max=iou_max)


def suppressed(found: list[Found], iou_max: float) -> list[Found]:
    """Greedy suppression within each label, best score first."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda one: -one.score):
        if all(other.label != one.label or iou(other.box, one.box) <= iou_max for other in kept):
            kept.append(one)
    return kept


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = wide * high
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def _best(scores: Row) -> tuple[int, float]:
    label = max(range(len(scores)), key=lambda index: scores[index])
    return label, scores[label]


def _box(x: float, y: float, wide: float, high: float) -> tuple[float, ...]:
    return (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)
