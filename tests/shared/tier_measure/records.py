"""Measurements made up by the laws, for what reads them."""

from collections.abc import Sequence

from tier_planner.measurements import Accuracy, Calibration, Measurement, Point
from tier_planner.records import Machine

VARIANTS = {"n": (2.0, 0.80), "s": (8.0, 0.86), "m": (30.0, 0.90), "l": (116.0, 0.93)}
"""GFLOP of a tile, mAP@0.5 at full scale."""
SCALES = {1.0: (29, 1.0), 0.5: (9, 0.85), 0.25: (3, 0.5)}
"""Tiles, share of the accuracy that is left."""


def measurement(threads: Sequence[int] = (1, 2), cpu: str = "A CPU", metric: str = "mAP@0.5") -> Measurement:
    """A family on a machine of 50 GFLOP/s a core, a tenth of the work serial."""
    points = tuple(
        _point(variant, scale, count, metric) for variant in VARIANTS for scale in SCALES for count in threads
    )
    machine = Machine(cpu, max(threads), None, 8000, "Linux", {"python": "3.11"})
    calibration = Calibration("a kernel", 50.0, 0.02)
    return Measurement("2026-01-01T00:00:00+00:00", "abc", "tiers measure", "a picture", machine, calibration, points)


def _point(variant: str, scale: float, threads: int, metric: str) -> Point:
    gflop, accuracy = VARIANTS[variant]
    tiles, left = SCALES[scale]
    infer_ms = tiles * gflop / 50 * 1000 * (0.1 + 0.9 / threads)
    stages_ms = {"decode": 40.0, "infer": infer_ms}
    latencies_ms = tuple(sum(stages_ms.values()) * step for step in (0.98, 1.0, 1.02))
    return Point(
        model=f"boards-{variant}",
        family="boards",
        variant=variant,
        scale=scale,
        device="cpu",
        precision="float32",
        threads=threads,
        batch=4,
        pixels=tiles * 640**2,
        latencies_ms=latencies_ms,
        stages_ms=stages_ms,
        throughput_per_s=1000 / latencies_ms[1],
        callers=1,
        memory_peak_mib=200.0 + gflop,
        accuracy=Accuracy(metric, accuracy * left, "boards", 40),
    )
