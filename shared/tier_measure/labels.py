"""Where the labels of points stand on a plot: beside their point, clear of each other, of points and of lines."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Beside the point first: right, left, above, below, then the corners; then the same farther out, in points (1/72 in).
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_DISTANCES = (6, 10, 15, 22)
_ALIGNED = {1: "left", -1: "right", 0: "center"}
_ALIGNED_UP = {1: "bottom", -1: "top", 0: "center"}


class Labels:
    """Places labels one after another; give those that matter most first."""

    def __init__(self, axes: Axes, obstacles: Sequence[Bbox]) -> None:
        """`obstacles` are boxes in pixels of the figure that no label may cover."""
        self._axes = axes
        self._taken = list(obstacles)
        self._within = axes.get_window_extent()

    def place(self, text: str, x: float, y: float, *, needed: bool, colour: str, size: float) -> bool:
        """Write `text` beside the point at (x, y) where it covers least; False where a label that is not `needed`
        would cover something and was left out.
        """
        best: tuple[float, int, int, int] | None = None
        for distance in _DISTANCES:
            for dx, dy in _DIRECTIONS:
                label = self._draw(text, x, y, (dx, dy, distance), colour, size)
                covered = self._covered(label.get_window_extent())
                label.remove()
                if best is None or covered < best[0]:
                    best = (covered, dx, dy, distance)
                if not covered:
                    break
            if best and not best[0]:
                break
        assert best is not None
        if best[0] and not needed:
            return False
        label = self._draw(text, x, y, best[1:], colour, size)
        self._taken.append(label.get_window_extent().padded(1))
        return True

    def _draw(self, text: str, x: float, y: float, at: tuple[int, int, int], colour: str, size: float) -> Annotation:
        dx, dy, distance = at
        step = distance * (0.75 if dx and dy else 1)
        return self._axes.annotate(
            text,
            (x, y),
            xytext=(dx * step, dy * step),
            textcoords="offset points",
            ha=_ALIGNED[dx],
            va=_ALIGNED_UP[dy],
            color=colour,
            fontsize=size,
        )

    def _covered(self, box: Bbox) -> float:
        """Pixels of `box` that lie on something, or outside the axes."""
        covered = 0.0
        for taken in self._taken:
            if (shared := Bbox.intersection(box, taken)) is not None:
                covered += shared.width * shared.height + 1
        inside = Bbox.intersection(box, self._within)
        return covered + 10 * (box.width * box.height - (inside.width * inside.height if inside else 0.0))
