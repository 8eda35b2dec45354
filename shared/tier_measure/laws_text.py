"""What the laws of the trade-off say of a measurement, in sentences."""

from collections.abc import Iterable, Iterator
from typing import Any

from tier_planner.laws import Amdahl, Exponent, HeldBack, Resolution, alike, fit_amdahl, fit_resolution, hold_back
from tier_planner.measurements import Measurement, Point

from tier_measure.tables import count_text, time_text, work_text

_BENT = 0.05
"""A share of the time that moves by less over the scales bends nothing."""
_ASKEW = 0.02
"""An exponent of the pixels seen that is nearer to 1 bends nothing."""


def laws_text(measurement: Measurement) -> str:
    """Amdahl's law and the law of resolution, for each variant."""
    return "\n".join([*_amdahl_lines(measurement), "", *_resolution_lines(measurement)])


def laws_document(measurement: Measurement) -> dict[str, Any]:
    """The same for a program."""
    amdahl = [
        {
            "model": points[0].model,
            "scale": points[0].scale,
            "batch": points[0].batch,
            "serial_share": fitted.serial_share,
            "low": fitted.low,
            "high": fitted.high,
            "threads": list(fitted.thread_counts),
            "held_back": held and {**vars(held), "error": held.error},
        }
        for points, fitted, held in _amdahls(measurement.points)
    ]
    resolution = [
        {
            "model": points[0].model,
            "threads": points[0].threads,
            "total": vars(law.total),
            "stages": {stage: vars(exponent) for stage, exponent in law.stages.items()},
            "shares": {f"{scale:g}": dict(shares) for scale, shares in law.shares.items()},
        }
        for points, law in _resolutions(measurement.points)
    ]
    return {"amdahl": amdahl, "resolution": resolution}


def _amdahls(points: Iterable[Point]) -> Iterator[tuple[list[Point], Amdahl, HeldBack | None]]:
    for same in alike(points, lambda p: (p.model, p.scale, p.scale is None and p.batch, p.device, p.precision)):
        latencies = {point.threads: point.latencies_ms for point in same}
        if fitted := fit_amdahl(latencies):
            yield same, fitted, hold_back(latencies)


def _resolutions(points: Iterable[Point]) -> Iterator[tuple[list[Point], Resolution]]:
    for same in alike(points, lambda p: (p.model, p.threads, p.device, p.precision)):
        if law := fit_resolution(same):
            yield same, law


def _amdahl_lines(measurement: Measurement) -> Iterator[str]:
    yield "More threads (Amdahl: T(n) = T1 × (s + (1 - s) / n))"
    found = list(_amdahls(measurement.points))
    if not found:
        yield "  Only one thread count was measured: nothing can be said of more."
        return
    for points, fitted, held in found:
        unit = "" if points[0].scale is not None else " rows"
        name = f"{points[0].variant}@{work_text(points[0])}{unit}"
        interval = f"{fitted.serial_share:.2f} (95 %: {fitted.low:.2f} to {fitted.high:.2f})"
        counts = ", ".join(map(str, fitted.thread_counts))
        yield f"  {name:<14} serial share s {interval}, from {counts} threads" + _least_answers(points)
        if held:
            yield (
                f"  {'':<14} {count_text(held.threads)}, held back: predicted {time_text(held.predicted_ms)}, "
                f"measured {time_text(held.actual_ms)}, error {held.error:+.1%}"
            )
    if not any(held for _, _, held in found):
        yield (
            "  The law itself is not checked here: two thread counts fit it whatever they are. A check holds one of "
            "three or more back."
        )


def _least_answers(points: list[Point]) -> str:
    least = min(len(point.latencies_ms) for point in points)
    if least == 1:
        return "; with one answer a thread count, the interval says nothing"
    return f"; {least} answers make a coarse interval" if least < 5 else ""


def _resolution_lines(measurement: Measurement) -> Iterator[str]:
    if all(point.scale is None for point in measurement.points):
        return
    yield "A larger picture (time = pixels^e; twice the side is four times the compute where e is 1)"
    found = list(_resolutions(measurement.points))
    if not found:
        yield "  Only one scale was measured: nothing can be said of others."
    for points, law in found:
        name = f"{points[0].variant}, {count_text(points[0].threads)}"
        yield f"  {name:<20} e {_exponent(law.total)}"
        if infer := law.stages.get("infer"):
            yield f"  {'':<20} infer alone {_exponent(infer)}"
        if law.compute:
            yield f"  {'':<20} infer over the pixels that the graph sees {_exponent(law.compute)}"
        yield f"  {'':<20} {_bent(law)}"


def _exponent(exponent: Exponent) -> str:
    return f"{exponent.value:.2f} ({exponent.low:.2f} to {exponent.high:.2f} from scale to scale)"


def _bent(law: Resolution) -> str:
    """Which stages bend the law: their share of the time by scale, and what tiling adds to the pixels."""
    largest, smallest = max(law.shares), min(law.shares)
    moved = {stage: law.shares[smallest].get(stage, 0) - share for stage, share in law.shares[largest].items()}
    bending = [stage for stage in moved if stage != "infer" and abs(moved[stage]) >= _BENT]
    parts = [
        f"{stage}, {law.shares[largest][stage]:.0%} of the time at {largest:g} and "
        f"{law.shares[smallest].get(stage, 0):.0%} at {smallest:g}"
        for stage in bending
    ]
    if law.seen and abs(law.seen.value - 1) >= _ASKEW:
        seen = f"tiling: the graph sees pixels^{law.seen.value:.2f}, as tiles overlap and one holds the whole picture"
        parts.insert(0, seen)
    return f"bent by {'; '.join(parts)}" if parts else f"no stage bends it: none moves by {_BENT:.0%} of the time"
