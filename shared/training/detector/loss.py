"""What training minimises: which cell answers for which defect, and how wrong it is.

Task-aligned assignment: a defect is given to the cells around its centre that already score and
place it best, and their target score is how well they place it. Only the 3 x 3 cells around
the centre on each stride are candidates (27 a defect), so the cost grows with the defects and
not with the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.detector.network import STRIDES, decode

_TOP = 9  # cells a defect is given to
_SCORE_POWER = 0.5
_IOU_POWER = 4.0
_BOX_GAIN = 5.0
_SCORE_GAIN = 1.0


@dataclass(frozen=True)
class Targets:
    """Defects of a batch: image index int64[G], label int64[G], box float32[G, 4] xyxy pixels."""

    image: Tensor
    label: Tensor
    box: Tensor

    def to(self, device: torch.device) -> Targets:
        """The same on `device`."""
        return Targets(self.image.to(device), self.label.to(device), self.box.to(device))


@dataclass(frozen=True)
class _Pairs:
    """Which cell answers for which defect: indices int64[P] and the target score float32[P]."""

    image: Tensor
    cell: Tensor
    defect: Tensor
    score: Tensor


def detection_loss(raw: list[Tensor], targets: Targets) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch and its parts; `raw` as from `Detector.raw`."""
    boxes, logits = decode(raw)
    corners, logits = to_corners(boxes.transpose(1, 2)), logits.transpose(1, 2)
    with torch.no_grad():
        pairs = _assign(corners, logits.sigmoid(), _candidates(raw, targets), targets)
    wanted = torch.zeros_like(logits)
    wanted[pairs.image, pairs.cell, targets.label[pairs.defect]] = pairs.score
    weight = pairs.score.sum().clamp(min=1.0)
    scores = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / weight
    overlap = complete_iou(corners[pairs.image, pairs.cell], targets.box[pairs.defect])
    places = ((1 - overlap) * pairs.score).sum() / weight
    total = _SCORE_GAIN * scores + _BOX_GAIN * places
    return total, {"score": scores.detach(), "box": places.detach()}


def to_corners(boxes: Tensor) -> Tensor:
    """Centre and size [..., 4] to left, top, right, bottom."""
    half = boxes[..., 2:] / 2
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)


def _candidates(raw: list[Tensor], targets: Targets) -> Tensor:
    """Cell indices int64[G, 27] around each defect; -1 where the picture ends."""
    centre = (targets.box[:, :2] + targets.box[:, 2:]) / 2
    around = torch.tensor([(dx, dy) for dy in (-1, 0, 1) for dx in (-1, 0, 1)])
    first, found = 0, []
    for level, stride in zip(raw, STRIDES, strict=True):
        height, width = level.shape[2], level.shape[3]
        cell = (centre / stride).floor().long()[:, None] + around.to(centre.device)
        x, y = cell[..., 0], cell[..., 1]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        found.append(torch.where(inside, first + y * width + x, -1))
        first += height * width
    return torch.cat(found, dim=1)


def _assign(corners: Tensor, scores: Tensor, cells: Tensor, targets: Targets) -> _Pairs:
    """The best cells of each defect, with the score that each should have."""
    image, safe = targets.image[:, None].expand_as(cells), cells.clamp(min=0)
    iou = plain_iou(corners[image, safe], targets.box[:, None])
    score = scores[image, safe, targets.label[:, None].expand_as(cells)]
    align = score**_SCORE_POWER * iou**_IOU_POWER + 1e-9
    align = torch.where(cells >= 0, align, torch.zeros_like(align))
    best, index = align.topk(min(_TOP, cells.shape[1]), dim=1)
    near = iou.gather(1, index)
    # The best cell of a defect aims at the best overlap reached so far, the others at their share.
    peak = best.amax(dim=1, keepdim=True).clamp(min=1e-9)
    ceiling = torch.where(best > 0, near, 0.0).amax(dim=1, keepdim=True).clamp(min=0.05)
    wanted = best / peak * ceiling
    defect = torch.arange(cells.shape[0], device=cells.device)[:, None].expand_as(index)
    keep = best > 0
    chosen = _Pairs(image.gather(1, index)[keep], cells.gather(1, index)[keep], defect[keep], wanted[keep])
    return _one_defect_a_cell(chosen, near[keep], corners.shape[1])


def _one_defect_a_cell(pairs: _Pairs, iou: Tensor, cells: int) -> _Pairs:
    """Where two defects claim a cell, the one that it overlaps more keeps it."""
    key = pairs.image * cells + pairs.cell
    rank = torch.argsort(torch.argsort(iou, stable=True))
    slots = torch.full((int(key.max()) + 1 if len(key) else 0,), -1, device=key.device)
    highest = slots.scatter_reduce(0, key, rank, reduce="amax")
    keep = highest[key] == rank
    return _Pairs(pairs.image[keep], pairs.cell[keep], pairs.defect[keep], pairs.score[keep])


def plain_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of corner boxes [..., 4], broadcast."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    area = (first[..., 2:] - first[..., :2]).prod(dim=-1)
    other = (second[..., 2:] - second[..., :2]).prod(dim=-1)
    return common / (area + other - common + 1e-7)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """CIoU: overlap less the distance of centres and the difference of aspect, [...]."""
    iou = plain_iou(first, second)
    low = torch.minimum(first[..., :2], second[..., :2])
    high = torch.maximum(first[..., 2:], second[..., 2:])
    diagonal = ((high - low) ** 2).sum(dim=-1) + 1e-7
    apart = (first[..., :2] + first[..., 2:] - second[..., :2] - second[..., 2:]) / 2
    aspect = (4 / math.pi**2) * (_aspect(second) - _aspect(first)) ** 2
    with torch.no_grad():
        share = aspect / (aspect - iou + 1 + 1e-7)
    return iou - (apart**2).sum(dim=-1) / diagonal - share * aspect


def _aspect(boxes: Tensor) -> Tensor:
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.atan(size[..., 0] / (size[..., 1] + 1e-7))
