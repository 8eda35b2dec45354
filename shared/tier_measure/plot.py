"""The chart as PNG and SVG (Matplotlib): accuracy over response time, a curve a machine and power."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter
from tier_planner.measurements import Point

from loadtest.figure_style import figure_style
from tier_measure.curves import Curve, Picture, accuracy_of, bound_text, label_of
from tier_measure.labels import Box, Labels

# Okabe and Ito: told apart by those who see colours otherwise, too.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
INK, MUTED, LINE, BOUND = "#1f2328", "#656d76", "#e3e6ea", "#b42318"
SIDE, STEPS = 16, 24
"""What labels keep clear of: a square of so many pixels about each point, so many squares along each line."""
MARKERS = ("o", "s", "D", "^", "v", "P")
STYLE = figure_style(
    ink=INK,
    muted=MUTED,
    line=LINE,
    size=10,
    svg_hashsalt="tiers chart",  # the same records give the same bytes
    axes_edgecolor="#afb8c1",
    axes_labelcolor=INK,
    grid_linewidth=0.8,
)
DPI = 160


def write_plots(paths: Sequence[Path], picture: Picture) -> None:
    """Draw the chart into each of `paths`, PNG or SVG by its ending; the same records give the same bytes."""
    with mpl.rc_context(STYLE):
        figure = _draw(picture)
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            facts = {"Software": None} if path.suffix == ".png" else {"Date": None, "Creator": None}
            figure.savefig(path, dpi=DPI, metadata=facts)


def _draw(picture: Picture) -> Figure:
    figure = Figure(figsize=(10, 6.2), dpi=DPI)
    axes = figure.add_axes((0.075, 0.09, 0.9, 0.77))
    for curve, colour in zip(picture.curves, _colours(picture), strict=True):
        _draw_curve(axes, picture, curve, colour)
    _set_axes(axes, picture)
    _draw_targets(axes, picture)
    figure.text(0.075, 0.955, picture.title, fontsize=13, fontweight="bold")
    figure.text(0.075, 0.92, picture.subtitle, fontsize=9.5, color=MUTED)
    # The corner of what is slow and inaccurate is the emptiest: what lies there is never on a front.
    axes.legend(loc="lower right", fontsize=9.5, frameon=True, framealpha=0.9, edgecolor="none", borderaxespad=0.8)
    _write_labels(axes, picture)
    return figure


def _colours(picture: Picture) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(len(picture.curves))]


def _draw_curve(axes: Axes, picture: Picture, curve: Curve, colour: str) -> None:
    marker = MARKERS[[c.name for c in picture.curves].index(curve.name) % len(MARKERS)]
    axes.plot(*_places(picture, curve.front), color=colour, linewidth=2, zorder=3)
    others = tuple(point for point in curve.points if point not in curve.front)
    axes.plot(*_places(picture, others), marker, markersize=5, mfc="white", mec=colour, mew=1.1, alpha=0.75, zorder=4)
    axes.plot(*_places(picture, curve.front), marker, markersize=6.5, color=colour, zorder=5)
    axes.plot([], [], f"{marker}-", color=colour, linewidth=2, markersize=6.5, label=curve.name)


def _places(picture: Picture, points: tuple[Point, ...]) -> tuple[list[float], list[float]]:
    places = [_place(picture, point) for point in points]
    return [x for x, _ in places], [y for _, y in places]


def _place(picture: Picture, point: Point) -> tuple[float, float]:
    """Where a point is drawn."""
    return point.p50_ms, picture.height(accuracy_of(point))


def _set_axes(axes: Axes, picture: Picture) -> None:
    low_ms, high_ms = picture.span_ms()
    heights = [picture.height(value) for value in picture.accuracies]
    room = (max(heights) - min(heights) or 0.1) * 0.1
    axes.set(xscale="log", xlim=(low_ms, high_ms), ylim=(min(heights) - room, max(heights) + room))
    axes.set(xlabel="response time, median, one caller (logarithmic)", ylabel=picture.metric)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high_ms / low_ms < 3000 else (1.0,)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ms, _: bound_text(ms)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    marks = picture.marks()
    axes.yaxis.set_major_locator(FixedLocator([picture.height(mark) for mark in marks]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda _, at: f"{marks[at]:g}" if at is not None else ""))


def _draw_targets(axes: Axes, picture: Picture) -> None:
    for target in picture.targets:
        axes.axvline(target.bound_ms, color=BOUND, linewidth=1.2, dashes=(5, 4), zorder=2)
        axes.annotate(
            target.name,
            (target.bound_ms, 1),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            va="bottom",
            color=BOUND,
            fontsize=9,
        )


def _write_labels(axes: Axes, picture: Picture) -> None:
    """Those on a front first: they are what a reader looks for. The others, and beyond two curves also the fronts but
    the fastest, are labelled where there is room.
    """
    labels = Labels(axes, list(_obstacles(axes, picture)))
    order = sorted(zip(picture.curves, _colours(picture), strict=True), key=lambda pair: pair[0].front[-1].p50_ms)
    for on_front in (True, False):
        for rank, (curve, colour) in enumerate(order):
            needed = on_front and (rank == 0 or len(order) <= 2)
            for point in curve.points:
                if (point in curve.front) == on_front:
                    shade, size = (colour, 9.0) if on_front else (MUTED, 7.5)
                    labels.place(label_of(point), *_place(picture, point), needed=needed, colour=shade, size=size)


def _obstacles(axes: Axes, picture: Picture) -> Iterator[Box]:
    """Boxes over every point, along every front and along the targets, in pixels."""
    for curve in picture.curves:
        for point in curve.points:
            x, y = axes.transData.transform(_place(picture, point))
            yield x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2
        for first, second in pairwise(curve.front):
            (x1, y1), (x2, y2) = (
                axes.transData.transform((point.p50_ms, picture.height(accuracy_of(point))))
                for point in (first, second)
            )
            steps = 24
            for step in range(steps + 1):
                x, y = x1 + (x2 - x1) * step / steps, y1 + (y2 - y1) * step / steps
                yield x - 2, y - 2, x + 2, y + 2
    legend = axes.get_legend()
    assert legend is not None
    x0, y0, x1, y1 = legend.get_window_extent().extents
    yield x0, y0, x1, y1
    for target in picture.targets:
        x, _ = axes.transData.transform((target.bound_ms, 0))
        yield x - 2, axes.bbox.y0, x + 2, axes.bbox.y1
