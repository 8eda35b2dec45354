"""Sections `loop`, `options`, `tensorrt`: the bare IOBinding loop at fixed batches, and with other session options."""

import dataclasses

from inference_core.errors import ProviderError
from inference_core.manifest import Manifest

from gpu_bench import gpu
from gpu_bench.bare import BareLoop, measured
from gpu_bench.context import Context, precision_of
from gpu_bench.rows import LoopRow
from gpu_bench.tier import real_tiles

ROW_S = 1.5
"""What a row takes besides its window: the first run at a new shape."""
VARIATIONS = {
    "use_tf32=0": {"use_tf32": "0"},
    "prefer_nhwc=1": {"prefer_nhwc": "1"},
    "cudnn_conv_algo_search=EXHAUSTIVE": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "cudnn_conv_use_max_workspace=0": {"cudnn_conv_use_max_workspace": "0"},
}
OPTIONS_BATCH = 16


def run(context: Context) -> None:
    """Each model at each batch."""
    body = context.pictures()[0]
    for manifest in context.models():
        if not context.fits(ROW_S, manifest.name):
            continue
        loop = BareLoop(manifest.model_bytes, context.plan.provider)
        for batch in context.plan.batches:
            if context.fits(ROW_S, f"{manifest.name} at {batch}"):
                context.add(_row(context, loop, manifest, body, batch))


def run_options(context: Context) -> None:
    """The smallest and the largest model with one option of the CUDA provider changed at a time."""
    if not context.cuda:
        raise ProviderError("These are options of the CUDA provider; this run computes on the CPU.")
    body = context.pictures()[0]
    for manifest in context.models()[:4]:
        for text, options in VARIATIONS.items():
            if context.fits(2 * ROW_S, f"{manifest.name} {text}"):
                loop = BareLoop(manifest.model_bytes, "cuda", options)
                context.add(_row(context, loop, manifest, body, OPTIONS_BATCH, text))


def run_tensorrt(context: Context) -> None:
    """TensorRT on the smallest model; raises ProviderError where its provider does not load. Building an engine may
    take longer than the section has: the process is then ended, and the record says so.
    """
    if not context.cuda:
        raise ProviderError("TensorRT needs a GPU; this run computes on the CPU.")
    body = context.pictures()[0]
    manifest = context.models()[0]
    loop = BareLoop(manifest.model_bytes, "tensorrt")
    context.add(_row(context, loop, manifest, body, OPTIONS_BATCH, "tensorrt"))


def _row(context: Context, loop: BareLoop, manifest: Manifest, body: bytes, batch: int, options: str = "") -> LoopRow:
    tiles = real_tiles(manifest, body, batch)
    window_s = context.plan.window_s / 4
    row = measured(loop, manifest, tiles, window_s, precision=precision_of(manifest), options=options)
    if not context.cuda:
        return row
    # Read at once: the clock falls again in less than a second.
    said = gpu.ask("clocks.sm", "memory.used")
    clock, memory = (gpu.as_number(said.get(name, "")) for name in ("clocks.sm", "memory.used"))
    return dataclasses.replace(row, gpu_clock_mhz=clock, gpu_memory_mib=memory)
