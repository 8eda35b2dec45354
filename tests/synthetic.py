"""Measurements that nobody made and a requirement, in round figures: a test's results can be worked out by hand."""

from collections.abc import Sequence

from tier_planner.measurements import Accuracy, Calibration, Measurement, Point
from tier_planner.records import Machine
from tier_planner.requirement import Requirement

KERNEL = "a made-up kernel"
ONE_THREAD_MS = {"n": 1_000.0, "s": 4_000.0, "m": 16_000.0, "l": 60_000.0}
"""Of a whole picture, one thread; a tenth of it cannot be shared among threads."""
SERIAL = 0.1
ACCURACY = {"n": 0.80, "s": 0.86, "m": 0.90, "l": 0.92}
LOST = {1.0: 0.0, 0.5: 0.02, 0.25: 0.20}
"""Accuracy lost at a scale."""
ASKED = Requirement(
    model="boards",
    accuracy_min=0.85,
    bound_ms=5000,
    percentile=95,
    background=False,
    rate_per_s=300 / 3600,
    peak_factor=3,
    cold_starts=False,
    vnet=False,
    region=None,
    budget_usd=None,
    body_mib=None,
)


def picture_point(
    variant: str, scale: float, threads: int, *, device: str = "cpu", faster: float = 1.0, family: str = "boards"
) -> Point:
    """A point whose time follows Amdahl and the pixels exactly; `faster` divides it."""
    one_ms = ONE_THREAD_MS[variant] * scale**2 / faster
    time_ms = one_ms * (SERIAL + (1 - SERIAL) / threads)
    return Point(
        model=f"{family}-{variant}",
        family=family,
        variant=variant,
        scale=scale,
        device=device,
        precision="float32",
        threads=threads,
        batch=1,
        pixels=round(3840 * 2160 * scale**2),
        latencies_ms=tuple(time_ms * factor for factor in (0.98, 0.99, 1.0, 1.01, 1.02)),
        stages_ms={"infer": time_ms},
        throughput_per_s=1000 / time_ms,
        callers=1,
        memory_peak_mib=400.0,
        accuracy=Accuracy("mAP@0.5", round(ACCURACY[variant] - LOST[scale], 3), "made up", 1),
    )


def row_point(time_ms: float = 2.0, family: str = "rows") -> Point:
    """A point with one row."""
    return Point(
        model=f"{family}-small",
        family=family,
        variant="small",
        scale=None,
        device="cpu",
        precision="float32",
        threads=1,
        batch=1,
        pixels=None,
        latencies_ms=tuple(time_ms * factor for factor in (0.9, 1.0, 1.1)),
        stages_ms={"infer": time_ms},
        throughput_per_s=1000 / time_ms,
        callers=1,
        memory_peak_mib=100.0,
        accuracy=Accuracy("accuracy", 0.97, "made up", 1),
    )


def measurement(points: Sequence[Point], *, gpu: str | None = None) -> Measurement:
    """On a machine that does not exist."""
    return Measurement(
        written_at="2026-11-26T00:00:00+00:00",
        commit="",
        command="made up",
        workload="made up",
        machine=Machine("a made-up CPU", 2, None, 8192, "none", {}, gpu),
        calibration=Calibration(KERNEL, 50.0, 0.02),
        points=tuple(points),
    )


def boards(family: str = "boards") -> Measurement:
    """A family of four variants on the CPU with 1 and 2 threads."""
    return measurement(
        [picture_point(v, scale, threads, family=family) for v in ONE_THREAD_MS for scale in LOST for threads in (1, 2)]
    )


def boards_on_gpu(gpu: str, faster: float, family: str = "boards") -> Measurement:
    """The same on a GPU that is `faster` than one thread."""
    points = [
        picture_point(v, scale, 1, device="cuda", faster=faster, family=family) for v in ONE_THREAD_MS for scale in LOST
    ]
    return measurement(points, gpu=gpu)


def rows(family: str = "rows") -> Measurement:
    """A family of one variant that takes rows."""
    return measurement([row_point(family=family)])
