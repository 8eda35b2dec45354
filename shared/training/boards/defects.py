"""The six defects, each drawn into the copper and known by the pixels that it changed.

A defect is tried at a random place and kept only when the copper around it shows what its
name says (a break has copper on both sides, a spur reaches no neighbour) and enough pixels
changed. Sizes are in pixels at zoom 1 and are multiplied by the zoom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.boards.canvas import Canvas, Segment
from training.boards.geometry import Points, blob, normal, strip, unit

LABELS = ("open", "short", "mousebite", "spur", "spurious_copper", "pin_hole")
RIM = 4.0  # what a box is grown by, pixels at zoom 1: the smallest defects are a few pixels wide
MIN_AREA = 18.0  # least changed pixels at zoom 1
_TRIES = 60
_SPACING = 6.0  # between the boxes of two defects

Copper = NDArray[np.bool_]


@dataclass(frozen=True)
class Defect:
    """A defect: its label (index into `LABELS`) and its changed pixels, int64[K, 2] as (x, y)."""

    label: int
    pixels: NDArray[np.int64]

    def box(self, rim: float) -> tuple[float, float, float, float]:
        """Left, top, right, bottom edges in pixels, grown by `rim`."""
        low, high = self.pixels.min(axis=0), self.pixels.max(axis=0) + 1
        return (low[0] - rim, low[1] - rim, high[0] + rim, high[1] + rim)


@dataclass(frozen=True)
class _Site:
    """What a drawer may look at: random numbers, copper as it is now, the drawing, the zoom."""

    rng: np.random.Generator
    copper: Copper
    canvas: Canvas
    zoom: float

    def size(self, low: float, high: float) -> float:
        """A length in pixels, small ones much more often than large ones."""
        return float(low * (high / low) ** (self.rng.random() ** 1.6)) * self.zoom

    def has_copper(self, points: Points) -> NDArray[np.bool_]:
        """Copper at each of `points`, bool[K]; outside the board there is none."""
        xs, ys = np.floor(points).astype(np.int64).T
        height, width = self.copper.shape
        inside = (xs >= 0) & (ys >= 0) & (xs < width) & (ys < height)
        found = np.zeros(xs.shape, dtype=np.bool_)
        found[inside] = self.copper[ys[inside], xs[inside]]
        return found

    def on_trace(self) -> tuple[Segment, Points, Points]:
        """A trace piece, a point on its middle line away from the ends, its direction."""
        segment = self.canvas.segments[int(self.rng.integers(len(self.canvas.segments)))]
        share = float(self.rng.uniform(0.12, 0.88))
        point = segment.start + share * (segment.end - segment.start)
        return segment, point, unit(segment.end - segment.start)


# A drawer answers with the outline to draw and whether it adds copper, or None for "not here".
_Drawn = tuple[Points, bool] | None


def _open(site: _Site) -> _Drawn:
    segment, point, along = site.on_trace()
    gap = site.size(6, 50)
    reach = gap / 2 + 5 * site.zoom
    if segment.length < 3 * reach:
        return None
    if not site.has_copper(np.array([point - reach * along, point + reach * along])).all():
        return None
    half = (segment.width / 2 + 2 * site.zoom) * normal(along)
    slant = float(site.rng.uniform(-0.3, 0.3)) * gap * along
    rough = min(gap * 0.22, 3 * site.zoom)
    return strip(site.rng, point - half - slant, point + half + slant, gap, rough), False


def _free_run(site: _Site, edge: Points, outward: Points, limit: float) -> float:
    """How far from `edge` along `outward` until copper, in pixels; `limit` when there is none."""
    steps = np.arange(1.5, limit, 1.0)
    hits = site.has_copper(edge + steps[:, None] * outward)
    return float(steps[int(hits.argmax())]) if hits.any() else limit


def _short(site: _Site) -> _Drawn:
    segment, point, along = site.on_trace()
    outward = normal(along) * (1 if site.rng.random() < 0.5 else -1)
    edge = point + outward * segment.width / 2
    limit = 85 * site.zoom
    run = _free_run(site, edge, outward, limit)
    if run >= limit or run < 5 * site.zoom:
        return None
    width = site.size(5, 36)
    for side in (-0.5, 0.5):
        if abs(_free_run(site, edge + side * width * along, outward, limit) - run) > 4 * site.zoom:
            return None
    rough = min(width * 0.2, 3 * site.zoom)
    start, end = edge - 2 * outward, edge + (run + 2) * outward
    return strip(site.rng, start, end, width, rough), True


def _mousebite(site: _Site) -> _Drawn:
    segment, point, along = site.on_trace()
    outward = normal(along) * (1 if site.rng.random() < 0.5 else -1)
    depth = segment.width * float(site.rng.uniform(0.3, 0.65))
    length = max(site.size(7, 60), depth)
    edge = point + outward * segment.width / 2
    sides = np.array([edge - length * 0.7 * along, edge + length * 0.7 * along])
    if segment.length < 2 * length or depth < 3.5 * site.zoom:
        return None
    inward = sides - 2.5 * site.zoom * outward
    beyond = sides + 2.5 * site.zoom * outward
    if not site.has_copper(inward).all() or site.has_copper(beyond).any():
        return None
    return blob(site.rng, edge, along, length, 2 * depth), False


def _spur(site: _Site) -> _Drawn:
    segment, point, along = site.on_trace()
    outward = normal(along) * (1 if site.rng.random() < 0.5 else -1)
    edge = point + outward * segment.width / 2
    width = site.size(5, 34)
    limit = 100 * site.zoom
    runs = [_free_run(site, edge + side * width * along, outward, limit) for side in (-0.8, -0.4, 0.0, 0.4, 0.8)]
    length = min(site.size(6, 60), min(runs) * 0.65, 2 * width + 6 * site.zoom)
    if length < max(5 * site.zoom, 0.35 * width) or not site.has_copper(edge[None] - 2 * outward).all():
        return None
    outline = blob(site.rng, edge, outward, 2 * length, width)
    inside = np.minimum((outline - edge) @ outward + 2.0, 0.0)
    return outline - inside[:, None] * outward, True


def _spurious_copper(site: _Site) -> _Drawn:
    place = site.rng.uniform((0.0, 0.0), (float(site.canvas.width), float(site.canvas.height)))
    length = site.size(6, 70)
    depth = length * float(site.rng.uniform(0.45, 1.0))
    angle = float(site.rng.uniform(0, np.pi))
    along = np.array([np.cos(angle), np.sin(angle)])
    around = blob(site.rng, place, along, length + 12 * site.zoom, depth + 12 * site.zoom)
    ring = np.concatenate([around, (around + place) / 2, place[None]])
    if site.has_copper(ring).any():
        return None
    return blob(site.rng, place, along, length, max(depth, 4 * site.zoom)), True


def _pin_hole(site: _Site) -> _Drawn:
    surfaces = site.canvas.surfaces
    size = site.size(5, 46)
    if surfaces and site.rng.random() < 0.65:
        left, top, right, bottom = surfaces[int(site.rng.integers(len(surfaces)))]
        point = site.rng.uniform((left, top), (right, bottom))
        along = unit(site.rng.standard_normal(2))
        depth = size * float(site.rng.uniform(0.6, 1.0))
    else:
        segment, point, along = site.on_trace()
        depth = min(size, segment.width - 6 * site.zoom)
        size = min(size, 2 * depth)
    if depth < 4.5 * site.zoom:
        return None
    around = blob(site.rng, point, along, size * 1.15 + 5 * site.zoom, depth * 1.15 + 5 * site.zoom)
    if not site.has_copper(np.concatenate([around, (around + point) / 2, point[None]])).all():
        return None
    return blob(site.rng, point, along, size, depth), False


_DRAWERS: tuple[Callable[[_Site], _Drawn], ...] = (
    _open,
    _short,
    _mousebite,
    _spur,
    _spurious_copper,
    _pin_hole,
)


def add_defects(
    rng: np.random.Generator, canvas: Canvas, copper: Copper, count: int, margin: int, zoom: float
) -> list[Defect]:
    """Draw up to `count` defects into `copper` (changed in place), `margin` pixels off its edges."""
    site = _Site(rng, copper, canvas, zoom)
    if not canvas.segments:
        return []
    boxes = np.zeros((0, 4))
    defects: list[Defect] = []
    start = int(rng.integers(len(LABELS)))
    for index in range(count):
        defect = _place(site, (start + index) % len(LABELS), boxes, margin)
        if defect is not None:
            defects.append(defect)
            boxes = np.vstack([boxes, defect.box(RIM * zoom)])
    return defects


def _place(site: _Site, label: int, boxes: NDArray[np.float64], margin: int) -> Defect | None:
    for _ in range(_TRIES):
        drawn = _DRAWERS[label](site)
        if drawn is None or not _allowed(site, drawn[0], boxes, margin):
            continue
        defect = _apply(site, drawn[0], adds=drawn[1], label=label)
        if defect is not None:
            return defect
    return None


def _allowed(site: _Site, outline: Points, boxes: NDArray[np.float64], margin: int) -> bool:
    """Whether the outline stays on the board and clear of the defects that are already there."""
    rim = RIM * site.zoom
    low, high = outline.min(axis=0) - rim - 1, outline.max(axis=0) + rim + 1
    height, width = site.copper.shape
    if low.min() < margin or high[0] > width - margin or high[1] > height - margin:
        return False
    apart = _SPACING * site.zoom
    clear = (boxes[:, 0] > high[0] + apart) | (boxes[:, 2] < low[0] - apart)
    clear |= (boxes[:, 1] > high[1] + apart) | (boxes[:, 3] < low[1] - apart)
    return bool(clear.all())


def _apply(site: _Site, outline: Points, *, adds: bool, label: int) -> Defect | None:
    """Draw the outline into the copper; None, and nothing drawn, when too little would change."""
    left, top = np.floor(outline.min(axis=0)).astype(int)
    right, bottom = np.ceil(outline.max(axis=0)).astype(int) + 1
    shape = Image.new("1", (right - left, bottom - top), 0)
    moved = outline - np.array([left, top])
    ImageDraw.Draw(shape).polygon([(float(x), float(y)) for x, y in moved], fill=1)
    before = site.copper[top:bottom, left:right]
    changed = np.asarray(shape) & (before != adds)
    if changed.sum() < MIN_AREA * site.zoom**2:
        return None
    before[changed] = adds
    ys, xs = np.nonzero(changed)
    return Defect(label, np.stack([xs + left, ys + top], axis=1).astype(np.int64))
