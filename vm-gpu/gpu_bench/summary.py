"""A record as Markdown: the goals first, then each section's figures."""

from collections.abc import Callable, Iterable, Sequence

from tier_planner.laws import hold_back
from tier_planner.measurements import quantile

from gpu_bench.record import Bench
from gpu_bench.rows import EqualityRow, LoopRow, PipelineRow, PowerRow, ServiceRow
from gpu_bench.service import TARGET_RATE_PER_S

RATIO_MIN, GAIN_MIN, P95_MAX_MS = 0.9, 4.0, 1000.0
HELD_BACK_MAX = 0.1
UNBATCHED = {"single": "the tier with one tile a run", "alone": "a plain session with one tile a run"}
Cells = Sequence[str]


def summary(bench: Bench) -> str:
    """The whole record in tables."""
    parts = [
        _head(bench),
        _table("Goals", ("goal", "measured", "verdict"), _goals(bench)),
        _table("Bare loop, tiles a second by batch", *_loop(bench.rows("loop"))),
        _table("Pipeline", PIPELINE, [_pipeline(row, bench.rows("loop")) for row in _all(bench)]),
        _table("Service", SERVICE, map(_service, bench.rows("service"))),
        _table("Equality with the CPU", EQUALITY, map(_equality, bench.rows("equality"))),
        _table(
            "Accuracy",
            ("model", "boards", "mAP@0.5", "mAP@0.5:0.95"),
            (
                [row.model, str(row.boards), f"{row.map_50:.4f}", f"{row.map_50_95:.4f}"]
                for row in bench.rows("accuracy")
            ),
        ),
        _table("CPU of the same machine", *_power(bench.rows("cpu"))),
        _table(
            "Session options",
            ("model", "option", "batch", "tiles/s"),
            ([row.model, row.options, str(row.batch), f"{row.images_per_s:,.0f}"] for row in _optional(bench)),
        ),
        _table("Facts", ("fact", "value"), ([row.name, _one_line(row.value)] for row in bench.rows("facts"))),
        _table(
            "Sections",
            ("section", "state", "s", "reason"),
            ([part.name, part.state, f"{part.spent_s:.0f}", _one_line(part.reason)] for part in bench.sections),
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(bench: Bench) -> str:
    machine = bench.machine
    where = f"{machine.gpu or 'no GPU'}; {machine.cpu}, {machine.cores_visible} cores"
    versions = ", ".join(f"{name} {value}" for name, value in sorted(machine.versions.items()))
    lines = [f"{where}; {versions}.", f"{bench.picture}. Commit {bench.commit or 'unknown'}, {bench.written_at}."]
    if bench.device != "cuda":
        lines.insert(0, "**A CPU stood in for the GPU: no figure here says anything of one.**")
    return "\n".join(lines)


def _table(title: str, heads: Cells, rows: Iterable[Cells]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    rule = f"|{'---|' * len(heads)}"
    return "\n".join([f"## {title}", "", f"| {' | '.join(heads)} |", rule, *lines]) if lines else ""


def _goals(bench: Bench) -> list[Cells]:
    judged = bench.device == "cuda"

    def row(goal: str, found: float | None, text: str, good: Callable[[float], bool]) -> Cells:
        if found is None:
            return goal, "not measured", "-"
        return goal, text, ("met" if good(found) else "MISSED") if judged else "NOT JUDGED"

    found = {model: loop_ratio(part, bench.rows("loop")) for model, part in _best(bench).items()}
    ratios = {model: ratio for model, ratio in found.items() if ratio is not None}
    lowest = min(ratios.values(), default=None)
    ratio_text = ", ".join(f"{model} {ratio:.2f}" for model, ratio in ratios.items())
    gains, late = batching_gains(bench), _at_target(bench)
    gain_text = ", ".join(f"{gain:.1f} x {UNBATCHED[way]}" for way, gain in gains.items())
    same = bench.rows("equality")
    equal = sum(part.within for part in same) / len(same) if any(part.found for part in same) else None
    return [
        row(f"pipeline ≥ {RATIO_MIN} of the bare loop", lowest, ratio_text, lambda value: value >= RATIO_MIN),
        row(
            f"batched ≥ {GAIN_MIN:g} x unbatched, n",
            min(gains.values(), default=None),
            gain_text,
            lambda value: value >= GAIN_MIN,
        ),
        row(
            f"largest variant, {TARGET_RATE_PER_S:g}/s: p95 ≤ {P95_MAX_MS:g} ms",
            None if late is None else late.p95_ms or float("inf"),
            (late and f"{late.model} {_ms(late.p95_ms)}, {late.answered} of {late.arrivals} answered") or "",
            lambda value: value <= P95_MAX_MS,
        ),
        row("GPU and CPU answers equal within tolerance", equal, f"{equal or 0:.0%} of the pictures", lambda v: v == 1),
    ]


def loop_ratio(row: PipelineRow, loop: Sequence[LoopRow]) -> float | None:
    """Tiles a second of the pipeline over the bare loop's with the same model and batch; None where that is missing."""
    same = [bare for bare in loop if (bare.model, bare.batch) == (row.model, row.batch)]
    return row.tiles_per_s / same[0].images_per_s if same else None


def batching_gains(bench: Bench) -> dict[str, float]:
    """Pictures a second of the tier's code over the most that one tile a run gave, by the way of the latter; nothing
    where one of the two is missing.
    """
    rows: list[PipelineRow] = bench.rows("pipeline")
    gains = {}
    for way in ("single", "alone"):
        unbatched = [row for row in rows if row.way == way]
        batched = _best(bench).get(unbatched[0].model) if unbatched else None
        if batched:
            gains[way] = batched.pictures_per_s / max(row.pictures_per_s for row in unbatched)
    return gains


def _best(bench: Bench) -> dict[str, PipelineRow]:
    """By model the row of most pictures a second with many callers and whole pictures as JPEG: what the goals are
    about.
    """
    best: dict[str, PipelineRow] = {}
    for row in bench.rows("pipeline"):
        if row.way == "jpeg" and row.callers > 1 and row.scale == 1.0:
            best[row.model] = max(best.get(row.model, row), row, key=lambda other: other.pictures_per_s)
    return best


def _at_target(bench: Bench) -> ServiceRow | None:
    rows: list[ServiceRow] = bench.rows("service")
    return next((row for row in rows if row.rate_per_s == TARGET_RATE_PER_S), None)


def _loop(rows: Sequence[LoopRow]) -> tuple[Cells, list[Cells]]:
    batches = sorted({row.batch for row in rows})
    found = {(row.model, row.batch): f"{row.images_per_s:,.0f}" for row in rows}
    models = dict.fromkeys(row.model for row in rows)
    cells: list[Cells] = [[model, *(found.get((model, batch), "") for batch in batches)] for model in models]
    return ["model", *map(str, batches)], cells


PIPELINE = (
    "model",
    "way",
    "scale",
    "callers",
    "pictures/s",
    "tiles/s",
    "of bare",
    "p50 ms",
    "cores",
    "GPU",
    "stages ms",
)


def _pipeline(row: PipelineRow, loop: Sequence[LoopRow]) -> Cells:
    ratio = loop_ratio(row, loop)
    return (
        row.model,
        row.way,
        f"{row.scale:g}",
        str(row.callers),
        f"{row.pictures_per_s:.1f}",
        f"{row.tiles_per_s:,.0f}",
        f"{ratio:.2f}" if ratio else "",
        f"{quantile(row.latencies_ms, 0.5):.1f}",
        f"{row.cores_busy:.1f}",
        "" if row.gpu_busy is None else f"{row.gpu_busy:.0%}",
        _stages(row.stages_ms),
    )


SERVICE = ("model", "arrivals/s", "answered", "p50 ms", "p95 ms", "p99 ms", "kept up", "generator late ms", "stages ms")


def _service(row: ServiceRow) -> Cells:
    return (
        row.model,
        f"{row.rate_per_s:.1f}",
        f"{row.answered} of {row.arrivals}",
        _ms(row.p50_ms),
        _ms(row.p95_ms),
        _ms(row.p99_ms),
        "yes" if row.is_sustained else "no",
        f"{row.lag_p99_ms:.1f}",
        _stages(row.stages_ms),
    )


EQUALITY = ("model", "scale", "CPU found", "missing", "extra", "score differs by", "box differs by px", "within")


def _equality(row: EqualityRow) -> Cells:
    differences = f"{row.score_difference:.4f}", f"{row.box_difference_px:.2f}"
    counts = str(row.found), str(row.missing), str(row.extra)
    return (row.model, f"{row.scale:g}", *counts, *differences, "yes" if row.within else "NO")


def _power(rows: Sequence[PowerRow]) -> tuple[Cells, list[Cells]]:
    """Medians by threads; the largest count predicted by Amdahl's law from the others."""
    threads = sorted({row.threads for row in rows})
    cells: list[Cells] = []
    for model, work in dict.fromkeys((row.model, row.work) for row in rows):
        latencies = {row.threads: row.latencies_ms for row in rows if (row.model, row.work) == (model, work)}
        held = hold_back(latencies)
        check = f"{held.threads}: {held.predicted_ms:.1f} ms, {held.error:+.0%}" if held else ""
        medians = (f"{quantile(latencies[n], 0.5):.1f}" if n in latencies else "" for n in threads)
        cells.append([model, work, *medians, check])
    return ["model", "work", *(f"{n} threads, ms" for n in threads), "Amdahl's prediction of the most"], cells


def _all(bench: Bench) -> list[PipelineRow]:
    return [*bench.rows("pipeline"), *bench.rows("gpu-decode")]


def _optional(bench: Bench) -> list[LoopRow]:
    return [*bench.rows("options"), *bench.rows("tensorrt")]


def _stages(stages_ms: object) -> str:
    return " ".join(f"{stage} {value:.1f}" for stage, value in stages_ms.items()) if isinstance(stages_ms, dict) else ""


def _ms(value: float | None) -> str:
    return "never" if value is None else f"{value:.0f}"


def _one_line(text: str) -> str:
    return " ".join(text.replace("|", "/").split())[:300]
