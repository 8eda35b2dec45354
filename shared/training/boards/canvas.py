"""What a board is drawn on: the copper, and a coarse map of the places already taken."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from training.boards.geometry import Points

COARSE = 4  # the map of taken places is this much smaller: quick to ask, exact enough for clearance


@dataclass(frozen=True)
class Segment:
    """A straight piece of a trace: its ends (x, y) and its width, in pixels."""

    start: Points
    end: Points
    width: float

    @property
    def length(self) -> float:
        """Distance from start to end in pixels."""
        return float(np.hypot(*(self.end - self.start)))


@dataclass(frozen=True)
class Drill:
    """A drilled hole: centre and radius in pixels."""

    x: float
    y: float
    radius: float


def _flat(points: Points, divide: float = 1.0) -> list[tuple[float, float]]:
    return [(float(x) / divide, float(y) / divide) for x, y in points]


class Canvas:
    """Copper of `width` x `height` pixels; everything drawn is also remembered as taken."""

    def __init__(self, width: int, height: int) -> None:
        self.width = width
        self.height = height
        self.segments: list[Segment] = []
        self.drills: list[Drill] = []
        self.surfaces: list[tuple[float, float, float, float]] = []
        self._copper = Image.new("L", (width, height), 0)
        self._taken = Image.new("L", (width // COARSE + 1, height // COARSE + 1), 0)
        self._pen = ImageDraw.Draw(self._copper)
        self._marker = ImageDraw.Draw(self._taken)

    def copper(self) -> NDArray[np.bool_]:
        """The copper as bool[height, width]."""
        return np.asarray(self._copper) > 0

    def free(self, points: Points) -> bool:
        """Whether the polygon `points` lies on the board and on no place that is taken."""
        low, high = points.min(axis=0), points.max(axis=0)
        if low.min() < 0 or high[0] >= self.width or high[1] >= self.height:
            return False
        left, top = (low // COARSE).astype(int)
        right, bottom = (high // COARSE).astype(int) + 1
        shape = Image.new("1", (right - left, bottom - top), 0)
        moved = points / COARSE - np.array([left, top])
        ImageDraw.Draw(shape).polygon(_flat(moved), fill=1, outline=1)
        taken = np.asarray(self._taken.crop((left, top, right, bottom))) > 0
        return not bool((taken & np.asarray(shape)).any())

    def take(self, points: Points) -> None:
        """Remember the polygon `points` as taken."""
        self._marker.polygon(_flat(points, COARSE), fill=255, outline=255)

    def polygon(self, points: Points, *, copper: bool = True) -> None:
        """Draw (or etch away) the polygon `points`."""
        self._pen.polygon(_flat(points), fill=255 if copper else 0)

    def disc(self, x: float, y: float, radius: float, *, copper: bool = True) -> None:
        """Draw (or etch away) a disc of `radius` pixels."""
        box = (x - radius, y - radius, x + radius, y + radius)
        self._pen.ellipse(box, fill=255 if copper else 0)

    def trace(self, line: Points, width: float) -> None:
        """Draw a trace along the polyline and remember its straight pieces."""
        stroke = max(2, round(width))
        self._pen.line(_flat(line), fill=255, width=stroke)
        for x, y in line:
            self.disc(float(x), float(y), stroke / 2 - 0.5)
        for start, end in itertools.pairwise(line):
            self.segments.append(Segment(start, end, float(stroke)))

    def via(self, x: float, y: float, radius: float, hole: float) -> None:
        """Draw a round pad with a drilled hole."""
        self.disc(x, y, radius)
        self.disc(x, y, hole, copper=False)
        self.drills.append(Drill(x, y, hole))
