"""Section `pipeline`: pictures to boxes through the tier's own code, many callers at once, inside one process."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import count
from threading import Lock
from time import perf_counter, sleep

from inference_core.manifest import Manifest
from inference_core.results import Prediction
from tier_planner.measurements import quantile

from gpu_bench import gpu
from gpu_bench.context import FLOAT32, Context, NotHere, is_primary, parts, plain_variant, precision_of
from gpu_bench.rows import PipelineRow
from gpu_bench.tier import Tier, alone_pipeline, gpu_settings, opened_tier, tile_count

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
    """Each model: many callers and one, on JPEG and on pictures with nothing to decompress; then what batches gain."""
    bodies = {way: context.pictures(suffix) for way, suffix in (("jpeg", "jpg"), ("bmp", "bmp"))}
    for manifest in context.models():
        if context.fits(OPEN_S + 2 * context.plan.window_s, manifest.name):
            with context.attempt(manifest.name), opened_tier(manifest, context) as tier:
                _rows(context, tier, bodies)
        if plain_variant(manifest) == UNBATCHED and precision_of(manifest) == FLOAT32:
            with context.attempt(f"{manifest.name} unbatched"):
                _unbatched(context, manifest, bodies["jpeg"])
            with context.attempt(f"{manifest.name} in threads"):
                _in_threads(context, manifest, bodies["jpeg"])


def run_gpu_decode(context: Context) -> None:
    """The smallest and the largest model with JPEGs decoded on the GPU. Raises NotHere where nothing can do that."""
    if not context.cuda or find_spec("nvidia") is None or find_spec("nvidia.nvimgcodec") is None:
        raise NotHere("Decoding on the GPU needs a GPU and the requirements `gpu-decode`.")
    settings = replace(gpu_settings(context), gpu_decode=True)
    for manifest in context.models((FLOAT32,))[:2]:
        if context.fits(OPEN_S + context.plan.window_s, manifest.name):
            with context.attempt(manifest.name), opened_tier(manifest, context, settings) as tier:
                for callers in (context.callers, 1):
                    _add(context, tier, "gpu-jpeg", context.pictures(), callers=callers)


def _rows(context: Context, tier: Tier, bodies: Mapping[str, Sequence[bytes]]) -> None:
    many = context.callers
    # In the order of importance: what the time does not suffice for is left out from the end.
    wanted = [("jpeg", many, 1.0), ("jpeg", 1, 1.0), ("jpeg", 2 * many, 1.0), ("bmp", many, 1.0)]
    wanted += [("jpeg", 1, 0.5), ("jpeg", many, 0.5)]
    for way, callers, scale in wanted if is_primary(tier.pipeline.manifest) else wanted[:FEW]:
        _add(context, tier, way, bodies[way], callers=callers, scale=scale)


def _unbatched(context: Context, manifest: Manifest, bodies: Sequence[bytes]) -> None:
    """One tile a run: through the tier, of which then only the batches are missing, and with the plain session."""
    if not context.fits(OPEN_S, f"{manifest.name} unbatched"):
        return
    with opened_tier(manifest, context, replace(gpu_settings(context), gpu_batch_max=1)) as tier:
        _add(context, tier, "single", bodies, callers=context.callers)
        _add(context, tier, "single", bodies, callers=1)
    plain = Tier(alone_pipeline(manifest, context.plan.provider, batch=1), 1, "")
    _add(context, plain, "alone", bodies, callers=context.callers)


def _in_threads(context: Context, manifest: Manifest, bodies: Sequence[bytes]) -> None:
    """Pictures read by threads of the process that feeds the GPU, in the place of processes of their own."""
    if context.fits(OPEN_S + context.plan.window_s, f"{manifest.name} in threads"):
        with opened_tier(manifest, context, replace(gpu_settings(context), gpu_processes=False)) as tier:
            _add(context, tier, "threads", bodies, callers=context.callers)


def _add(context: Context, tier: Tier, way: str, bodies: Sequence[bytes], *, callers: int, scale: float = 1.0) -> None:
    what = f"{tier.pipeline.manifest.name} {way}, {callers} callers, scale {scale:g}"
    if context.fits(context.plan.window_s * (1 + WARM_SHARE), what):
        tally = tallied(tier, scale, bodies, callers, context)
        context.add(_row(context, tier, tally, way, scale=scale, callers=callers))


def tallied(tier: Tier, scale: float, bodies: Sequence[bytes], callers: int, context: Context) -> Tally:
    """`callers` threads, each asking again as soon as it was answered, for the window of the plan."""
    window_s = context.plan.window_s
    tally, lock, turns = Tally(), Lock(), count()
    opens = perf_counter() + window_s * WARM_SHARE
    closes = opens + window_s

    def call() -> float:
        """Pictures that this caller finished inside the window; one that straddles a border counts by its share."""
        done = 0.0
        while (started := perf_counter()) < closes:
            prediction = tier.pipeline.predict(bodies[next(turns) % len(bodies)], scale=scale)
            ended = perf_counter()
            done += max(0.0, min(ended, closes) - max(started, opens)) / (ended - started)
            if started >= opens or ended >= closes:
                with lock:
                    _count(tally, prediction, (ended - started) * 1e3)
        return done

    with ThreadPoolExecutor(callers) as pool:
        before_s, started = tier.cpu_s(), perf_counter()
        futures = [pool.submit(call) for _ in range(callers)]
        if context.cuda:
            sleep(window_s * (WARM_SHARE + BUSY_SHARE))
            busy = gpu.Question("utilization.gpu").number("utilization.gpu")
            tally.gpu_busy = None if busy is None else busy / 100
        done = sum(future.result() for future in futures)
        tally.cores_busy = (tier.cpu_s() - before_s) / (perf_counter() - started)
    tally.pictures_per_s = done / window_s
    return tally


def _count(tally: Tally, prediction: Prediction, latency_ms: float) -> None:
    if len(tally.latencies_ms) < LATENCIES_MAX:
        tally.latencies_ms.append(latency_ms)
    for stage, spent_ms in prediction.timings_ms.items():
        tally.stages_ms[stage].append(spent_ms)


def _row(context: Context, tier: Tier, tally: Tally, way: str, *, scale: float, callers: int) -> PipelineRow:
    manifest = tier.pipeline.manifest
    tiles = tile_count(manifest, context.plan.picture_px, scale)
    return PipelineRow(
        model=manifest.name,
        family=manifest.family,
        variant=manifest.variant,
        precision=precision_of(manifest),
        way=way,
        scale=scale,
        batch=tier.batch,
        engine=tier.engine,
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
