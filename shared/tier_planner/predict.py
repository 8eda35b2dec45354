"""How long each variant, scale and thread count takes on a hosting, and how that is known.

What was measured on the hosting itself wins. A CPU hosting is otherwise predicted from another CPU (cpu.py). A GPU is
never predicted from anything but the same GPU; what its machine's CPU does is.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tier_planner.candidates import CLAIMED, MEASURED, SAME_GPU, Candidate, Evidence, Key, UnknownTime
from tier_planner.cpu import core_speed, from_cpu
from tier_planner.hosting import Hosting
from tier_planner.known import Factors, Known, from_point, grouped, is_asked, own, points_of
from tier_planner.measurements import Point, quantile
from tier_planner.records import Ran

QUEUE_STAGE, GPU_STAGE = "queue", "infer"


def candidates(hosting: Hosting, asked: str, evidence: Evidence) -> list[Candidate]:
    """Every candidate of the model or family `asked` on a hosting. Raises UnknownTime where nothing is known."""
    there = [*_from_records(hosting, asked, evidence), *_from_claims(hosting, asked, evidence)]
    if hosting.gpu:
        found = [*there, *_from_gpu(hosting, asked, evidence)]
    else:
        found = [*there, *(from_cpu(hosting, asked, evidence) if hosting.predicted else [])]
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


def _from_gpu(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Measured on the same kind of GPU, in another machine: what its CPU does is predicted, with its interval."""
    for measurement in evidence.newest():
        gpu = measurement.machine.gpu or ""
        speed = core_speed(hosting, measurement, measurement)
        if hosting.gpu not in gpu.replace("-", " ").replace(",", " ").split() or speed is None:
            continue
        for points in grouped(points_of(asked, measurement, "cuda")).values():
            point = min(points, key=lambda point: point.p50_ms)
            beside = _beside_the_gpu(point)
            cores = measurement.machine.cores_visible
            why = f"on {gpu} with {cores} cores beside it, which did {beside:.0%} of an answer"
            known = Known(point, *evidence.accuracy(point), SAME_GPU, why)
            # A GPU answers several at once only as far as that was measured, with several callers, each with a core.
            slots = max(1, min(int(hosting.cores), int(point.throughput_per_s * point.p50_ms / 1000 + 0.05)))
            edge = min(0.9, point.spread / 2)
            low, middle, high = (1 + beside * (1 / core - 1) for core in (speed.high, speed.middle, speed.low))
            yield from_point(hosting, 1, slots, Factors(point, low * (1 - edge), middle, high * (1 + edge), why), known)


def _beside_the_gpu(point: Point) -> float:
    """The share of an answer that the CPU works on: decoding, tiles, post-processing."""
    whole_ms = sum(point.stages_ms.values())
    return 1 - point.stages_ms.get(GPU_STAGE, 0.0) / whole_ms if whole_ms else 1.0


def _from_records(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """Load tests of the hosting itself: only a remote one has no machine that we know."""
    for record in sorted(evidence.records, key=lambda record: record.written_at, reverse=True):
        ran = record.ran
        computed = "cuda" if hosting.gpu else "cpu"
        if record.machine is not None or ran.device != computed or ran.hosting not in (hosting.name, hosting.title):
            continue
        times = [
            sample.latency_ms - sample.stages_ms.get(QUEUE_STAGE, 0.0)
            for sample in record.samples
            if sample.latency_ms is not None and not sample.error
        ]
        point = _known_point(asked, evidence, ran.variant, ran.scale)
        if point and times and point.model == ran.model:
            why = f"load test of {record.written_at[:10]} there, {len(times)} answers{_one_at_a_time(ran)}"
            known = Known(point, *evidence.accuracy(point), MEASURED, why)
            threads = min(ran.threads or hosting.threads_max, hosting.threads_max)
            low, high = _sampling(times)
            yield replace(own(hosting, times, threads, known), low=low, high=high)


def _one_at_a_time(ran: Ran) -> str:
    """What is to be said of planning with one answer at a time on a replica."""
    if ran.slots is None:
        return "; how many a replica computes at once is not in it: one is assumed"
    if ran.slots == 1:
        return ", one at a time on a replica"
    return f"; {ran.slots} at once on a replica, but what they cost each other is not in it: one is assumed"


def _sampling(times_ms: Sequence[float]) -> tuple[float, float]:
    """How unsure their median and their p95 are, the wider of both, as factors: 95 % interval by order.

    It ends at the largest time: of fewer than some 70 answers the p95 is less sure than it looks.
    """
    factors = []
    for share in (0.5, 0.95):
        edge = 1.96 * math.sqrt(share * (1 - share) / len(times_ms))
        ends = (quantile(times_ms, max(0.0, share - edge)), quantile(times_ms, min(1.0, share + edge)))
        factors.append([end / quantile(times_ms, share) for end in ends])
    return min(low for low, _ in factors), max(high for _, high in factors)


def _from_claims(hosting: Hosting, asked: str, evidence: Evidence) -> Iterator[Candidate]:
    """What the requirement's author says: nine of ten answers as the p50, one as the p95."""
    for claim in evidence.claims:
        point = _known_point(asked, evidence, claim.variant, claim.scale)
        if point and claim.hosting == hosting.name:
            known = Known(point, *evidence.accuracy(point), CLAIMED, f"not measured here: {claim.source}")
            yield own(hosting, [claim.p50_ms] * 18 + [claim.p95_ms] * 2, hosting.threads_max, known)


def _known_point(asked: str, evidence: Evidence, variant: str, scale: float | None) -> Point | None:
    """One point of that variant and scale, for its model and memory; one whose accuracy is known where any is."""
    found = [
        point
        for measurement in evidence.newest()
        for point in measurement.points
        if is_asked(point, asked) and (point.variant, point.scale) == (variant, scale)
    ]
    return next((point for point in found if evidence.accuracy(point)[0] is not None), found[0] if found else None)
