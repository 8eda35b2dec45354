"""How long a model takes on a CPU hosting, predicted from another machine's measurement.

Amdahl for the threads, the speed of a core for the machine, the measured contention for answers beside each other, each
with its interval.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tier_planner.candidates import PREDICTED, Candidate, Evidence, Key, key_of
from tier_planner.hosting import Hosting
from tier_planner.known import Factors, Known, from_point, grouped, is_asked, points_of
from tier_planner.laws import Amdahl, fit_amdahl
from tier_planner.measurements import Measurement, Point


@dataclass(frozen=True)
class Speed:
    """Of a core there relative to one here."""

    low: float
    middle: float
    high: float
    why: str


@dataclass(frozen=True)
class _Crowd:
    """What answers beside each other cost: how much longer each takes, and what is unsure of that."""

    contention: float
    high: float = 1.0
    """Factor on the upper end of the interval."""
    why: str = ""


def from_cpu(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Predicted from the family's reference on a CPU; from another machine only what the reference has not."""
    seen: set[Key] = set()
    references = _references(asked, evidence)
    for measurement, known in _fresh_first(asked, references, evidence):
        speed = core_speed(hosting, measurement, references[0])
        if speed is None:
            continue
        for key, points in grouped(known).items():
            worst = _worst_contention(measurement, points[0].model)
            if key not in seen and (found := list(_at_each_thread_count(hosting, points, speed, evidence, worst))):
                seen.add(key)
                yield from found


def _fresh_first(
    asked: str, references: Sequence[Measurement], evidence: Evidence
) -> Iterator[tuple[Measurement, list[Point]]]:
    """Each measurement with its points; those of another file than the model's come after all others."""
    for is_stale in (False, True):
        for measurement in references:
            points = points_of(asked, measurement, "cpu")
            yield measurement, [point for point in points if evidence.is_stale(point) is is_stale]


def _references(asked: str, evidence: Evidence) -> list[Measurement]:
    """The measurements of the family on a CPU, the one of most settings first, of equal ones the newest.

    That one is the machine whose core counts 1 in `hosting.toml`. The CPU beside a GPU speaks only where no other does.
    """
    families = {point.family for one in evidence.measurements for point in one.points if is_asked(point, asked)}

    def settings(measurement: Measurement) -> int:
        points = [point for point in measurement.points if point.family in families and point.device == "cpu"]
        return len({(key_of(point), point.threads) for point in points})

    known = [measurement for measurement in evidence.newest() if settings(measurement)]
    alone = [measurement for measurement in known if not measurement.machine.gpu]
    return sorted(alone or known, key=settings, reverse=True)


def _at_each_thread_count(
    hosting: Hosting, points: Sequence[Point], speed: Speed, evidence: Evidence, worst: float | None
) -> Iterator[Candidate]:
    by_threads = {point.threads: point for point in sorted(points, key=lambda point: -point.p50_ms)}
    law = _law(tuple((threads, point.latencies_ms) for threads, point in sorted(by_threads.items())))
    for threads in _thread_choices(hosting):
        time = _at_threads(by_threads, law, threads)
        if time is not None:
            there = replace(
                time, low=time.low / speed.high, middle=time.middle / speed.middle, high=time.high / speed.low
            )
            slots = max(1, min(hosting.slots_max, int(hosting.cores) // threads))
            crowd = _crowd(time.point, threads, slots, worst)
            there = replace(there, high=there.high * crowd.high)
            why = f"{time.why} {crowd.why}{speed.why}"
            known = Known(time.point, *evidence.accuracy(time.point), PREDICTED, why)
            yield replace(from_point(hosting, threads, slots, there, known), contention=crowd.contention)


@lru_cache(maxsize=1000)
def _law(times: tuple[tuple[int, tuple[float, ...]], ...]) -> Amdahl | None:
    """The fit resamples: once for all hostings."""
    return fit_amdahl(dict(times))


def _crowd(point: Point, threads: int, slots: int, worst: float | None) -> _Crowd:
    """As measured with these threads and as many callers, else the model's worst, with the upper end as much higher."""
    if slots == 1:
        return _Crowd(1.0)
    if point.threads == threads and point.callers >= slots:
        return _Crowd(_contention(point))
    if worst is None:
        return _Crowd(1.0, 1.0, "what answers beside each other cost was never measured and counts as nothing; ")
    why = f"{slots} answers at once were not measured: {worst:.2f} times as long, the worst of this model;"
    return _Crowd(worst, worst, f"{why} ")


def _contention(point: Point) -> float:
    """How much longer an answer takes beside the point's callers than alone."""
    return max(1.0, point.callers / point.throughput_per_s * 1000 / point.p50_ms)


def _worst_contention(measurement: Measurement, model: str) -> float | None:
    """Over all scales and thread counts; None where the model never had several callers."""
    points = (point for point in measurement.points if point.model == model and point.device == "cpu")
    return max((_contention(point) for point in points if point.callers > 1), default=None)


def core_speed(hosting: Hosting, measurement: Measurement, reference: Measurement) -> Speed | None:
    """From the calibration of both where there is one; less than one core counts as its share.

    The assumed speed is relative to the reference: by their calibrations it is one relative to any other machine. None
    where they ran different kernels.
    """
    share = min(1.0, hosting.cores)
    known, here = hosting.calibration, measurement.calibration
    if known and known.kernel == here.kernel:
        ratio = known.gflops_per_core / here.gflops_per_core
        edge = max(here.spread, 0.05)
        why = f"a core there was calibrated at {ratio:.2f} of this one ({known.source})"
        return Speed(share * ratio * (1 - edge), share * ratio, share * ratio * (1 + edge), why)
    if here.kernel != reference.calibration.kernel:
        return None
    times = reference.calibration.gflops_per_core / here.gflops_per_core
    low, middle, high = (speed * times for speed in hosting.core_speed)
    why = f"a core there is taken as {middle:.3g} ({low:.3g} to {high:.3g}) of one of {measurement.machine.cpu}: "
    return Speed(share * low, share * middle, share * high, why + hosting.core_speed_why)


def _thread_choices(hosting: Hosting) -> list[int]:
    """1, 2, 4 ... and as many as one answer may use."""
    most = hosting.threads_max
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})


def _at_threads(by_threads: Mapping[int, Point], law: Amdahl | None, threads: int) -> Factors | None:
    """The point itself where that thread count was measured, else the nearest with Amdahl's factor."""
    if point := by_threads.get(threads):
        return Factors(point, 1.0, 1.0, 1.0, f"{threads} thread{'s' * (threads > 1)} measured;")
    if law is None:
        return None
    point = by_threads[min(by_threads, key=lambda count: max(count / threads, threads / count))]
    low, middle, high = (
        _share_ms(law, share, threads) / _share_ms(law, share, point.threads)
        for share in (law.low, law.serial_share, law.high)
    )
    why = f"{threads} threads by Amdahl from {', '.join(map(str, law.thread_counts))} (serial share "
    why += f"{law.serial_share:.2f}, {law.low:.2f} to {law.high:.2f});"
    return Factors(point, min(low, middle, high), middle, max(low, middle, high), why)


def _share_ms(law: Amdahl, serial_share: float, threads: int) -> float:
    return law.one_thread_ms * (serial_share + (1 - serial_share) / threads)
