"""The laws of the trade-off, fitted to a measurement: what more threads bring, and what a larger picture costs.

Amdahl: T(n) = T1 * (s + (1 - s) / n), with s the share of the work that only one thread can do. Resolution: time is
proportional to pixels to the power e; "twice the side, four times the compute" says that e is 1.
"""

import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tier_planner.measurements import Point, quantile

RESAMPLES = 1000
SEED = 0
"""Of the resampling: the same record gives the same interval."""
CONFIDENCE = 0.95
Latencies = Mapping[int, Sequence[float]]
"""Threads -> every latency that was measured with as many, in ms."""


@dataclass(frozen=True)
class Amdahl:
    """What the times at several thread counts say."""

    one_thread_ms: float
    """Median with one thread, as fitted."""
    serial_share: float
    """0: every thread helps in full; 1: none helps."""
    low: float
    high: float
    """95 % interval of the share, by resampling the latencies; with three of them it is coarse. It takes each for
    independent; those of one block share what disturbed it, so that the interval is rather too narrow.
    """
    thread_counts: tuple[int, ...]

    def predict_ms(self, threads: float) -> float:
        """The median with `threads` threads."""
        return self.one_thread_ms * (self.serial_share + (1 - self.serial_share) / threads)


@dataclass(frozen=True)
class HeldBack:
    """The largest thread count, predicted from the others and measured."""

    threads: int
    predicted_ms: float
    actual_ms: float

    @property
    def error(self) -> float:
        """Predicted over actual, less 1."""
        return self.predicted_ms / self.actual_ms - 1


@dataclass(frozen=True)
class Exponent:
    """Time is proportional to pixels to the power `value`."""

    value: float
    low: float
    high: float
    """Smallest and largest exponent between neighbouring scales: apart, the times follow no one power."""


@dataclass(frozen=True)
class Resolution:
    """How the time of one model at one power follows the pixels of the picture, which are proportional to scale²."""

    total: Exponent
    stages: Mapping[str, Exponent]
    """Of the stages that took at least 1 % of the time at some scale."""
    shares: Mapping[float, Mapping[str, float]]
    """Scale -> stage -> its share of the stages' time."""
    seen: Exponent | None
    """Pixels that the graph sees (overlaps, the pass over the whole picture) over pixels of the picture."""
    compute: Exponent | None
    """Time of `infer` over the pixels that the graph sees: the law without what tiling adds."""


def fit_amdahl(latencies: Latencies) -> Amdahl | None:
    """The serial share that fits the medians best, with its interval; None for fewer than two thread counts."""
    if len(latencies) < 2:
        return None
    counts = sorted(latencies)
    one_thread_ms, share = _amdahl({n: _median(latencies[n]) for n in counts})
    rng = random.Random(SEED)  # noqa: S311 - a statistic, no secret
    shares = sorted(
        _amdahl({n: _median(rng.choices(latencies[n], k=len(latencies[n]))) for n in counts})[1]
        for _ in range(RESAMPLES)
    )
    tail = (1 - CONFIDENCE) / 2
    return Amdahl(one_thread_ms, share, quantile(shares, tail), quantile(shares, 1 - tail), tuple(counts))


def hold_back(latencies: Latencies) -> HeldBack | None:
    """Predict the largest thread count from the others; None for fewer than three, where nothing would be left to
    check: two times fit any line.
    """
    if len(latencies) < 3:
        return None
    last = max(latencies)
    fitted = fit_amdahl({threads: values for threads, values in latencies.items() if threads != last})
    assert fitted is not None
    return HeldBack(last, fitted.predict_ms(last), _median(latencies[last]))


def _amdahl(medians: Mapping[int, float]) -> tuple[float, float]:
    """Time with one thread and serial share, 0..1: least squares of the relative error of T(n) = a + b / n."""
    rows = [(1 / ms, 1 / (threads * ms)) for threads, ms in medians.items()]  # a * x + b * y = 1
    xx, yy = sum(x * x for x, _ in rows), sum(y * y for _, y in rows)
    xy, x1, y1 = sum(x * y for x, y in rows), sum(x for x, _ in rows), sum(y for _, y in rows)
    determinant = xx * yy - xy * xy
    serial, parallel = (x1 * yy - y1 * xy) / determinant, (y1 * xx - x1 * xy) / determinant
    if serial < 0:  # faster than the threads can explain
        return y1 / yy, 0.0
    if parallel < 0:  # slower with more threads
        return x1 / xx, 1.0
    return serial + parallel, serial / (serial + parallel)


def fit_exponent(times_ms: Mapping[float, float]) -> Exponent | None:
    """The power of the keys (pixels, or anything proportional to them) that the times follow: a straight line through
    their logarithms. None for fewer than two keys.
    """
    if len(times_ms) < 2:
        return None
    logs = [(math.log(pixels), math.log(ms)) for pixels, ms in sorted(times_ms.items())]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)
    steps = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairwise(logs)]
    return Exponent(slope, min(steps), max(steps))


def fit_resolution(points: Iterable[Point]) -> Resolution | None:
    """The law of pixels over points that differ in scale alone; None for fewer than two scales."""
    by_scale = {point.scale: point for point in points if point.scale is not None}
    total = fit_exponent({scale**2: point.p50_ms for scale, point in by_scale.items()})
    if total is None:
        return None
    shares = {scale: _shares(point) for scale, point in sorted(by_scale.items(), reverse=True)}
    stages = {}
    for stage in next(iter(by_scale.values())).stages_ms:
        times = {scale**2: point.stages_ms.get(stage, 0.0) for scale, point in by_scale.items()}
        if max(share.get(stage, 0) for share in shares.values()) >= 0.01 and min(times.values()) > 0:
            stages[stage] = _present(fit_exponent(times))
    pixels = {scale**2: float(point.pixels) for scale, point in by_scale.items() if point.pixels}
    infer = {float(p.pixels): ms for p in by_scale.values() if p.pixels and (ms := p.stages_ms.get("infer"))}
    return Resolution(total, stages, shares, fit_exponent(pixels), fit_exponent(infer))


def alike(points: Iterable[Point], key: Callable[[Point], object]) -> list[list[Point]]:
    """The points in groups of equal `key`, in the order in which each first came."""
    groups: dict[object, list[Point]] = {}
    for point in points:
        groups.setdefault(key(point), []).append(point)
    return list(groups.values())


def _shares(point: Point) -> dict[str, float]:
    whole = sum(point.stages_ms.values()) or 1.0
    return {stage: ms / whole for stage, ms in point.stages_ms.items()}


def _median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def _present(exponent: Exponent | None) -> Exponent:
    assert exponent is not None
    return exponent
