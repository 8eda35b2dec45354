"""What is on a good board: planes, footprints, bundles of traces, vias, lettering, fiducials.

Every size below is in pixels at zoom 1, the scale of a 4K picture, and is multiplied by the zoom.
Objects are placed by trial: a place that is taken is skipped, so the board stays legal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np

from training.boards.canvas import Canvas
from training.boards.geometry import Points, normal, offset_polyline, rectangle, unit
from training.boards.glyphs import random_text, text_dots

CLEARANCE = 14.0
_SHORTEST_TRACE = 130.0  # a shorter one would look like an island of copper
_EIGHTH = math.pi / 4
_X = np.array([1.0, 0.0])

# How many of each are tried per million pixels at zoom 1, in the order of drawing.
_PER_MEGAPIXEL = (
    ("plane", 1.6),
    ("footprint", 4.0),
    ("grid", 2.0),
    ("wide_bundle", 26.0),
    ("bundle", 80.0),
    ("lettering", 6.0),
    ("fiducial", 1.0),
    ("lone_via", 25.0),
    ("test_point", 14.0),
)


def draw_layout(rng: np.random.Generator, width: int, height: int, zoom: float) -> Canvas:
    """A good board of `width` x `height` pixels with features scaled by `zoom`."""
    canvas = Canvas(width, height)
    megapixels = width * height / zoom**2 / 1e6
    for name, density in _PER_MEGAPIXEL:
        for _ in range(max(1, round(density * megapixels * rng.uniform(0.6, 1.3)))):
            _PLACERS[name](rng, canvas, zoom)
    return canvas


def _somewhere(rng: np.random.Generator, canvas: Canvas) -> Points:
    return rng.uniform((0.0, 0.0), (float(canvas.width), float(canvas.height)))


def _reserve(canvas: Canvas, centre: Points, size: tuple[float, float], clearance: float) -> bool:
    area = rectangle(centre, _X, size[0] + 2 * clearance, size[1] + 2 * clearance)
    if not canvas.free(area):
        return False
    canvas.take(area)
    return True


def _plane(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    """A chamfered copper area, some with rows of vias that it keeps clear of."""
    centre = _somewhere(rng, canvas)
    size = rng.uniform(140, 620, 2) * zoom
    if not _reserve(canvas, centre, (size[0], size[1]), CLEARANCE * zoom):
        return
    half, cut = size / 2, float(rng.uniform(10, 40)) * zoom
    corner = np.array([half - (cut, 0.0), half - (0.0, cut)])
    outline = np.concatenate([corner, corner[::-1] * (1, -1), corner * (-1, -1), corner[::-1] * (-1, 1)])
    canvas.polygon(centre + outline)
    canvas.surfaces.append((*(centre - half), *(centre + half)))
    if rng.random() < 0.7:
        _antipads(rng, canvas, centre, half - 45 * zoom, zoom)
    else:
        _vents(rng, canvas, centre, half - 30 * zoom, zoom)


def _antipads(rng: np.random.Generator, canvas: Canvas, centre: Points, half: Points, zoom: float) -> None:
    pitch = float(rng.uniform(70, 130)) * zoom
    radius = float(rng.uniform(11, 18)) * zoom
    ring, hole = radius + float(rng.uniform(8, 14)) * zoom, radius * float(rng.uniform(0.4, 0.6))
    joined = rng.random() < 0.3
    if min(half) <= 0:
        return
    for x in np.arange(-half[0], half[0], pitch):
        for y in np.arange(-half[1], half[1], pitch):
            if rng.random() < 0.45:
                continue
            if not joined:
                canvas.disc(centre[0] + x, centre[1] + y, ring, copper=False)
            canvas.via(centre[0] + x, centre[1] + y, radius, hole)


def _vents(rng: np.random.Generator, canvas: Canvas, centre: Points, half: Points, zoom: float) -> None:
    """Rows of small round openings in a plane: alone, each would pass for a pin-hole."""
    if min(half) <= 0:
        return
    for _ in range(int(rng.integers(1, 5))):
        pitch, radius = float(rng.uniform(22, 44)) * zoom, float(rng.uniform(3.5, 8)) * zoom
        start = centre + rng.uniform(-half, half)
        step = pitch * (_X if rng.random() < 0.5 else normal(_X))
        for index in range(int(rng.integers(3, 8))):
            place = start + index * step
            if (np.abs(place - centre) > half).any():
                break
            canvas.disc(place[0], place[1], radius, copper=False)


def _footprint(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    """Two rows of rectangular pads, as under a chip; a single pair for a small part."""
    centre = _somewhere(rng, canvas)
    count = int(rng.integers(1, 13))
    pad_width = float(rng.uniform(18, 42)) * zoom
    pad_length = pad_width * float(rng.uniform(1.2, 2.6))
    pitch = pad_width + float(rng.uniform(12, 30)) * zoom
    apart = pad_length + float(rng.uniform(30, 160)) * zoom
    along = _X if rng.random() < 0.5 else normal(_X)
    run = (count - 1) * pitch + pad_width
    spans = (run, apart + pad_length) if along[0] else (apart + pad_length, run)
    if not _reserve(canvas, centre, spans, CLEARANCE * zoom):
        return
    for index in range(count):
        for side in (-0.5, 0.5):
            step = (index - (count - 1) / 2) * pitch
            place = centre + step * along + side * apart * normal(along)
            canvas.polygon(rectangle(place, along, pad_width, pad_length))
            canvas.surfaces.append(_around(place, min(pad_width, pad_length) / 2))


def _around(place: Points, reach: float) -> tuple[float, float, float, float]:
    x, y = float(place[0]), float(place[1])
    return (x - reach, y - reach, x + reach, y + reach)


def _grid(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    """A grid of round pads, drilled or not."""
    centre = _somewhere(rng, canvas)
    columns, rows = int(rng.integers(2, 9)), int(rng.integers(2, 9))
    radius = float(rng.uniform(12, 30)) * zoom
    pitch = 2 * radius + float(rng.uniform(14, 36)) * zoom
    drilled, hole = rng.random() < 0.5, radius * float(rng.uniform(0.35, 0.6))
    size = ((columns - 1) * pitch + 2 * radius, (rows - 1) * pitch + 2 * radius)
    if not _reserve(canvas, centre, size, CLEARANCE * zoom):
        return
    for column in range(columns):
        for row in range(rows):
            step = np.array([column - (columns - 1) / 2, row - (rows - 1) / 2]) * pitch
            place = centre + step
            if drilled:
                canvas.via(place[0], place[1], radius, hole)
            else:
                canvas.disc(place[0], place[1], radius)
                canvas.surfaces.append(_around(place, radius * 0.7))


def _route(rng: np.random.Generator, canvas: Canvas, start: Points, breadth: float, reach: float) -> Points | None:
    """A free way for something `breadth` wide: a polyline with turns of 45 degrees, or None."""
    first = int(rng.integers(8))
    heading, line = first, [start]
    for _ in range(int(rng.integers(1, 6))):
        direction = np.array([math.cos(heading * _EIGHTH), math.sin(heading * _EIGHTH)])
        length = max(float(rng.uniform(0.3, 1.0)) * reach, breadth * 0.7)
        for share in (1.0, 0.5, 0.25):
            end = line[-1] + direction * max(length * share, breadth * 0.7)
            if canvas.free(rectangle((line[-1] + end) / 2, direction, math.dist(line[-1], end), breadth)):
                line.append(end)
                break
        else:
            break
        # Staying within 45 degrees of the first heading keeps the way from crossing itself.
        heading = first + int(rng.integers(-1, 2))
        if len(line) > 1 and heading == round(math.atan2(direction[1], direction[0]) / _EIGHTH):
            heading = first
    return np.array(line) if len(line) > 1 else None


def _wide_bundle(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    _run_traces(rng, canvas, zoom, int(rng.integers(4, 13)), 900.0)


def _bundle(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    _run_traces(rng, canvas, zoom, int(rng.integers(1, 5)), 420.0)


def _run_traces(rng: np.random.Generator, canvas: Canvas, zoom: float, count: int, reach: float) -> None:
    """`count` parallel traces, each end finished the same way on its side."""
    width = float(rng.choice([9, 10, 12, 14, 16, 20, 24, 30])) * zoom
    pitch = width + float(rng.uniform(13, 34)) * zoom
    breadth = (count - 1) * pitch + width + 2 * CLEARANCE * zoom
    middle = _route(rng, canvas, _somewhere(rng, canvas), breadth, reach * zoom)
    if middle is None or math.dist(middle[0], middle[-1]) < _SHORTEST_TRACE * zoom:
        return
    for start, end in itertools.pairwise(middle):
        direction = unit(end - start)
        span = math.dist(start, end) + CLEARANCE * zoom
        canvas.take(rectangle((start + end) / 2, direction, span, breadth))
    finishes = [str(rng.choice(["via", "pad", "bare"], p=[0.5, 0.25, 0.25])) for _ in range(2)]
    radius = min(pitch - width / 2 - 8 * zoom, width * 1.6 + 4 * zoom)
    stagger = 2 * radius + 12 * zoom
    if 0.4 * min(math.dist(*middle[:2]), math.dist(*middle[-2:])) < radius + stagger:
        finishes, stagger = ["bare", "bare"], 0.0  # staggered ends would not keep clear
    for index in range(count):
        line = offset_polyline(middle, (index - (count - 1) / 2) * pitch)
        step = (index % 2) * stagger
        line = _shorten(line, radius + step)
        for piece in _parted(rng, line, width, zoom):
            canvas.trace(piece, width)
        for end, finish in zip((line[0], line[-1]), finishes, strict=True):
            _finish(canvas, end, finish, radius, width)


def _parted(rng: np.random.Generator, line: Points, width: float, zoom: float) -> list[Points]:
    """`line`, or one time in seven two traces in its place that end face to face, round and clear of each other: what
    an open looks like, but for its torn ends.
    """
    longest = int(np.hypot(*np.diff(line, axis=0).T).argmax())
    start, end = line[longest], line[longest + 1]
    apart = width + float(rng.uniform(12, 34)) * zoom
    if rng.random() > 1 / 7 or math.dist(start, end) < 2 * _SHORTEST_TRACE * zoom + apart:
        return [line]
    middle = start + (end - start) * float(rng.uniform(0.4, 0.6))
    half = unit(end - start) * apart / 2
    return [np.vstack([line[: longest + 1], middle - half]), np.vstack([middle + half, line[longest + 1 :]])]


def _shorten(line: Points, cut: float) -> Points:
    """`line` with up to `cut` pixels taken from both ends, never a whole piece."""
    out = line.copy()
    for end, inner in ((0, 1), (-1, -2)):
        piece = line[inner] - line[end]
        length = float(np.hypot(*piece))
        out[end] = line[end] + piece * min(cut / length, 0.4)
    return out


def _finish(canvas: Canvas, end: Points, finish: str, radius: float, width: float) -> None:
    x, y = float(end[0]), float(end[1])
    if finish == "bare" or radius < 0.75 * width:
        return
    if finish == "via":
        canvas.via(x, y, radius, radius * 0.5)
    else:
        canvas.disc(x, y, radius)
        canvas.surfaces.append(_around(end, radius * 0.7))


def _lone_via(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    centre = _somewhere(rng, canvas)
    radius = float(rng.uniform(12, 26)) * zoom
    if _reserve(canvas, centre, (2 * radius, 2 * radius), CLEARANCE * zoom):
        canvas.via(centre[0], centre[1], radius, radius * float(rng.uniform(0.35, 0.6)))


def _test_point(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    """A small bare pad, round or square: clean edges tell it from spurious copper."""
    centre = _somewhere(rng, canvas)
    radius = float(rng.uniform(6, 13)) * zoom
    if not _reserve(canvas, centre, (2 * radius, 2 * radius), CLEARANCE * zoom):
        return
    if rng.random() < 0.5:
        canvas.disc(centre[0], centre[1], radius)
    else:
        canvas.polygon(rectangle(centre, _X, 2 * radius, 2 * radius))


def _fiducial(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    """A bare disc in a wide clear ring, which cameras align on."""
    centre = _somewhere(rng, canvas)
    if _reserve(canvas, centre, (110 * zoom, 110 * zoom), 0.0):
        canvas.disc(centre[0], centre[1], 22 * zoom)


def _lettering(rng: np.random.Generator, canvas: Canvas, zoom: float) -> None:
    dots = text_dots(random_text(rng))
    if rng.random() < 0.5:
        dots = np.rot90(dots)
    dot = float(rng.uniform(5, 9)) * zoom
    centre = _somewhere(rng, canvas)
    size = np.array([dots.shape[1], dots.shape[0]]) * dot
    if not _reserve(canvas, centre, (size[0], size[1]), CLEARANCE * zoom):
        return
    for row, column in np.argwhere(dots):
        place = centre - size / 2 + (np.array([column, row]) + 0.5) * dot
        canvas.polygon(rectangle(place, _X, dot, dot))


_PLACERS: dict[str, Callable[[np.random.Generator, Canvas, float], None]] = {
    "plane": _plane,
    "footprint": _footprint,
    "grid": _grid,
    "wide_bundle": _wide_bundle,
    "bundle": _bundle,
    "lettering": _lettering,
    "fiducial": _fiducial,
    "lone_via": _lone_via,
    "test_point": _test_point,
}
