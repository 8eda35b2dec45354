"""How well what a detector found agrees with what the pictures hold: COCO's average precision, precision, recall."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

SCORE_MIN = 0.01
"""Average precision integrates over all scores, so boxes far below the serving threshold count too."""
SMALL_PX = 32
"""COCO's border between small and medium: an area of 32 x 32 px."""
BOXES_MAX = 500
Detections = list[dict[str, Any]]
"""What `predict` answers for one picture: label, score, box (x1, y1, x2, y2) in pixels of the picture."""


@dataclass(frozen=True)
class Truth:
    """What one picture holds: `boxes` [K, 4] (x1, y1, x2, y2) in its pixels, `labels` [K] indexes of label names."""

    width: int
    height: int
    boxes: NDArray[Any]
    labels: NDArray[np.int64]
    crowd: frozenset[int] = field(default_factory=frozenset)
    """Rows that stand for many objects (COCO's iscrowd): finding them is no hit, and no false alarm."""


@dataclass(frozen=True)
class Score:
    """Accuracy over a set of pictures, 0..1: average precision over labels; precision and recall of what the service
    reports, boxes from the serving threshold on, at IoU 0.5 and with the right label. NaN where nothing was to count.
    """

    map_50: float
    map_50_95: float
    precision: float
    recall_small: float
    recall_large: float

    def more(self) -> dict[str, float]:
        """All but the mAP@0.5, by the names of the manifest, less what could not be counted."""
        named = {"map_50_95": self.map_50_95, "precision": self.precision}
        named |= {"recall_small": self.recall_small, "recall_large": self.recall_large}
        return {name: value for name, value in named.items() if not np.isnan(value)}


def scale_key(scale: float) -> str:
    """The name under which a manifest keeps the mAP@0.5 of a scale below 1: `map_50_scale_0_5`."""
    return f"map_50_scale_{scale:g}".replace(".", "_")


def score_detections(
    truths: Sequence[Truth], found: Sequence[Detections], labels: Sequence[str], serving_score_min: float
) -> Score:
    """COCO's average precision of `found` against `truths`, and what the service would report of it."""
    result = COCOeval_faster(_truth(truths, labels), None, "bbox", print_function=lambda *_: None)
    result.cocoDt = result.cocoGt.loadRes(_results(found, labels))
    result.params.maxDets = [BOXES_MAX]
    result.params.areaRng = [[0, 1e10]]
    result.params.areaRngLbl = ["all"]
    result.evaluate()
    result.accumulate()
    precision = np.asarray(result.eval["precision"])  # [IoU thresholds, recalls, labels, areas, limits]
    reported = [[d for d in detections if d["score"] >= serving_score_min] for detections in found]
    return Score(
        _mean(precision[0]),
        _mean(precision),
        _precision(truths, reported, labels),
        *_recall(truths, reported, labels),
    )


def _mean(precision: NDArray[np.float64]) -> float:
    present = precision[precision > -1]  # COCO marks labels without any object by -1
    return float(present.mean()) if present.size else float("nan")


def _truth(truths: Sequence[Truth], labels: Sequence[str]) -> COCO:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image_id, truth in enumerate(truths, 1):
        images.append({"id": image_id, "width": truth.width, "height": truth.height})
        for row, (box, label) in enumerate(zip(truth.boxes.tolist(), truth.labels.tolist(), strict=True)):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": int(row in truth.crowd),
                }
            )
    categories = [{"id": index, "name": label} for index, label in enumerate(labels, 1)]
    return COCO({"images": images, "annotations": annotations, "categories": categories})


def _results(found: Sequence[Detections], labels: Sequence[str]) -> list[dict[str, Any]]:
    results = []
    for image_id, detections in enumerate(found, 1):
        for detection in detections:
            x1, y1, x2, y2 = detection["box"]
            results.append(
                {
                    "image_id": image_id,
                    "category_id": labels.index(detection["label"]) + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "score": detection["score"],
                }
            )
    # An empty list is refused by the library; one box of no weight on no object changes no figure.
    return results or [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.0}]


def _precision(truths: Sequence[Truth], reported: Sequence[Detections], labels: Sequence[str]) -> float:
    """Share of the reported boxes that lie on an object of their label."""
    hits = []
    for truth, detections in zip(truths, reported, strict=True):
        for detection in detections:
            same = np.flatnonzero(truth.labels == labels.index(detection["label"]))
            overlaps = _overlaps(np.array(detection["box"]), truth.boxes[same])
            best = int(overlaps.argmax()) if len(overlaps) else -1
            hit = best >= 0 and overlaps[best] >= 0.5
            if not (hit and int(same[best]) in truth.crowd):
                hits.append(hit)
    return float(np.mean(hits)) if hits else float("nan")


def _recall(truths: Sequence[Truth], reported: Sequence[Detections], labels: Sequence[str]) -> tuple[float, float]:
    """Share of the objects below and from 32 x 32 px that are reported with the right label."""
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for truth, detections in zip(truths, reported, strict=True):
        for row, (box, label) in enumerate(zip(truth.boxes, truth.labels, strict=True)):
            if row in truth.crowd:
                continue
            same = np.array([d["box"] for d in detections if d["label"] == labels[int(label)]]).reshape(-1, 4)
            side = box[2:] - box[:2]
            hits[bool(side.prod() < SMALL_PX**2)].append(bool((_overlaps(box, same) >= 0.5).any()))
    small, large = (float(np.mean(hits[key])) if hits[key] else float("nan") for key in (True, False))
    return small, large


def _overlaps(box: NDArray[Any], others: NDArray[Any]) -> NDArray[np.float64]:
    """Intersection over union of `box` [4] with each of `others` [K, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = (high - low).clip(min=0).prod(axis=1)
    areas = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    overlaps: NDArray[np.float64] = shared / (areas - shared)
    return overlaps
