"""Where the labels of points stand on a plot: beside their point, clear of each other, of points and of lines."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

# Beside the point first: right, left, above, below, then the corners; then the same farther out, in points (1/72 in).
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (6, 10, 15, 22)
_PLACES = [(dx, dy, far * (0.75 if dx and dy else 1)) for far in _DISTANCES for dx, dy in _DIRECTIONS]
_NEAR = _PLACES[: 2 * len(_DIRECTIONS)]
"""Farther out it would no longer be clear whose label it is, unless nothing else stands there."""
_OUTSIDE = 10
"""A pixel outside the axes weighs as much as so many that cover something."""
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the figure."""


class Labels:
    """Places labels one after another; give those that matter most first."""

    def __init__(self, axes: Axes, obstacles: Sequence[Box]) -> None:
        """No label may cover `obstacles`."""
        self._axes = axes
        self._pixels = axes.figure.dpi / 72  # of one point
        self._taken: NDArray[np.float64] = np.array(obstacles, np.float64).reshape(-1, 4)
        self._within = np.array([axes.get_window_extent().extents])

    def place(self, text: str, x: float, y: float, *, needed: bool, colour: str, size: float) -> bool:
        """Write `text` beside the point at (x, y) where it covers least; False where a label that is not `needed`
        would cover something and was left out.
        """
        label = self._axes.annotate(
            text,
            (x, y),
            xytext=(0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            color=colour,
            fontsize=size,
        )
        extent = label.get_window_extent()
        half = extent.width / 2, extent.height / 2
        places = _PLACES if needed else _NEAR
        boxes = [self._box(x, y, half, place) for place in places]
        covered = [self._covered(box) for box in boxes]
        best = int(np.argmin(covered))
        if covered[best] and not needed:
            label.remove()
            return False
        label.set_position(self._offset(half, places[best]))
        self._taken = np.vstack([self._taken, boxes[best]])
        return True

    def _offset(self, half: tuple[float, float], place: tuple[int, int, float]) -> tuple[float, float]:
        """From the point to the middle of the label, in points."""
        dx, dy, step = place
        return dx * (step + half[0] / self._pixels), dy * (step + half[1] / self._pixels)

    def _box(self, x: float, y: float, half: tuple[float, float], place: tuple[int, int, float]) -> Box:
        right, up = self._offset(half, place)
        middle_x, middle_y = self._axes.transData.transform((x, y)) + np.array([right, up]) * self._pixels
        return middle_x - half[0], middle_y - half[1], middle_x + half[0], middle_y + half[1]

    def _covered(self, box: Box) -> float:
        """Pixels of `box` that lie on something, or outside the axes."""
        area = (box[2] - box[0]) * (box[3] - box[1])
        return float(_shared(box, self._taken).sum()) + _OUTSIDE * round(area - float(_shared(box, self._within)[0]), 6)


def _shared(box: Box, others: NDArray[np.float64]) -> NDArray[np.float64]:
    """The area that `box` has in common with each of `others` [K, 4]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared: NDArray[np.float64] = (high - low).clip(min=0).prod(axis=1)
    return shared
