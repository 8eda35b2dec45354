"""What ONNX Runtime is told about the GPU: provider options by the settings, and where TensorRT keeps its engines."""

import ctypes
import importlib.util
import logging
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference_core import device
from inference_core.errors import ProviderError
from inference_core.settings import GpuSettings

CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
_LOG = logging.getLogger("inference.session")
_TENSORRT_PACKAGES = ("tensorrt_libs", "tensorrt_cu13_libs", "tensorrt_cu12_libs")


@dataclass(frozen=True)
class GpuPlan:
    """How one model is to use the GPU."""

    settings: GpuSettings = field(default_factory=GpuSettings)
    graphs: bool = False
    """Capture CUDA graphs: every run that is bound must name its graph, every other run must name none."""
    input_name: str = ""
    tile_shape: tuple[int, ...] = ()
    """The input of one tile; TensorRT builds one engine for all batches of it up to `settings.gpu_batch_max`."""


def gpu_providers(plan: GpuPlan, *, runtime_version: str) -> list[tuple[str, dict[str, str]]]:
    """The providers to ask for, best first, each with its options. Raises ProviderError for a TensorRT that was asked
    for and is not there.
    """
    settings = plan.settings
    cuda = {
        "device_id": str(settings.gpu_device),
        # EXHAUSTIVE (the default) searches again at every new shape: 634 ms on average against 1.9 ms (PaddleX#5057).
        "cudnn_conv_algo_search": "HEURISTIC",
        "arena_extend_strategy": "kSameAsRequested",
        "do_copy_in_default_stream": "1",
        "use_tf32": _flag(settings.gpu_tf32),
        "prefer_nhwc": _flag(settings.gpu_nhwc),
        "enable_cuda_graph": _flag(plan.graphs),
    }
    if settings.gpu_memory_bytes_max:
        cuda["gpu_mem_limit"] = str(settings.gpu_memory_bytes_max)
    if not settings.gpu_tensorrt_dir:
        return [(CUDA, cuda)]
    folder = engine_folder(
        Path(settings.gpu_tensorrt_dir),
        device.gpu_name(settings.gpu_device),
        f"driver-{device.driver_version()}",
        f"onnxruntime-{runtime_version}",
        f"tensorrt-{tensorrt_version()}",
    )
    return [(TENSORRT, _tensorrt_options(plan, folder)), (CUDA, cuda)]


def engine_folder(root: Path, *facts: str) -> Path:
    """The folder below `root` for engines that were built under `facts`, made if need be: an engine runs only under
    the GPU, driver, ONNX Runtime and TensorRT that it was built for.
    """
    folder = root / "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", fact).strip("-") for fact in facts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _tensorrt_options(plan: GpuPlan, folder: Path) -> dict[str, str]:
    options = {
        "device_id": str(plan.settings.gpu_device),
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    if plan.settings.gpu_memory_bytes_max:
        options["trt_max_workspace_size"] = str(plan.settings.gpu_memory_bytes_max)
    if plan.tile_shape:
        most = plan.settings.gpu_batch_max
        for bound, count in (("min", 1), ("opt", most), ("max", most)):
            sides = "x".join(map(str, (count, *plan.tile_shape)))
            options[f"trt_profile_{bound}_shapes"] = f"{plan.input_name}:{sides}"
    return options


def tensorrt_version() -> str:
    """The version of the TensorRT library, loaded for ONNX Runtime to find. Raises ProviderError without one."""
    for package in _TENSORRT_PACKAGES:
        with suppress(ImportError, ValueError):
            spec = importlib.util.find_spec(package)
            for folder in (spec.submodule_search_locations or []) if spec else []:
                for name in ("libnvinfer.so.10", "libnvinfer_plugin.so.10", "libnvonnxparser.so.10"):
                    with suppress(OSError):
                        ctypes.CDLL(str(Path(folder) / name), mode=ctypes.RTLD_GLOBAL)
    try:
        return str(ctypes.CDLL("libnvinfer.so.10").getInferLibVersion())
    except OSError as error:
        raise ProviderError(
            f"INFERENCE_GPU_TENSORRT_DIR asks for TensorRT 10, which is not there ({error}); install the package "
            "tensorrt-cu13, or leave the setting empty."
        ) from None


def check_nodes(nodes: dict[str, int], strays: list[str]) -> None:
    """Log which provider got how many nodes of the graph, `strays` being the operators left to the CPU. Raises
    ProviderError when the GPU got none.
    """
    share = ", ".join(f"{provider.removesuffix('ExecutionProvider')} {count}" for provider, count in nodes.items())
    _LOG.info("nodes: %s", share)
    if nodes and not nodes.get(CUDA, 0) + nodes.get(TENSORRT, 0):
        raise ProviderError(f"CUDA was asked for but every node of the graph went elsewhere ({share}).")
    if strays:
        # Shape arithmetic belongs there; anything heavy costs a trip of its tensors to the host and back each run.
        _LOG.warning("%d nodes fell to the CPU: %s", len(strays), ", ".join(sorted(set(strays))))


def _flag(value: Any) -> str:
    return "1" if value else "0"
