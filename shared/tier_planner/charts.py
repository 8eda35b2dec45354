"""Small SVG charts: scales, axes, lines and labels that do not lie on each other. Colours come from the page's CSS."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760.0, 420.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 225.0, 18.0, 48.0
"""Room around the plot; on the right stand the names of the lines."""
LABEL_APART = 17.0
LABEL_WIDTH = 46.0
LETTER_WIDTH = 6.6
"""Of a label, about: the font is the reader's."""


@dataclass(frozen=True)
class Axis:
    """One direction: from values to pixels, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool
    title: str
    words: Callable[[float], str] = "{:,g}".format
    """What stands beside a tick."""

    def at(self, value: float) -> float:
        """Pixels of a value; outside the axis, its nearer end."""
        share = (self._on(value) - self._on(self.low)) / (self._on(self.high) - self._on(self.low))
        return self.start + min(1.0, max(0.0, share)) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values inside."""
        if self.is_log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if self.high / self.low < 300 else (1,)
            every = [step * 10.0**power for power in powers for step in steps]
        else:
            step = 10 ** math.floor(math.log10((self.high - self.low) / 3))
            step *= 2 if (self.high - self.low) / step > 8 else 1
            every = [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [value for value in every if self.low <= value * (1 + 1e-9) and value <= self.high * (1 + 1e-9)]

    def _on(self, value: float) -> float:
        return math.log(max(value, 1e-12)) if self.is_log else value


def x_axis(values: Sequence[float], title: str, words: Callable[[float], str] = "{:,g}".format) -> Axis:
    """Logarithmic, with a little room on both sides."""
    return Axis(min(values) / 1.15, max(values) * 1.15, LEFT, WIDTH - RIGHT, is_log=True, title=title, words=words)


def y_axis(values: Sequence[float], title: str, *, is_log: bool = False, high: float = math.inf) -> Axis:
    """Linear unless said otherwise; never above `high`."""
    low, top = min(values), max(values)
    if is_log:
        return Axis(low / 1.3, top * 1.3, HEIGHT - BOTTOM, TOP, is_log=True, title=title)
    room = max((top - low) * 0.12, 0.01)
    return Axis(low - room, min(high, top + room), HEIGHT - BOTTOM, TOP, is_log=False, title=title)


@dataclass(frozen=True)
class Line:
    """Points in values, joined; the name stands beside its end."""

    name: str
    points: tuple[tuple[float, float], ...]
    notes: tuple[str, ...] = ()
    """One for each point, shown by the browser on pointing; where `is_marked`."""
    labels: tuple[str, ...] = ()
    """One for each point, written beside it."""
    is_bold: bool = False
    is_marked: bool = False


def chart(x: Axis, y: Axis, lines: Sequence[Line], behind: str = "", above: str = "", label: str = "") -> str:
    """An SVG element. `behind` and `above` are SVG drawn below and above the lines."""
    body = [
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(label)}">',
        behind,
        *_axes(x, y),
        *(_line(x, y, line, number) for number, line in enumerate(lines)),
        *_names(x, y, lines),
        above,
        "</svg>",
    ]
    return "\n".join(part for part in body if part)


def box(x: Axis, y: Axis, right: float, bottom: float | None) -> str:
    """The requirement: everything left of `right` and above `bottom`."""
    left, top = x.start, y.end
    width, height = x.at(right) - left, (y.at(bottom) if bottom is not None else y.start) - top
    return f'<rect class="box" x="{left:.1f}" y="{top:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}"/>'


def dot(x: Axis, y: Axis, at: tuple[float, float], note: str, name: str = "big") -> str:
    """A marked point of class `name`."""
    place = f'cx="{x.at(at[0]):.1f}" cy="{y.at(at[1]):.1f}"'
    return f'<circle class="{name}" {place} r="6"><title>{escape(note)}</title></circle>'


def upright(x: Axis, y: Axis, value: float, words: str) -> str:
    """A dashed vertical with its words on top."""
    at = x.at(value)
    line = f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{y.end:.1f}" y2="{y.start:.1f}"/>'
    return line + f'<text class="mark" x="{at + 4:.1f}" y="{y.end + 10:.1f}">{escape(words)}</text>'


def _axes(x: Axis, y: Axis) -> list[str]:
    lines = []
    for value in x.ticks():
        at = x.at(value)
        lines.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{y.end:.1f}" y2="{y.start:.1f}"/>')
        lines.append(
            f'<text class="tick" x="{at:.1f}" y="{y.start + 16:.1f}" text-anchor="middle">{x.words(value)}</text>'
        )
    for value in y.ticks():
        at = y.at(value)
        lines.append(f'<line class="grid" x1="{x.start:.1f}" x2="{x.end:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>')
        lines.append(
            f'<text class="tick" x="{x.start - 8:.1f}" y="{at + 4:.1f}" text-anchor="end">{y.words(value)}</text>'
        )
    middle = (x.start + x.end) / 2, (y.start + y.end) / 2
    title = f'<text class="title" x="{middle[0]:.1f}" y="{y.start + 38:.1f}" text-anchor="middle">'
    turned = f'transform="translate(14 {middle[1]:.1f}) rotate(-90)"'
    lines.append(f"{title}{escape(x.title)}</text>")
    lines.append(f'<text class="title" {turned} text-anchor="middle">{escape(y.title)}</text>')
    return lines


def _line(x: Axis, y: Axis, line: Line, number: int) -> str:
    places = [(x.at(across), y.at(up)) for across, up in line.points]
    path = " ".join(f"{across:.1f},{up:.1f}" for across, up in places)
    bold = " bold" if line.is_bold else ""
    parts = [f'<g class="c{number}{bold}"><polyline points="{path}"/>']
    if line.is_marked:
        notes = line.notes or ("",) * len(places)
        parts += [
            f'<circle cx="{across:.1f}" cy="{up:.1f}" r="3.2"><title>{escape(note)}</title></circle>'
            for (across, up), note in zip(places, notes, strict=True)
        ]
    parts += _labels(x, list(zip(places, line.labels, strict=False)))
    return "".join([*parts, "</g>"])


def _labels(x: Axis, labels: Sequence[tuple[tuple[float, float], str]]) -> list[str]:
    """Words below their points, the last point first; those that would lie on others are left to the title."""
    parts: list[str] = []
    taken: list[tuple[float, float, float]] = []
    for (across, up), words in reversed(labels):
        left = across > x.end - LABEL_WIDTH  # no room between the plot and the names
        anchor, aside = ("end", -8) if left else ("start", 7)
        width = LETTER_WIDTH * len(words)
        start = across + aside - (width if left else 0)
        if any(start < end and begin < start + width and abs(up - other) < LABEL_APART for begin, end, other in taken):
            continue
        taken.append((start, start + width, up))
        place = f'x="{across + aside:.1f}" y="{up + 15:.1f}" text-anchor="{anchor}"'
        parts.append(f'<text class="label" {place}>{escape(words)}</text>')
    return parts


def _names(x: Axis, y: Axis, lines: Sequence[Line]) -> list[str]:
    """Names on the right, moved apart, each joined to the end of its line."""
    ends = sorted(
        (y.at(line.points[-1][1]), x.at(line.points[-1][0]), number) for number, line in enumerate(lines) if line.points
    )
    parts, last = [], TOP - LABEL_APART
    overflow = max(0.0, TOP + LABEL_APART * len(ends) - (HEIGHT - BOTTOM))
    for rank, (up, across, number) in enumerate(ends):
        room = HEIGHT - BOTTOM - LABEL_APART * (len(ends) - 1 - rank) + overflow
        last = min(max(up, last + LABEL_APART), room)
        start = x.end + 14
        path = f"{across:.1f},{up:.1f} {start - 4:.1f},{last:.1f}"
        bold = " bold" if lines[number].is_bold else ""
        parts.append(f'<g class="c{number}{bold}"><polyline class="lead" points="{path}"/>')
        parts.append(f'<text class="name" x="{start:.1f}" y="{last + 4:.1f}">{escape(lines[number].name)}</text></g>')
    return parts
