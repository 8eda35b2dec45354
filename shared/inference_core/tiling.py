"""A large picture in fixed tiles: where they lie, how they are cut in batches, how their boxes become one list.

Fixed tile shapes keep memory bounded by the batch and the working set in the cache: a whole 4K picture through
YOLOv8n takes 1 GB and scales badly over threads (parallel share 0.63 against 0.82 for a 640 px tile, two-core
AMD EPYC, 2026-11).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Shrink = Callable[[Pixels, float], Pixels]
"""Pixels and how many of them become one on a side -> fewer pixels, each the mean of the area it covers."""
Empty = Callable[[tuple[int, ...], type[np.uint8]], Pixels]
"""`np.empty`, or what makes an array elsewhere."""

PADDING = 114
"""Grey level outside the picture, the letterbox colour of the YOLO family."""
_EDGE_PX = 2.0
"""A box this near to an inner tile border is taken to be cut by it."""
_COVERED = 0.5
"""Intersection over the smaller box from which a cut piece is part of the other box."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A window of the picture in its pixels. `shrink` is picture pixels per tile pixel: 1 for a tile proper, more for
    the pass over the whole picture.
    """

    x: int
    y: int
    width: int
    height: int
    shrink: float = 1.0


@dataclass(frozen=True, slots=True)
class Boxes:
    """K detections: `xyxy` float32 [K, 4] in pixels, `scores` float32 [K], `labels` int64 [K]."""

    xyxy: Floats
    scores: Floats
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> "Boxes":
        """The boxes at `index`, in its order."""
        return Boxes(self.xyxy[index], self.scores[index], self.labels[index])


def join(parts: list[Boxes]) -> Boxes:
    """All boxes of `parts` in one list."""
    if not parts:
        return Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return Boxes(
        np.concatenate([part.xyxy for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )


def plan(width: int, height: int, *, tile_px: int, overlap_px: int) -> list[Tile]:
    """Tiles that cover a `width` x `height` picture, each overlapping its neighbour by at least `overlap_px`, spread
    evenly; then, where there is more than one, the whole picture shrunk into one tile.
    """
    columns, rows = _starts(width, tile_px, overlap_px), _starts(height, tile_px, overlap_px)
    tile_width, tile_height = min(tile_px, width), min(tile_px, height)
    tiles = [Tile(x, y, tile_width, tile_height) for y in rows for x in columns]
    if len(tiles) > 1:
        tiles.append(Tile(0, 0, width, height, shrink=max(width, height) / tile_px))
    return tiles


def _starts(length: int, tile_px: int, overlap_px: int) -> list[int]:
    if length <= tile_px:
        return [0]
    count = 1 + -(-(length - tile_px) // (tile_px - overlap_px))
    return [round(index * (length - tile_px) / (count - 1)) for index in range(count)]


def batches(
    pixels: Pixels, tiles: list[Tile], *, tile_px: int, size: int, shrink: Shrink, empty: Empty = np.empty
) -> Iterator[tuple[list[Tile], Pixels]]:
    """The tiles cut out of `pixels` uint8 [H, W, C], `size` at a time as uint8 [n, tile_px, tile_px, C]; `shrink`
    resamples the one over the whole picture. The array, made by `empty`, is the same each time: use it before asking
    for the next.
    """
    buffer = empty((min(size, len(tiles)), tile_px, tile_px, pixels.shape[2]), np.uint8)
    for first in range(0, len(tiles), size):
        group = tiles[first : first + size]
        for slot, tile in enumerate(group):
            window = pixels[tile.y : tile.y + tile.height, tile.x : tile.x + tile.width]
            cut = window if tile.shrink == 1.0 else shrink(window, tile.shrink)
            if cut.shape[:2] != (tile_px, tile_px):
                buffer[slot] = PADDING
            buffer[slot, : cut.shape[0], : cut.shape[1]] = cut
        yield group, buffer[: len(group)]


def each_to_picture(
    parts: list[Boxes], tiles: list[Tile], *, width: int, height: int, overlap_px: int
) -> list[tuple[Boxes, NDArray[np.bool_]]]:
    """The boxes of each of `tiles` in picture pixels, clipped to the picture, and which of them an inner border of the
    tile cuts. Several tiles take as many steps as one.

    Each object is left to the view that sees it best. A box that a border cuts and that is smaller than the overlap
    is dropped: the neighbour sees it whole, or finds nothing there (a trace cut by a border looks like a broken one).
    Smaller by both borders' margins, or an object as large as the overlap would count as cut on either side.
    Of the whole-picture pass only objects larger than `overlap_px` are kept.
    """
    counts = [len(part) for part in parts]
    boxes = join(parts)
    views = np.array([(tile.x, tile.y, tile.width, tile.height, tile.shrink) for tile in tiles], np.float32)
    views = np.repeat(views.reshape(-1, 5), counts, axis=0)
    shrink = views[:, 4:]
    limits = np.array([width, height] * 2, np.float32)
    xyxy = np.clip(boxes.xyxy * shrink + views[:, [0, 1, 0, 1]], 0, limits)
    sides = xyxy[:, 2:] - xyxy[:, :2]
    cut = _cut_by_border(xyxy, views[:, :4], limits[:2])
    good = (sides > 0).all(axis=1) & ~(cut & (sides < overlap_px - 2 * _EDGE_PX)).any(axis=1)
    good &= (shrink[:, 0] == 1.0) | (sides.max(axis=1, initial=0) > overlap_px)
    moved, borders = Boxes(xyxy, boxes.scores, boxes.labels).take(good), cut[good].any(axis=1)
    ends = np.concatenate([[0], np.cumsum(good)])[np.cumsum([0, *counts])].tolist()
    slices = [slice(start, end) for start, end in pairwise(ends)]
    return [(Boxes(moved.xyxy[s], moved.scores[s], moved.labels[s]), borders[s]) for s in slices]


def _cut_by_border(xyxy: Floats, views: Floats, limits: Floats) -> NDArray[np.bool_]:
    """Whether an upright and whether a level inner border of its view (x, y, width, height) cuts each box: bool [K, 2].
    `limits` are the picture's width and height.
    """
    starts, ends = views[:, :2], views[:, :2] + views[:, 2:]
    before = (starts > 0) & (xyxy[:, :2] <= starts + _EDGE_PX)
    behind = (ends < limits) & (xyxy[:, 2:] >= ends - _EDGE_PX)
    cut: NDArray[np.bool_] = before | behind
    return cut


def suppress(boxes: Boxes, *, iou_max: float) -> Boxes:
    """The boxes, best score first, less those that overlap a better one of their label by more than `iou_max`.

    All overlaps at once, K x K: a sixth of the time of one row after another for the 20 candidates of a usual tile.
    """
    order = np.argsort(-boxes.scores, kind="stable")
    boxes = boxes.take(order)
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.xyxy.T)
    wide = np.minimum.outer(x2, x2) - np.maximum.outer(x1, x1)
    high = np.minimum.outer(y2, y2) - np.maximum.outer(y1, y1)
    shared = wide.clip(0) * high.clip(0)
    areas = (x2 - x1) * (y2 - y1)
    same = (shared > iou_max * (np.add.outer(areas, areas) - shared)) & np.equal.outer(boxes.labels, boxes.labels)
    alive = np.ones(len(boxes), bool)
    for index in np.flatnonzero(same.sum(axis=1) > 1):
        if alive[index]:
            alive[index + 1 :] &= ~same[index, index + 1 :]
    return boxes.take(alive)


def windows_of(tiles: list[Tile]) -> Floats:
    """The part of the picture that each of `tiles` shows: corners float32 [T, 4] in its pixels."""
    corners = [(tile.x, tile.y, tile.x + tile.width, tile.y + tile.height) for tile in tiles]
    return np.array(corners, np.float32).reshape(-1, 4)


def merge(
    boxes: Boxes, cut: NDArray[np.bool_], windows: Floats, *, iou_max: float, is_each_final: bool = False
) -> Boxes:
    """One box an object, best score first. `cut` bool [K] marks boxes that a tile border cuts, `windows` float32 [K, 4]
    says what part of the picture the tile showed in which each box was found.

    Whole boxes win over cut ones and those of a tile over those of the whole picture, which is seen less sharply,
    whatever their scores. Cut pieces of one object that no view shows whole become their common hull. `is_each_final`:
    the boxes of one tile are different objects however much they overlap, for the network has decided that itself.
    """
    order = np.lexsort((-boxes.scores, _areas(windows), cut))
    boxes, cut, windows = boxes.take(order), cut[order], windows[order]
    hulls = boxes.xyxy.copy()
    alive = np.ones(len(boxes), bool)
    touching = _touching(boxes)
    for index in np.flatnonzero(touching.any(axis=1)):
        if not alive[index]:
            continue
        pieces = [index]
        for piece in pieces:
            rest = index + 1 + np.flatnonzero(touching[piece, index + 1 :] & alive[index + 1 :])
            if is_each_final:
                rest = rest[(windows[rest] != windows[piece]).any(axis=1)]
            same = rest[_same_object(piece, rest, boxes.xyxy, cut, windows, iou_max)]
            alive[same] = False
            if cut[index]:
                pieces.extend(same)
        hulls[index, :2] = boxes.xyxy[pieces, :2].min(axis=0)
        hulls[index, 2:] = boxes.xyxy[pieces, 2:].max(axis=0)
    merged = Boxes(hulls, boxes.scores, boxes.labels).take(alive)
    return merged.take(np.argsort(-merged.scores, kind="stable"))


def _touching(boxes: Boxes) -> NDArray[np.bool_]:
    """Which other boxes of its label each box overlaps at all: bool [K, K]. Most boxes overlap none, and are done."""
    x1, y1, x2, y2 = np.ascontiguousarray(boxes.xyxy.T)
    along, down = np.less.outer(x1, x2), np.less.outer(y1, y2)
    along &= along.T.copy()
    down &= down.T.copy()
    touching: NDArray[np.bool_] = along & down & np.equal.outer(boxes.labels, boxes.labels)
    np.fill_diagonal(touching, val=False)
    return touching


def _same_object(
    one: np.intp, others: NDArray[np.intp], xyxy: Floats, cut: NDArray[np.bool_], windows: Floats, iou_max: float
) -> NDArray[np.bool_]:
    """Whether box `one` and each of `others`, indices of boxes of its label that `merge` ranks below it, are the same
    object. They are when their IoU exceeds `iou_max`. Of a cut or coarsely seen one it is enough that half of it lies
    in `one`, or that both look the same where both views look.
    """
    box, rest = xyxy[one], xyxy[others]
    common, area, areas = _common(box, rest), _areas(box), _areas(rest)
    shared = _areas(common)
    same: NDArray[np.bool_] = shared > iou_max * (area + areas - shared)
    partial = cut[others] | (_areas(windows[others]) > _areas(windows[one]))
    if not partial.any():
        return same
    # What lies inside a whole object may be a piece of it; a whole object inside a piece is another one.
    piece = np.minimum(area, areas) if cut[one] else areas
    both = _common(windows[one], windows[others])
    # A detector may answer with a box that reaches out of its tile, so the common part is cut to both views as well.
    seen, seen_by_others, agreed = (_areas(_common(part, both)) for part in (box, rest, common))
    alike = (agreed > 0) & (agreed >= _COVERED * (seen + seen_by_others - agreed))
    return same | (partial & ((shared >= _COVERED * piece) | alike))


def _common(box: Floats, others: Floats) -> Floats:
    """What `box` [4], or each of [K, 4], has in common with each of `others` [K, 4]; empty where right < left."""
    return np.concatenate([np.maximum(box[..., :2], others[:, :2]), np.minimum(box[..., 2:], others[:, 2:])], axis=1)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[..., 2:] - boxes[..., :2]).clip(0).prod(axis=-1)
    return areas
