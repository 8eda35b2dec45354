"""One detection model made ready for the device: its graph, its session, its bound memory. Every step that the device,
the graph or a missing package does not allow is left out, and said.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
from inference_core import heads
from inference_core.bound import BoundRun, batch_shapes
from inference_core.detection import DetectionPipeline
from inference_core.device import CudaMemory, HostMemory, Memory
from inference_core.errors import ManifestError, ProviderError
from inference_core.manifest import DetectionOutput, ImageInput, Manifest
from inference_core.providers import GpuPlan
from inference_core.session import Provider, Session, cuda_version
from inference_core.settings import GpuSettings
from inference_core.tiled import black_tiles
from numpy.typing import NDArray

from gpu_api.batcher import Runs

_LOG = logging.getLogger("inference.gpu")
_FIXED_LAYOUTS = ("yolov8", "yolov5", "yolox", "end2end", "candidates")
"""Layouts of one output with one entry of fixed shape a tile: what can be bound before a run. (Of `end2end` where the
graph says how many rows a tile has: with a free number it answers with as many as it found.)
"""


@dataclass(frozen=True)
class Engine:
    """A model that computes batches on the device. `manifest` describes the graph as it is run, which may say less
    than the model's own file: see `graph.lean_graph`.
    """

    manifest: Manifest
    session: Session
    runs: Runs

    def describe(self) -> dict[str, Any]:
        """What this model got of what the tier can do, for log and record."""
        plan = self.session.plan
        return {
            "batch_max": self.runs.batch_max,
            "bound": isinstance(self.runs, BoundRun),
            "candidates": bool(self.session.hidden),
            "graphs": bool(isinstance(self.runs, BoundRun) and plan and plan.graphs),
            "tensorrt": bool(plan and plan.settings.gpu_tensorrt_dir),
            "nodes": self.session.nodes,
        }

    def tile_s(self) -> float:
        """Seconds that a tile takes in a full batch, of which a picture's tiles form one or several."""
        count = self.runs.batch_max
        tiles = np.repeat(self.black_tile(), count, axis=0)
        started = perf_counter()
        self.runs([tiles])
        return (perf_counter() - started) / count

    def black_tile(self) -> NDArray[Any]:
        """One tile as the graph takes it."""
        assert isinstance(self.manifest.input, ImageInput)
        return black_tiles(self.manifest.input, 1)

    def close(self) -> None:
        """Give the device's memory back."""
        if isinstance(self.runs, BoundRun):
            self.runs.close()


class PlainRuns:
    """The session's own run as batches: for outputs whose shape is known only afterwards."""

    def __init__(self, pipeline: DetectionPipeline, memory: Memory, batch_max: int) -> None:
        self.batch_max = batch_max
        self._pipeline, self._memory = pipeline, memory

    def __call__(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The outputs of all tiles of `parts`, in order."""
        return self._pipeline.session_run(np.concatenate(parts), lambda: None)

    def takes(self, tiles: NDArray[Any]) -> bool:
        """Left to ONNX Runtime, which says what it does not take."""
        return tiles.ndim > 1

    def padded(self, count: int) -> int:
        """Nothing is added."""
        return count

    def check(self) -> None:
        """Raise DeviceLost when the device is lost."""
        self._memory.check()


def open_engine(manifest: Manifest, settings: GpuSettings, provider: Provider, threads: int) -> Engine:
    """`manifest`'s model on the device, every batch shape warmed. Raises StartupError saying what to mend."""
    model, manifest, hidden = _graph(manifest)
    assert isinstance(manifest.output, DetectionOutput)
    may_bind = manifest.output.layout in _FIXED_LAYOUTS

    def opened(*, graphs: bool) -> Engine:
        assert isinstance(manifest.input, ImageInput)
        plan = GpuPlan(settings, graphs, manifest.input.name, black_tiles(manifest.input, 1).shape[1:])
        folder = manifest.data_folder
        session = Session(model, threads=threads, provider=provider, plan=plan, data_folder=folder, hidden=hidden)
        engine = _engine(manifest, session, settings)
        _LOG.info("%s: %s", manifest.name, engine.describe())
        return engine

    if provider == "cuda" and may_bind and settings.gpu_graphs and not settings.gpu_tensorrt_dir:
        try:
            return opened(graphs=True)
        except ProviderError:
            raise
        except Exception as error:  # ONNX Runtime says no in a dozen ways, at the opening or at the first run
            _LOG.warning("%s: no CUDA graphs, each run launches its kernels one by one: %s", manifest.name, error)
    return opened(graphs=False)


def _graph(manifest: Manifest) -> tuple[bytes, Manifest, tuple[str, ...]]:
    """The model's file, with the best candidates as a hidden output where its layout allows that."""
    image, output = manifest.input, manifest.output
    assert isinstance(image, ImageInput)
    assert isinstance(output, DetectionOutput)
    if output.layout != "yolov8":
        return manifest.model_bytes, manifest, ()
    try:
        from gpu_api.graph import OUTPUT, lean_graph  # noqa: PLC0415 - needs `onnx`, which a stand-in may lack

        model = lean_graph(manifest.model_bytes, image, output, manifest.data_folder)
        Session(model, threads=1, data_folder=manifest.data_folder)  # whoever wrote the graph, it must open
    except Exception as error:  # someone's own graph may hold anything
        _LOG.warning("%s: the graph is run as it is, and all its cells come back: %s", manifest.name, error)
        return manifest.model_bytes, manifest, ()
    return model, replace(manifest, output=replace(output, name=OUTPUT, layout="candidates")), (OUTPUT,)


def _engine(manifest: Manifest, session: Session, settings: GpuSettings) -> Engine:
    image, output = manifest.input, manifest.output
    assert isinstance(image, ImageInput)
    assert isinstance(output, DetectionOutput)
    session.require(manifest.name, inputs=[image.name], outputs=heads.output_names(output))
    is_gpu = session.plan is not None
    batch_max = settings.gpu_batch_max if is_gpu else min(settings.gpu_batch_max, image.tile_batch)
    fixed = session.inputs[0].shape[0]
    shapes = (fixed,) if isinstance(fixed, int) else batch_shapes(batch_max)
    memory = CudaMemory(settings.gpu_device, cuda_version()) if is_gpu else HostMemory()
    manifest = replace(manifest, input=replace(image, tile_batch=shapes[-1]))
    if not _has_fixed_entries(session, output):
        _LOG.warning("%s: its output has no fixed shape and is not bound", manifest.name)
        pipeline = DetectionPipeline(manifest, session, pixels_max=1)
        return Engine(manifest, session, PlainRuns(pipeline, memory, shapes[-1]))
    names = {"input_name": image.name, "output_name": output.name}
    try:
        runs = BoundRun(session, memory, tile_shape=black_tiles(image, 1).shape[1:], shapes=shapes, **names)
        runs.warm()
    except Exception as error:  # ONNX Runtime's too
        memory.close()
        raise ManifestError(
            f"{manifest.name}: the first batch of up to {shapes[-1]} tiles failed: {error} Where the GPU's memory is "
            "too small, lower INFERENCE_GPU_BATCH_MAX."
        ) from error
    return Engine(manifest, session, runs)


def _has_fixed_entries(session: Session, output: DetectionOutput) -> bool:
    if output.layout != "end2end":
        return output.layout in _FIXED_LAYOUTS
    rows = next(spec for spec in session.outputs if spec.name == output.name).shape[1]
    return isinstance(rows, int)
