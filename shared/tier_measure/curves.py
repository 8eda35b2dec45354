"""What a chart draws: the points of each machine and power as one curve, its Pareto front, the targets as lines."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tier_planner.laws import alike
from tier_planner.measurements import SMALLER_IS_BETTER, Measurement, Point, goodness
from tier_planner.objectives import IMAGE_WORKLOADS, read_objectives
from tier_planner.records import Machine

from loadtest.paths import SLO
from tier_measure.errors import MeasureError
from tier_measure.tables import count_text, work_text

SHARES = (0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 1)
"""Marks of an axis of accuracy, where it is wide enough to hold some."""
MARKS_MIN = 3
_ERRORS_FROM = 0.95
"""Where the best accuracy is above, the axis is one of errors: equal steps leave the same share of what is wrong. On an
even axis 0.98 and 0.99 would lie on each other, though one misses twice as much as the other."""
_ERROR_MIN = 1e-4
_TIERS = {"function": "function", "container": "container", "gpu": "GPU"}


@dataclass(frozen=True)
class Curve:
    """Every variant and work on one machine with one power."""

    name: str
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    """Those that no other of the curve beats in both accuracy and time, from fast to accurate."""


@dataclass(frozen=True)
class Target:
    """A bound on the response time."""

    name: str
    bound_ms: float


@dataclass(frozen=True)
class Picture:
    """All that is drawn."""

    title: str
    subtitle: str
    metric: str
    curves: tuple[Curve, ...]
    targets: tuple[Target, ...]

    @property
    def accuracies(self) -> list[float]:
        """Of every point."""
        return [accuracy_of(point) for curve in self.curves for point in curve.points]

    def span_ms(self) -> tuple[float, float]:
        """The times to show: all points and targets, with room for their labels."""
        times = [point.p50_ms for curve in self.curves for point in curve.points]
        times += [target.bound_ms for target in self.targets]
        room = max((max(times) / min(times)) ** 0.07, 1.3)
        return min(times) / room, max(times) * room

    def height(self, accuracy: float) -> float:
        """Where an accuracy stands on the axis."""
        if max(self.accuracies) <= _ERRORS_FROM or self.metric in SMALLER_IS_BETTER:
            return accuracy
        return -math.log10(max(1 - accuracy, _ERROR_MIN))

    def marks(self) -> list[float]:
        """Accuracies to mark on the axis: round ones between the lowest and the highest."""
        low, high = min(self.accuracies), max(self.accuracies)
        shares = [mark for mark in SHARES if low <= mark <= high]
        return shares if len(shares) >= MARKS_MIN else round_marks(low, high)


def round_marks(low: float, high: float) -> list[float]:
    """At least three multiples of 1, 2 or 5 times a power of ten between `low` and `high`; `low` where they are one."""
    if high <= low:
        return [low]
    power = math.floor(math.log10(high - low)) + 1
    steps = (factor * 10.0 ** (power - down) for down in range(4) for factor in (5, 2, 1))
    for step in steps:
        first, last = math.ceil(low / step), math.floor(high / step)
        if last - first + 1 >= MARKS_MIN:
            return [round(step * at, 12) for at in range(first, last + 1)]
    return [low, high]


def picture_of(measurements: Sequence[Measurement], slo: Path = SLO) -> Picture:
    """The chart of several measurements. Raises MeasureError when no point has an accuracy, or they have several
    metrics.
    """
    points = [point for measurement in measurements for point in measurement.points if point.accuracy]
    metrics = {point.accuracy.metric for point in points if point.accuracy}
    if len(metrics) != 1:
        found = f"it is of several kinds: {', '.join(sorted(metrics))}" if metrics else "no point has one"
        raise MeasureError(f"A chart needs one accuracy, but {found}. Measure with --data, or chart the records apart.")
    families = ", ".join(dict.fromkeys(point.family for point in points))
    machines = {machine_text(m.machine, point.device) for m in measurements for point in m.points if point.accuracy}
    alone = len(machines) == 1
    title = f"{families} on {min(machines)}" if alone else families
    curves = [curve for measurement in measurements for curve in _curves(measurement, alone=alone)]
    point = "variant" if points[0].scale is None else "variant@scale"
    subtitle = f"{measurements[0].workload}; each point is a {point}, the line is the Pareto front"
    return Picture(title, subtitle, metrics.pop(), tuple(curves), targets_of(points, slo))


def _curves(measurement: Measurement, *, alone: bool) -> Iterable[Curve]:
    points = [point for point in measurement.points if point.accuracy]
    for same in alike(points, _power):
        first = same[0]
        machine = "" if alone else f"{machine_text(measurement.machine, first.device)}, "
        rows = f", {first.batch} rows" if first.scale is None and first.batch > 1 else ""
        power = first.precision if first.device == "cuda" else count_text(first.threads)
        yield Curve(f"{machine}{power}{rows}", tuple(same), front(same))


def _power(point: Point) -> tuple[object, ...]:
    """Points of one curve have this in common. A GPU is faster in fewer bits by design, so that it has a curve for each
    precision; on a CPU an int8 file is a variant among others.
    """
    precision = point.precision if point.device == "cuda" else ""
    return point.device, precision, point.threads, point.scale is None and point.batch


def machine_text(machine: Machine, device: str) -> str:
    """The processor with its cores, or the GPU where that computed."""
    if device == "cuda" and machine.gpu:
        return machine.gpu.partition(",")[0]
    return f"{machine.cpu}, {machine.cores_visible} cores"


def front(points: Iterable[Point]) -> tuple[Point, ...]:
    """The Pareto front: from fast to slow, each more accurate than every one before it."""
    found: list[Point] = []
    for point in sorted(points, key=lambda p: (p.p50_ms, -_goodness(p))):
        if not found or _goodness(point) > _goodness(found[-1]):
            found.append(point)
    return tuple(found)


def accuracy_of(point: Point) -> float:
    """The accuracy of a point that has one."""
    assert point.accuracy is not None
    return point.accuracy.value


def _goodness(point: Point) -> float:
    assert point.accuracy is not None
    return goodness(point.accuracy.metric, point.accuracy.value)


def targets_of(points: Sequence[Point], slo: Path) -> tuple[Target, ...]:
    """The bounds that `slo.toml` sets for this kind of work."""
    pictures = points[0].scale is not None
    tiers: dict[float, list[str]] = {}
    for objective in read_objectives(slo).by_name.values():
        if (objective.workload in IMAGE_WORKLOADS) == pictures:
            tiers.setdefault(objective.bound_ms, []).append(objective.tier)
    return tuple(
        Target(f"{' and '.join(map(_TIERS.__getitem__, dict.fromkeys(names)))} target, {bound_text(ms)}", ms)
        for ms, names in tiers.items()
    )


def bound_text(ms: float) -> str:
    """A bound or a mark of the axis, as short as it is exact."""
    return f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms"


def label_of(point: Point) -> str:
    """`l@1`, `n-int8@0.25`; of rows the variant alone."""
    return f"{point.variant}@{work_text(point)}" if point.scale is not None else point.variant
