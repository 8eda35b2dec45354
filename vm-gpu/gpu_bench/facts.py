"""Section `facts`: the GPU, its driver, the runtime, and how many nodes of each model the GPU really runs."""

import contextlib
import io
import platform
from collections.abc import Iterator

import onnxruntime
from inference_core.manifest import Manifest
from tier_planner.tables import SHOWN_MAX

from gpu_bench import gpu
from gpu_bench.bare import BareLoop, nodes_by_provider
from gpu_bench.context import Context, is_primary
from gpu_bench.replay import replayed
from gpu_bench.rows import FactRow
from gpu_bench.tier import gpu_settings, real_tiles

GPU_FACTS = (
    "name",
    "driver_version",
    "memory.total",
    "memory.used",
    "clocks.sm",
    "clocks.max.sm",
    "power.limit",
    "compute_cap",
    "compute_mode",
    "pcie.link.gen.current",
    "pcie.link.width.current",
)
OPTIONS = ("use_tf32", "cudnn_conv_algo_search", "prefer_nhwc", "enable_cuda_graph", "gpu_mem_limit")
MODEL_S = 4.0


def run(context: Context) -> None:
    """Rows of what is here; raises ProviderError, with the runtime's own account kept, where CUDA cannot be had."""
    for name, value in (*_machine(), *_runtime(), ("settings", str(gpu_settings(context)))):
        context.add(FactRow(name, value))
    body = context.pictures()[0]
    for index, manifest in enumerate(filter(is_primary, context.models())):
        if index and not context.fits(MODEL_S, manifest.name):
            continue
        try:
            for name, value in _of_model(context, manifest, body):
                context.add(FactRow(name, value))
        except Exception:
            if context.cuda:
                context.add(FactRow("onnxruntime.debug_info", _debug_info()))
            raise


def _machine() -> Iterator[tuple[str, str]]:
    for name, value in gpu.Question(*GPU_FACTS).values().items():
        yield f"gpu.{name}", value
    yield "python", platform.python_version()


def _runtime() -> Iterator[tuple[str, str]]:
    yield "onnxruntime", onnxruntime.__version__
    yield "onnxruntime.providers", ", ".join(onnxruntime.get_available_providers())
    yield "onnxruntime.cuda", str(getattr(onnxruntime, "cuda_version", "") or "none")
    yield "onnxruntime.build", onnxruntime.get_build_info()


def _of_model(context: Context, manifest: Manifest, body: bytes) -> Iterator[tuple[str, str]]:
    tiles = real_tiles(manifest, body, 1)
    nodes = nodes_by_provider(manifest.model_bytes, context.plan.provider, tiles)
    yield f"nodes.{manifest.name}", ", ".join(f"{name} {count}" for name, count in sorted(nodes.items()))
    yield f"bytes.{manifest.name}", str(len(manifest.model_bytes))
    yield f"graphs.{manifest.name}", replayed(manifest, context.plan.provider, gpu_settings(context))
    if context.cuda and manifest == context.models()[0]:
        options = BareLoop(manifest.model_bytes, "cuda", gpu_settings(context)).provider_options()
        for name in OPTIONS:
            yield f"cuda.{name}", options.get(name, "not known to this runtime")


def _debug_info() -> str:
    """Which libraries ONNX Runtime sees and has loaded, as it prints them; the end of it, where it is long."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        onnxruntime.print_debug_info()
    return said.getvalue()[-20 * SHOWN_MAX :]
