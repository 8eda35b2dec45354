"""Sections `loop`, `options`, `tensorrt`: the bare IOBinding loop at fixed batches, and with other session options."""

import dataclasses

from gpu_api.graph import lean_graph
from inference_core.errors import ProviderError
from inference_core.manifest import Manifest

from gpu_bench import gpu
from gpu_bench.bare import BareLoop, measured
from gpu_bench.context import FLOAT32, Context, NotHere, is_primary, parts, precision_of
from gpu_bench.rows import LoopRow
from gpu_bench.tier import gpu_settings, real_tiles

ROW_S = 1.5
"""What a row takes besides its window: the first run at a new shape."""
FEW = 3
"""Batches of a variant that the goals are not about."""
VARIATIONS: dict[str, dict[str, str]] = {
    "the tier's own": {},
    "enable_cuda_graph=1": {"enable_cuda_graph": "1"},
    "prefer_nhwc=1": {"prefer_nhwc": "1"},
    "use_tf32=0": {"use_tf32": "0"},
    "cudnn_conv_algo_search=EXHAUSTIVE": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
}
OPTIONS_BATCH = 32


def run(context: Context) -> None:
    """Each model at each batch."""
    body = context.pictures()[0]
    for manifest in context.models():
        if context.fits(ROW_S, manifest.name):
            with context.attempt(manifest.name):
                loop = BareLoop(manifest.model_bytes, context.plan.provider, gpu_settings(context))
                _batches(context, loop, manifest, body)


def _batches(context: Context, loop: BareLoop, manifest: Manifest, body: bytes) -> None:
    batches = context.plan.batches
    for batch in batches if is_primary(manifest) else batches[:FEW]:
        what = f"{manifest.name} at {batch}"
        if context.fits(ROW_S, what):
            with context.attempt(what):
                context.add(_row(context, loop, manifest, body, batch))


def run_options(context: Context) -> None:
    """The smallest and the largest model on the graph that the tier makes of it, with one option of the CUDA provider
    changed at a time. Raises NotHere on the CPU.
    """
    if not context.cuda:
        raise NotHere("These are options of the CUDA provider; this run computes on the CPU.")
    body = context.pictures()[0]
    for manifest in context.models((FLOAT32,))[:2]:
        for text, options in VARIATIONS.items():
            what = f"{manifest.name} {text}"
            if context.fits(2 * ROW_S, what):
                with context.attempt(what):
                    loop = BareLoop(
                        lean_graph(manifest.model_bytes, *parts(manifest)),
                        "cuda",
                        gpu_settings(context),
                        options=options,
                    )
                    context.add(_row(context, loop, manifest, body, OPTIONS_BATCH, text))


def run_tensorrt(context: Context) -> None:
    """TensorRT on the smallest model; raises NotHere where its provider does not load. Building an engine may take
    longer than the section has: the process is then ended, and the record says so.
    """
    if not context.cuda:
        raise NotHere("TensorRT needs a GPU; this run computes on the CPU.")
    body = context.pictures()[0]
    manifest = context.models()[0]
    try:
        loop = BareLoop(manifest.model_bytes, "tensorrt")
    except ProviderError as error:
        raise NotHere(str(error)) from error
    context.add(_row(context, loop, manifest, body, OPTIONS_BATCH, "tensorrt"))


def _row(context: Context, loop: BareLoop, manifest: Manifest, body: bytes, batch: int, options: str = "") -> LoopRow:
    tiles = real_tiles(manifest, body, batch)
    watched = gpu.Question("clocks.sm", "memory.used") if context.cuda else None
    row = measured(loop, manifest, tiles, context.plan.window_s / 4, precision=precision_of(manifest), options=options)
    if watched is None:
        return row
    return dataclasses.replace(
        row, gpu_clock_mhz=watched.number("clocks.sm"), gpu_memory_mib=watched.number("memory.used")
    )
