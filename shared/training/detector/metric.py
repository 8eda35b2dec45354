"""Mean average precision at an overlap of 0.5, for watching a training.

The accuracy that a manifest states comes from the evaluation of the served pipeline, not from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.detector.reference import Detections, overlaps


@dataclass(frozen=True)
class Truth:
    """What a picture holds: boxes float32[K, 4] xyxy pixels, labels int64[K]."""

    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def mean_average_precision(
    found: list[Detections], truths: list[Truth], labels: int, overlap: float = 0.5
) -> tuple[float, list[float]]:
    """The mean over labels that occur, and the value of each label (nan where none occurs)."""
    values = [_average_precision(found, truths, label, overlap) for label in range(labels)]
    return float(np.nanmean(values)), values


def _average_precision(found: list[Detections], truths: list[Truth], label: int, overlap: float) -> float:
    wanted = sum(int((truth.labels == label).sum()) for truth in truths)
    if wanted == 0:
        return float("nan")
    scores: list[NDArray[np.float32]] = []
    hits: list[NDArray[np.bool_]] = []
    for detections, truth in zip(found, truths, strict=True):
        mine = detections.labels == label
        scores.append(detections.scores[mine])
        hits.append(_matches(detections.boxes[mine], truth.boxes[truth.labels == label], overlap))
    order = np.argsort(-np.concatenate(scores), kind="stable")
    right = np.concatenate(hits)[order].cumsum()
    recall = right / wanted
    precision = right / (np.arange(right.size) + 1)
    # Area under the precision that falls only: the best precision at this recall or a higher one.
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


def _matches(boxes: NDArray[np.float32], truth: NDArray[np.float32], overlap: float) -> NDArray[np.bool_]:
    """Which boxes, best score first, find a truth box that none before them found."""
    hit = np.zeros(len(boxes), dtype=np.bool_)
    free = np.ones(len(truth), dtype=np.bool_)
    for index, box in enumerate(boxes):
        shares = overlaps(box, truth) * free
        if shares.size and shares.max() >= overlap:
            hit[index], free[int(shares.argmax())] = True, False
    return hit
