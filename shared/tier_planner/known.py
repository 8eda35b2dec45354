"""A candidate out of a measured point: the times of the point or of the hosting itself, and how they are known."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tier_planner.candidates import Candidate, Key, key_of
from tier_planner.hosting import Hosting
from tier_planner.measurements import Measurement, Point
from tier_planner.queueing import service_shape


def points_of(asked: str, measurement: Measurement, device: str) -> list[Point]:
    """The points of the model or family `asked` that were computed on `device`."""
    return [point for point in measurement.points if is_asked(point, asked) and point.device == device]


def is_asked(point: Point, asked: str) -> bool:
    """Whether `asked` is the point's model or its family."""
    return asked in (point.family, point.model)


def grouped(points: Iterable[Point]) -> dict[Key, list[Point]]:
    """The points of each model, scale and precision."""
    groups: dict[Key, list[Point]] = {}
    for point in points:
        groups.setdefault(key_of(point), []).append(point)
    return groups


@dataclass(frozen=True)
class Known:
    """The point that a candidate stands on, how good it is, and how its time is known."""

    point: Point
    accuracy: float | None
    metric: str
    evidence: str
    why: str


@dataclass(frozen=True)
class Factors:
    """Factors on the times of a measured point, and why."""

    point: Point
    low: float
    middle: float
    high: float
    why: str


def own(hosting: Hosting, times_ms: Sequence[float], threads: int, known: Known) -> Candidate:
    """From times of the hosting itself, one answer at a time."""
    point = known.point
    return Candidate(
        hosting=hosting,
        model=point.model,
        variant=point.variant,
        scale=point.scale,
        precision=point.precision,
        accuracy=known.accuracy,
        metric=known.metric,
        threads=threads,
        slots=1,
        service_ms=service_shape(times_ms),
        contention=1.0,
        low=1.0,
        high=1.0,
        memory_mib=point.memory_peak_mib,
        evidence=known.evidence,
        why=known.why,
        sha256=point.sha256,
    )


def from_point(hosting: Hosting, threads: int, slots: int, time: Factors, known: Known) -> Candidate:
    """From the times of a measured point and the factors on them."""
    point = known.point
    times_ms = [latency_ms * time.middle for latency_ms in point.latencies_ms]
    return replace(
        own(hosting, times_ms, threads, known),
        slots=slots,
        low=time.low / time.middle,
        high=time.high / time.middle,
        memory_mib=point.memory_peak_mib and point.memory_peak_mib * slots,
    )
