"""Boxes from the best cells of many tiles at once: the layout `candidates`.

Where a GPU computes, the host's threads share one interpreter: what they do tile by tile in numpy adds up to more than
the GPU's time. Here a batch of tiles takes as many calls as one tile.
"""

import numpy as np
from numpy.typing import NDArray

from inference_core import tiling
from inference_core.tiling import Boxes

_PAIRS_MAX = 1 << 21
"""Pairs of boxes compared at once; pictures of noise are taken tile by tile."""


def chosen(rows: NDArray[np.float32], *, score_min: float, iou_max: float) -> list[Boxes]:
    """The boxes of each tile from `score_min` on, duplicates suppressed as `tiling.suppress` does it. `rows` float32
    [N, K, 6] are x1, y1, x2, y2, score, label index, the best of each tile first.
    """
    counts = (rows[:, :, 4] >= score_min).sum(axis=1)
    most = int(counts.max(initial=0))
    if len(rows) * most * most > _PAIRS_MAX:
        return [
            tiling.suppress(_boxes(tile[:count]), iou_max=iou_max) for tile, count in zip(rows, counts, strict=True)
        ]
    rows = rows[:, :most]
    alive = np.arange(most) < counts[:, None]
    same = _same(rows, iou_max)
    for rank in np.flatnonzero(same.any(axis=(0, 2))):
        alive[:, rank + 1 :] &= ~(same[:, rank, rank + 1 :] & alive[:, rank, None])
    return [_boxes(tile[kept]) for tile, kept in zip(rows, alive, strict=True)]


def _same(rows: NDArray[np.float32], iou_max: float) -> NDArray[np.bool_]:
    """Whether each box of a tile is a duplicate of each better one: bool [N, K, K], better ones first."""
    x1, y1, x2, y2, _, labels = np.ascontiguousarray(np.moveaxis(rows, 2, 0))
    wide = np.minimum(x2[:, :, None], x2[:, None]) - np.maximum(x1[:, :, None], x1[:, None])
    high = np.minimum(y2[:, :, None], y2[:, None]) - np.maximum(y1[:, :, None], y1[:, None])
    shared = wide.clip(0) * high.clip(0)
    areas = (x2 - x1) * (y2 - y1)
    same = shared > iou_max * (areas[:, :, None] + areas[:, None] - shared)
    same &= labels[:, :, None] == labels[:, None]
    return np.triu(same, 1)


def _boxes(rows: NDArray[np.float32]) -> Boxes:
    return Boxes(rows[:, :4], rows[:, 4], rows[:, 5].astype(np.int64))
