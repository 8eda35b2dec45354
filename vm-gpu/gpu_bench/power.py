"""Section `cpu`: the same machine's CPU at 1 to all of its cores, with the plain session and its threads."""

from collections import defaultdict
from collections.abc import Callable
from time import perf_counter

from inference_core.detection import DetectionPipeline
from inference_core.manifest import Manifest
from tier_planner.measurements import quantile

from gpu_bench.context import FLOAT32, Context, parts, precision_of
from gpu_bench.rows import PowerRow
from gpu_bench.tier import alone_pipeline, real_tiles, tile_count

THREADS = (1, 2, 4, 8, 16, 32, 64)
VARIANTS = ("n", "s", "m")
SCALE = 0.5
REPEATS_MIN, REPEATS_MAX = 3, 30
LONG_S = 1.0
"""A run that takes longer than this is repeated less often."""

Stages = dict[str, list[float]]


def run(context: Context) -> None:
    """Each variant at each number of threads: a batch of tiles, and a JPEG at half its sides."""
    models = {manifest.variant: manifest for manifest in context.models((FLOAT32,))}
    guess_s = context.plan.window_s
    for variant in VARIANTS:
        # From all cores down: the quick runs come first, and tell what the slow ones will take.
        for threads in reversed([threads for threads in THREADS if threads <= context.cores]):
            if variant in models and context.fits(guess_s, f"{variant} with {threads} threads"):
                with context.attempt(f"{variant} with {threads} threads"):
                    guess_s = _measure(context, models[variant], threads)
        guess_s = context.plan.window_s * 2


def _measure(context: Context, manifest: Manifest, threads: int) -> float:
    """Two rows; returns how long the same with half the threads may take."""
    started = perf_counter()
    batch = parts(manifest)[0].tile_batch
    body = context.pictures()[0]
    pipeline = alone_pipeline(manifest, "cpu", batch=batch, threads=threads)
    tiles = real_tiles(manifest, body, batch)
    feeds = {parts(manifest)[0].name: tiles}

    def run_tiles() -> dict[str, float]:
        pipeline.session.run(feeds)
        return {}

    _add(context, pipeline, threads, "tiles", run_tiles, batch)
    count = tile_count(manifest, context.plan.picture_px, SCALE)
    _add(context, pipeline, threads, "jpeg", lambda: pipeline.predict(body, scale=SCALE).timings_ms, count)
    return 2 * (perf_counter() - started)


def _add(
    context: Context,
    pipeline: DetectionPipeline,
    threads: int,
    work: str,
    call: Callable[[], dict[str, float]],
    tiles: int,
) -> None:
    latencies_ms, stages = _repeated(call, context.plan.window_s / 2)
    manifest = pipeline.manifest
    given, _ = parts(manifest)
    context.add(
        PowerRow(
            model=manifest.name,
            family=manifest.family,
            variant=manifest.variant,
            precision=precision_of(manifest),
            work=work,
            scale=SCALE if work == "jpeg" else 1.0,
            batch=given.tile_batch,
            tiles=tiles,
            tile_px=given.tile_px,
            threads=threads,
            latencies_ms=tuple(round(value, 3) for value in latencies_ms),
            stages_ms={stage: round(quantile(values, 0.5), 3) for stage, values in stages.items()},
        )
    )


def _repeated(call: Callable[[], dict[str, float]], window_s: float) -> tuple[list[float], Stages]:
    """Latencies and stages of `call` over `window_s`; the first call warms and does not count, unless it is long."""
    latencies_ms: list[float] = []
    stages: Stages = defaultdict(list)
    began = perf_counter()
    while len(latencies_ms) < REPEATS_MAX:
        started = perf_counter()
        timings_ms = call()
        spent_s = perf_counter() - started
        latencies_ms.append(spent_s * 1e3)
        for stage, stage_ms in timings_ms.items():
            stages[stage].append(stage_ms)
        enough = 1 + (1 if spent_s > LONG_S else REPEATS_MIN)
        if len(latencies_ms) >= enough and perf_counter() - began > window_s:
            break
    return latencies_ms[1:], {stage: values[1:] for stage, values in stages.items()}
