"""The detector in its plainest form: the whole picture through torch, then overlap suppression.

It shares nothing with the serving code, so that the two can be held against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.detector.network import STRIDES, Detector

SCORE_MIN = 0.4
"""Of 0.25 to 0.6 on 12 boards apart from the evaluation: precision 0.93 at recall 0.98; at 0.25 it is 0.85 at 0.98."""
IOU_MAX = 0.5
_MOST = 3000  # answers looked at, best first: suppression compares them pair by pair


@dataclass(frozen=True)
class Detections:
    """boxes float32[K, 4] xyxy pixels, scores float32[K], labels int64[K]; best score first."""

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]


Answer = Callable[[torch.Tensor], torch.Tensor]
"""Pictures uint8 [N, 1, H, W] to what the network answers, float32 [N, 4 + labels, A]: a `Detector`, or its export."""


def load(checkpoint: Path) -> Detector:
    """The averaged weights of a training checkpoint, ready to answer."""
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model = Detector(stored["variant"])
    model.load_state_dict(stored["average"])
    model.eval()
    return model


def detect(
    checkpoint: Path,
    image: NDArray[np.uint8],
    *,
    scale: float = 1.0,
    score_min: float = SCORE_MIN,
    iou_max: float = IOU_MAX,
) -> Detections:
    """Defects on `image` uint8[H, W], boxes in its pixels; it is looked at at `scale`."""
    return run(load(checkpoint), image, scale=scale, score_min=score_min, iou_max=iou_max)


def run(
    model: Answer,
    image: NDArray[np.uint8],
    *,
    scale: float = 1.0,
    score_min: float = SCORE_MIN,
    iou_max: float = IOU_MAX,
) -> Detections:
    """As `detect`, with a model that is loaded already."""
    height, width = image.shape
    small = shrink(image, scale)
    with torch.no_grad():
        pixels = torch.from_numpy(_pad(small))[None, None]
        output = model(pixels.to(_device(model)))[0].float().cpu().numpy().T
    scores, labels = output[:, 4:].max(axis=1), output[:, 4:].argmax(axis=1)
    keep = scores >= max(score_min, _nth_largest(scores, _MOST))
    centre, half = output[keep, :2], output[keep, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)
    boxes *= np.array([width / small.shape[1], height / small.shape[0]] * 2, dtype=np.float32)
    boxes = boxes.clip(0, np.array([width, height] * 2, dtype=np.float32))
    return _suppress(boxes, scores[keep], labels[keep], iou_max)


def _device(model: Answer) -> torch.device:
    """Where a network's weights are; what is no network takes its pictures on the CPU."""
    return next(model.parameters()).device if isinstance(model, torch.nn.Module) else torch.device("cpu")


def _nth_largest(values: NDArray[np.float32], count: int) -> float:
    return float(np.partition(values, -count)[-count]) if values.size > count else 0.0


def shrink(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """`image` at `scale`, every new pixel the mean of the area that it covers."""
    if scale == 1.0:
        return image
    height, width = image.shape
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def _pad(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`image` with black added at the right and the bottom, to whole cells of every stride."""
    height, width = image.shape
    missing = ((0, -height % STRIDES[-1]), (0, -width % STRIDES[-1]))
    return np.pad(image, missing)


def overlaps(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one corner box [4] with `others` [K, 4]."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = (high - low).clip(min=0).prod(axis=1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(axis=1)
    shares: NDArray[np.float32] = common / (area - common + np.float32(1e-9))
    return shares


def _suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    iou_max: float,
) -> Detections:
    """Of boxes of one label that overlap more than `iou_max`, only the best stays."""
    kept: list[int] = []
    alive = np.ones(len(boxes), dtype=np.bool_)
    for index in np.argsort(-scores, kind="stable"):
        if not alive[index]:
            continue
        kept.append(int(index))
        alive &= ~((overlaps(boxes[index], boxes) > iou_max) & (labels == labels[index]))
    return Detections(boxes[kept], scores[kept], labels[kept].astype(np.int64))
