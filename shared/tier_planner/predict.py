"""How long each variant, scale and thread count takes on a hosting, and how that is known.

What was measured on the hosting itself wins. A CPU hosting is otherwise predicted from this machine's measurement:
Amdahl for the threads, the speed of a core for the machine, both with their interval. A GPU is never predicted from
anything but the same GPU.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from tier_planner.candidates import CLAIMED, MEASURED, PREDICTED, Candidate, Evidence, Key, UnknownTime, key_of
from tier_planner.hosting import Hosting
from tier_planner.laws import Amdahl, fit_amdahl
from tier_planner.measurements import Measurement, Point
from tier_planner.queueing import service_shape

QUEUE_STAGE = "queue"


def candidates(hosting: Hosting, asked: str, evidence: Evidence) -> list[Candidate]:
    """Every candidate of the model or family `asked` on a hosting. Raises UnknownTime where nothing is known."""
    own = [*_from_records(hosting, asked, evidence), *_from_claims(hosting, asked, evidence)]
    if hosting.gpu:
        found = [*own, *_from_gpu(hosting, asked, evidence)]
    else:
        found = [*own, *(_from_cpu(hosting, asked, evidence) if hosting.predicted else [])]
    first: dict[tuple[Key, int], Candidate] = {}
    for candidate in found:  # the strongest evidence comes first
        first.setdefault(((candidate.model, candidate.scale, candidate.precision), candidate.threads), candidate)
    if not first:
        raise UnknownTime(_how_to_measure(hosting, asked))
    return list(first.values())


def _how_to_measure(hosting: Hosting, asked: str) -> str:
    if hosting.tier == "client":
        return "no time in a browser is known: measure it there and give it as [[measured]] in the requirement file"
    where = f"on GPU {hosting.gpu}" if hosting.gpu else "on this machine"
    return f"nothing was measured {where}: run `tiers measure {asked}` there, keep its file in shared/records"


def _points(asked: str, measurement: Measurement, device: str) -> list[Point]:
    return [point for point in measurement.points if _is_asked(point, asked) and point.device == device]


def _is_asked(point: Point, asked: str) -> bool:
    return asked in (point.family, point.model)


def _grouped(points: Iterable[Point]) -> dict[Key, list[Point]]:
    groups: dict[Key, list[Point]] = {}
    for point in points:
        groups.setdefault(key_of(point), []).append(point)
    return groups


def _from_cpu(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Predicted from the family's reference on a CPU; from another machine only what the reference has not."""
    seen: set[Key] = set()
    references = _references(asked, evidence)
    for measurement in references:
        speed = _core_speed(hosting, measurement, references[0])
        if speed is None:
            continue
        for key, points in _grouped(_points(asked, measurement, "cpu")).items():
            worst = _worst_contention(measurement, points[0].model)
            if key not in seen and (found := list(_at_each_thread_count(hosting, points, speed, evidence, worst))):
                seen.add(key)
                yield from found


def _references(asked: str, evidence: Evidence) -> list[Measurement]:
    """The measurements of the family on a CPU, the one of most settings first, of equal ones the newest.

    That one is the machine whose core counts 1 in `hosting.toml`. The CPU beside a GPU speaks only where no other does.
    """
    families = {point.family for one in evidence.measurements for point in one.points if _is_asked(point, asked)}
    settings = {
        id(one): {
            (key_of(point), point.threads) for point in one.points if point.family in families and point.device == "cpu"
        }
        for one in evidence.measurements
    }
    known = [one for one in evidence.newest() if settings[id(one)]]
    alone = [one for one in known if not one.machine.gpu]
    return sorted(alone or known, key=lambda one: -len(settings[id(one)]))


def _at_each_thread_count(
    hosting: Hosting, points: Sequence[Point], speed: "_Speed", evidence: Evidence, worst: float | None
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
            known = _Known(time.point, *evidence.accuracy(time.point), PREDICTED, why)
            yield replace(_from_point(hosting, threads, slots, there, known), contention=crowd.contention)


@lru_cache(maxsize=1000)
def _law(times: tuple[tuple[int, tuple[float, ...]], ...]) -> Amdahl | None:
    """The fit resamples: once for all hostings."""
    return fit_amdahl(dict(times))


@dataclass(frozen=True)
class _Crowd:
    """What answers beside each other cost: how much longer each takes, and what is unsure of that."""

    contention: float
    high: float = 1.0
    """Factor on the upper end of the interval."""
    why: str = ""


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


@dataclass(frozen=True)
class _Speed:
    """Of a core there relative to one here."""

    low: float
    middle: float
    high: float
    why: str


def _core_speed(hosting: Hosting, measurement: Measurement, reference: Measurement) -> _Speed | None:
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
        return _Speed(share * ratio * (1 - edge), share * ratio, share * ratio * (1 + edge), why)
    if here.kernel != reference.calibration.kernel:
        return None
    times = reference.calibration.gflops_per_core / here.gflops_per_core
    low, middle, high = (speed * times for speed in hosting.core_speed)
    why = f"a core there is taken as {middle:.3g} ({low:.3g} to {high:.3g}) of one of {measurement.machine.cpu}: "
    return _Speed(share * low, share * middle, share * high, why + hosting.core_speed_why)


def _thread_choices(hosting: Hosting) -> list[int]:
    """1, 2, 4 ... and as many as one answer may use."""
    most = hosting.threads_max
    return sorted({most, *(1 << power for power in range(most.bit_length()) if 1 << power <= most)})


@dataclass(frozen=True)
class _Known:
    """The point that a candidate stands on, how good it is, and how its time is known."""

    point: Point
    accuracy: float | None
    metric: str
    evidence: str
    why: str


@dataclass(frozen=True)
class _Time:
    """Factors on the times of a measured point, and why."""

    point: Point
    low: float
    middle: float
    high: float
    why: str


def _at_threads(by_threads: Mapping[int, Point], law: Amdahl | None, threads: int) -> _Time | None:
    """The point itself where that thread count was measured, else the nearest with Amdahl's factor."""
    if point := by_threads.get(threads):
        return _Time(point, 1.0, 1.0, 1.0, f"{threads} thread{'s' * (threads > 1)} measured;")
    if law is None:
        return None
    point = by_threads[min(by_threads, key=lambda count: max(count / threads, threads / count))]
    low, middle, high = (
        _share_ms(law, share, threads) / _share_ms(law, share, point.threads)
        for share in (law.low, law.serial_share, law.high)
    )
    why = f"{threads} threads by Amdahl from {', '.join(map(str, law.thread_counts))} (serial share "
    why += f"{law.serial_share:.2f}, {law.low:.2f} to {law.high:.2f});"
    return _Time(point, min(low, middle, high), middle, max(low, middle, high), why)


def _share_ms(law: Amdahl, serial_share: float, threads: int) -> float:
    return law.one_thread_ms * (serial_share + (1 - serial_share) / threads)


def _from_gpu(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Measured on the same kind of GPU, wherever that was."""
    for measurement in evidence.newest():
        gpu = measurement.machine.gpu or ""
        if hosting.gpu not in gpu.replace("-", " ").replace(",", " ").split():
            continue
        for points in _grouped(_points(asked, measurement, "cuda")).values():
            point = min(points, key=lambda point: point.p50_ms)
            why = f"on {gpu} with {measurement.machine.cores_visible} cores beside it"
            known = _Known(point, *evidence.accuracy(point), MEASURED, why)
            # A GPU answers several at once only as far as that was measured, with several callers.
            slots = max(1, int(point.throughput_per_s * point.p50_ms / 1000 + 0.05))
            edge = min(0.9, point.spread / 2)
            yield _from_point(hosting, 1, slots, _Time(point, 1 - edge, 1.0, 1 + edge, why), known)


def _from_records(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Load tests of the hosting itself: only a remote one has no machine that we know."""
    for record in sorted(evidence.records, key=lambda record: record.written_at, reverse=True):
        ran = record.ran
        if record.machine is not None or ran.hosting not in (hosting.name, hosting.title):
            continue
        times = [
            sample.latency_ms - sample.stages_ms.get(QUEUE_STAGE, 0.0)
            for sample in record.samples
            if sample.latency_ms is not None and not sample.error
        ]
        point = _known_point(asked, evidence, ran.variant, ran.scale)
        if point and times and point.model == ran.model:
            why = f"load test of {record.written_at[:10]} there, {len(times)} answers"
            known = _Known(point, *evidence.accuracy(point), MEASURED, why)
            yield _own(hosting, times, min(ran.threads or hosting.threads_max, hosting.threads_max), known)


def _from_claims(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """What the requirement's author says: nine of ten answers as the p50, one as the p95."""
    for claim in evidence.claims:
        point = _known_point(asked, evidence, claim.variant, claim.scale)
        if point and claim.hosting == hosting.name:
            known = _Known(point, *evidence.accuracy(point), CLAIMED, f"not measured here: {claim.source}")
            yield _own(hosting, [claim.p50_ms] * 18 + [claim.p95_ms] * 2, hosting.threads_max, known)


def _known_point(asked: str, evidence: Evidence, variant: str, scale: float | None) -> Point | None:
    """One point of that variant and scale, for its model and memory; one whose accuracy is known where any is."""
    found = [
        point
        for measurement in evidence.newest()
        for point in measurement.points
        if _is_asked(point, asked) and (point.variant, point.scale) == (variant, scale)
    ]
    return next((point for point in found if evidence.accuracy(point)[0] is not None), found[0] if found else None)


def _own(hosting: Hosting, times_ms: Sequence[float], threads: int, known: "_Known") -> Candidate:
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
    )


def _from_point(hosting: Hosting, threads: int, slots: int, time: "_Time", known: "_Known") -> Candidate:
    """From the times of a measured point and the factors on them."""
    point = known.point
    times_ms = [latency_ms * time.middle for latency_ms in point.latencies_ms]
    return replace(
        _own(hosting, times_ms, threads, known),
        slots=slots,
        low=time.low / time.middle,
        high=time.high / time.middle,
        memory_mib=point.memory_peak_mib and point.memory_peak_mib * slots,
    )
