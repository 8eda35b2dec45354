"""A measurement as a table: of a page (Markdown) and of a terminal."""

from collections.abc import Sequence

from tier_planner.laws import alike
from tier_planner.measurements import Measurement, Point

GAP = "  "
QUIET_SPREAD_MAX = 0.1
ANSWERS_MIN = 3
HEADS = ("variant", "work", "threads", "accuracy", "p50", "p95", "spread", "answers", "per_s", "callers", "memory")


def markdown_table(measurement: Measurement) -> str:
    """One row a variant, precision and work: accuracy, p50 with each power, memory peak, as a README shows them."""
    powers = sorted({_power(point) for point in measurement.points})
    metric = next((point.accuracy.metric for point in measurement.points if point.accuracy), "accuracy")
    work = "rows" if measurement.points[0].scale is None else "scale"
    heads = ["variant", work, metric, *(f"p50, {_power_text(*power)}" for power in powers), "memory peak"]
    rows = [heads, ["---", "---:", *["---:"] * (len(heads) - 2)]]
    for points in alike(measurement.points, lambda p: (p.model, p.scale, p.precision, work == "rows" and p.batch)):
        first, by_power = points[0], {_power(point): point for point in points}
        several = len({point.precision for point in measurement.points if point.model == first.model}) > 1
        rows.append(
            [
                f"`{first.variant}`{f' {first.precision}' if several else ''}",
                work_text(first),
                f"{first.accuracy.value:.3f}" if first.accuracy else "–",
                *(time_text(by_power[power].p50_ms) if power in by_power else "–" for power in powers),
                _memory_text(points),
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _power(point: Point) -> tuple[str, int]:
    """What computed: a column of the table. How many threads feed a GPU is not its power."""
    return point.device, 1 if point.device == "cuda" else point.threads


def _power_text(device: str, threads: int) -> str:
    if device == "cuda":
        return "GPU"
    return count_text(threads) if device == "cpu" else f"{count_text(threads)} ({device})"


def terminal_table(measurement: Measurement) -> str:
    """One line a point, with how many answers it stands on and how far they spread."""
    rows: list[tuple[str, ...]] = [HEADS, *map(_line, measurement.points)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [_aligned(row, widths) for row in rows]
    return "\n".join([lines[0], GAP.join("-" * width for width in widths), *lines[1:]])


def quiet_text(measurement: Measurement) -> str:
    """How fast a core is and how quiet the machine was, with what makes the figures less than they seem."""
    kernel = measurement.calibration
    machine = f"{measurement.machine.cpu}, {measurement.machine.cores_visible} cores"
    speed = f"{kernel.gflops_per_core:.0f} GFLOP/s a core, spread {kernel.spread:.0%}"
    lines = [f"{measurement.workload}, on {machine}: {speed}"]
    if kernel.spread > QUIET_SPREAD_MAX:
        lines.append(f"Not a quiet machine (spread above {QUIET_SPREAD_MAX:.0%}): measure again with no load beside.")
    if few := sum(len(point.latencies_ms) < ANSWERS_MIN for point in measurement.points):
        lines.append(f"{few} of {len(measurement.points)} settings stand on fewer than {ANSWERS_MIN} answers.")
    return "\n".join(lines)


def _line(point: Point) -> tuple[str, ...]:
    return (
        point.variant,
        f"@{work_text(point)}" if point.scale is not None else f"{work_text(point)} rows",
        str(point.threads),
        f"{point.accuracy.value:.3f}" if point.accuracy else "–",
        time_text(point.p50_ms),
        time_text(point.p95_ms),
        f"{point.spread:.0%}",
        str(len(point.latencies_ms)),
        f"{point.throughput_per_s:.3g}",
        str(point.callers),
        _memory_text([point]),
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return GAP.join(cells)


def _memory_text(points: Sequence[Point]) -> str:
    peaks = [point.memory_peak_mib for point in points if point.memory_peak_mib is not None]
    return f"{max(peaks):,.0f} MiB" if peaks else "–"


def work_text(point: Point) -> str:
    """The scale, or the rows of one request."""
    return f"{point.scale:g}" if point.scale is not None else str(point.batch)


def count_text(threads: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{threads} thread{'s' * (threads != 1)}"


def time_text(time_ms: float) -> str:
    """A time with its unit and two or three figures."""
    if time_ms >= 1000:
        return f"{time_ms / 1000:.1f} s" if time_ms < 100_000 else f"{time_ms / 1000:.0f} s"
    if time_ms >= 100:
        return f"{time_ms:.0f} ms"
    return f"{time_ms:.1f} ms" if time_ms >= 1 else f"{time_ms * 1000:.0f} µs"
