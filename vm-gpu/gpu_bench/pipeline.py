"""Section `pipeline`: pictures to boxes through the tier's own code, many callers at once, inside one process."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from threading import Lock
from time import perf_counter, process_time, sleep

from inference_core.detection import DetectionPipeline
from inference_core.manifest import Manifest
from inference_core.results import Prediction
from tier_planner.measurements import quantile

from gpu_bench import gpu
from gpu_bench.context import Context, is_primary, parts, plain_variant, precision_of
from gpu_bench.rows import PipelineRow
from gpu_bench.tier import alone_pipeline, batch_size, shared_pipeline, tile_count

Predict = Callable[[bytes], Prediction]
OPEN_S = 4.0
"""What opening and warming a model may take besides its rows."""
WARM_SHARE = 0.25
"""Of a row's window, before it."""
BUSY_SHARE = 0.6
"""Of a row's window, after which the driver is asked: it looks back by up to a second."""
LATENCIES_MAX = 200
FEW = 2
"""Rows of a variant that the goals are not about."""
UNBATCHED = "n"
"""The variant whose gain from batches is judged: one tile of it is the least work for a GPU."""


@dataclass
class Tally:
    """What some callers did in a window."""

    latencies_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    pictures_per_s: float = 0.0
    cores_busy: float = 0.0
    gpu_busy: float | None = None

    def medians_ms(self) -> dict[str, float]:
        """The median of each stage."""
        return {stage: quantile(values, 0.5) for stage, values in self.stages_ms.items()}


def run(context: Context) -> None:
    """Each model: one caller, then many, on JPEG and on pictures with nothing to decompress."""
    bodies = {way: context.pictures(suffix) for way, suffix in (("jpeg", "jpg"), ("bmp", "bmp"))}
    for manifest in context.models():
        if context.fits(OPEN_S + 2 * context.plan.window_s, manifest.name):
            with shared_pipeline(manifest, context) as pipeline:
                _rows(context, manifest, pipeline, bodies)
        if plain_variant(manifest) == UNBATCHED and precision_of(manifest) == "float32":
            _alone(context, manifest, bodies["jpeg"])


def _rows(
    context: Context, manifest: Manifest, pipeline: DetectionPipeline, bodies: Mapping[str, Sequence[bytes]]
) -> None:
    many = context.callers
    # In the order of importance: what the time does not suffice for is left out from the end.
    wanted = [("jpeg", many, 1.0), ("jpeg", 1, 1.0), ("bmp", many, 1.0), ("jpeg", 1, 0.5), ("jpeg", many, 0.5)]
    for way, callers, scale in wanted if is_primary(manifest) else wanted[:FEW]:
        if context.fits(context.plan.window_s * (1 + WARM_SHARE), f"{manifest.name} {way} {callers} at {scale:g}"):
            tally = tallied(partial(pipeline.predict, scale=scale), bodies[way], callers, context)
            batch = batch_size(manifest, context)
            context.add(_row(context, manifest, tally, way, scale=scale, batch=batch, callers=callers))


def _alone(context: Context, manifest: Manifest, bodies: Sequence[bytes]) -> None:
    """One tile a run, nothing shared: with one caller, and with many on the one session."""
    if not context.fits(OPEN_S, f"{manifest.name} unbatched"):
        return
    pipeline = alone_pipeline(manifest, context.plan.provider, batch=1)
    for callers in (1, context.callers):
        if context.fits(context.plan.window_s * (1 + WARM_SHARE), f"{manifest.name} unbatched, {callers} callers"):
            tally = tallied(pipeline.predict, bodies, callers, context)
            context.add(_row(context, manifest, tally, "alone", scale=1.0, batch=1, callers=callers))


def tallied(predict: Predict, bodies: Sequence[bytes], callers: int, context: Context) -> Tally:
    """`callers` threads, each asking again as soon as it was answered, for the window of the plan."""
    window_s = context.plan.window_s
    tally, lock, turns = Tally(), Lock(), count()
    opens = perf_counter() + window_s * WARM_SHARE
    closes = opens + window_s

    def call() -> float:
        """Pictures that this caller finished inside the window; one that straddles a border counts by its share."""
        done = 0.0
        while (started := perf_counter()) < closes:
            prediction = predict(bodies[next(turns) % len(bodies)])
            ended = perf_counter()
            done += max(0.0, min(ended, closes) - max(started, opens)) / (ended - started)
            if started >= opens or ended >= closes:
                with lock:
                    _count(tally, prediction, (ended - started) * 1e3)
        return done

    with ThreadPoolExecutor(callers) as pool:
        before_s, started = process_time(), perf_counter()
        futures = [pool.submit(call) for _ in range(callers)]
        if context.cuda:
            sleep(window_s * (WARM_SHARE + BUSY_SHARE))
            busy = gpu.Question("utilization.gpu").number("utilization.gpu")
            tally.gpu_busy = None if busy is None else busy / 100
        done = sum(future.result() for future in futures)
        tally.cores_busy = (process_time() - before_s) / (perf_counter() - started)
    tally.pictures_per_s = done / window_s
    return tally


def _count(tally: Tally, prediction: Prediction, latency_ms: float) -> None:
    if len(tally.latencies_ms) < LATENCIES_MAX:
        tally.latencies_ms.append(latency_ms)
    for stage, spent_ms in prediction.timings_ms.items():
        tally.stages_ms[stage].append(spent_ms)


def _row(
    context: Context, manifest: Manifest, tally: Tally, way: str, *, scale: float, batch: int, callers: int
) -> PipelineRow:
    tiles = tile_count(manifest, context.plan.picture_px, scale)
    return PipelineRow(
        model=manifest.name,
        family=manifest.family,
        variant=manifest.variant,
        precision=precision_of(manifest),
        way=way,
        scale=scale,
        batch=batch,
        callers=callers,
        pictures=len(tally.latencies_ms),
        tiles=tiles,
        tile_px=parts(manifest)[0].tile_px,
        pictures_per_s=tally.pictures_per_s,
        tiles_per_s=tally.pictures_per_s * tiles,
        cores_busy=tally.cores_busy,
        gpu_busy=tally.gpu_busy,
        latencies_ms=tuple(round(value, 3) for value in tally.latencies_ms),
        stages_ms={stage: round(value, 3) for stage, value in tally.medians_ms().items()},
    )
