"""Whether CUDA graphs are really replayed: ONNX Runtime says it of each run in its log, and nowhere else."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gpu_api.graph import OUTPUT, lean_graph
from inference_core.bound import BoundRun
from inference_core.device import CudaMemory
from inference_core.manifest import Manifest
from inference_core.providers import GpuPlan
from inference_core.session import LOG_INFO, Provider, Session, cuda_version
from inference_core.settings import GpuSettings
from inference_core.tiled import black_tiles

from gpu_bench.context import parts

NOT_HERE = "not here: this run computes on the CPU"
OFF = "off by INFERENCE_GPU_GRAPHS"
RUNS = 3
_BATCH_MAX = 2
_REPLAY = "Replaying the captured "
"""Said by ONNX Runtime's `InferenceSession::Run`, at severity INFO, where it replays instead of running nodes."""


def replayed(manifest: Manifest, provider: Provider, settings: GpuSettings) -> str:
    """`replayed` when ONNX Runtime says so of each of `RUNS` runs of the tier's graph in bound memory, once warmed;
    `not`, and what it said instead, otherwise.
    """
    if provider != "cuda":
        return NOT_HERE
    if not settings.gpu_graphs:
        return OFF
    try:
        with log_of_runtime():
            runs = _bound(manifest, replace(settings, gpu_batch_max=_BATCH_MAX, gpu_tensorrt_dir=""))
        try:
            with log_of_runtime():
                runs.warm()
            with log_of_runtime() as log:
                for _ in range(RUNS):
                    runs([black_tiles(parts(manifest)[0], 1)])
        finally:
            runs.close()
    except Exception as error:  # the session is refused, or the capture fails: either way there is no graph
        return f"not: {error}"
    return verdict("".join(log))


def verdict(log: str) -> str:
    """What ONNX Runtime's `log` of `RUNS` runs proves."""
    count = log.count(_REPLAY)
    return "replayed" if count == RUNS else f"not: the log names {count} replays in {RUNS} runs"


@contextmanager
def log_of_runtime() -> Iterator[list[str]]:
    """What is written to stderr in the block, past Python's own too; there once the block has ended."""
    lines: list[str] = []
    sys.stderr.flush()
    own = os.dup(2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        with path.open("wb") as file:
            os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(own, 2)
            os.close(own)
            lines += path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)


def _bound(manifest: Manifest, settings: GpuSettings) -> BoundRun:
    """The tier's own way to run, which tells what it does."""
    image, output = parts(manifest)
    shape = black_tiles(image, 1).shape[1:]
    model = lean_graph(manifest.model_bytes, image, output, manifest.data_folder)
    session = Session(
        model,
        threads=1,
        provider="cuda",
        plan=GpuPlan(settings, graphs=True, input_name=image.name, tile_shape=shape),
        data_folder=manifest.data_folder,
        hidden=(OUTPUT,),
        log_severity=LOG_INFO,
    )
    fixed = session.inputs[0].shape[0]
    shapes = (fixed,) if isinstance(fixed, int) else (1, _BATCH_MAX)
    memory = CudaMemory(settings.gpu_device, cuda_version())
    names = {"input_name": image.name, "output_name": OUTPUT}
    return BoundRun(session, memory, tile_shape=shape, shapes=shapes, **names)
