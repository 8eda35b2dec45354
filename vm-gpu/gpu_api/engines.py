"""The detection models of this tier, each with its session, its bound memory and its batcher; how they end together."""

import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from time import perf_counter
from typing import Any

from inference_core import images
from inference_core.cpu import usable_cores
from inference_core.detection import DetectionPipeline
from inference_core.device import CudaMemory, HostMemory, Memory, gpu_name
from inference_core.errors import DeviceLost, SettingsError
from inference_core.manifest import Manifest
from inference_core.providers import GpuPlan
from inference_core.registry import Builder, Pipeline, TensorPipeline
from inference_core.session import Provider, Session, Tensors, cuda_version
from inference_core.settings import GpuSettings, Settings
from inference_core.tiled import TiledDetection
from numpy.typing import NDArray

from gpu_api.batcher import Batcher
from gpu_api.engine import Engine, open_engine
from gpu_api.jpeg import JpegDecoder
from gpu_api.pictures import PictureProcesses

_FRESH_S = 20.0
"""A batch that ended so lately is proof enough that the device answers."""
_CHECK_S = 10.0
_SWITCH_S = 1e-4
"""A thread that is ready waits no longer for the interpreter (Python's own value is 5 ms): between two batches a thread
needs it for microseconds, while the GPU has nothing to do.
"""


class Engines:
    """The engines that `builders` opened. `lost` is called once, when the device is."""

    def __init__(self, settings: GpuSettings, lost: Callable[[DeviceLost], None]) -> None:
        self.settings = settings
        self.by_name: dict[str, tuple[Engine, Batcher]] = {}
        self._decoder: JpegDecoder | None = None
        self.processes: PictureProcesses | None = None
        """Who reads the pictures; None: whoever asks for a prediction."""
        self._memory: Memory = HostMemory()
        self._lost = lost
        self._failure: DeviceLost | None = None
        self._checker = ThreadPoolExecutor(1, thread_name_prefix="check")
        self._check: Future[None] | None = None
        self._lock = threading.Lock()

    @property
    def gpu(self) -> str:
        """The GPU's name as its driver says it; `unknown` where there is none."""
        return gpu_name(self.settings.gpu_device)

    def builders(self, settings: Settings, provider: Provider, others: Mapping[str, Builder]) -> dict[str, Builder]:
        """`others`, with detection through the engines and calls by tensor through sessions like theirs."""
        threads = settings.threads or (1 if provider == "cuda" else usable_cores())
        if provider == "cuda":
            sys.setswitchinterval(_SWITCH_S)
            self._memory = CudaMemory(self.settings.gpu_device, cuda_version())
        if self.settings.gpu_decode:
            if provider != "cuda":
                raise SettingsError("INFERENCE_GPU_DECODE=1 needs a GPU; a CPU stand-in has none.")
            self._decoder = JpegDecoder(self.settings.gpu_device)

        def detection(manifest: Manifest) -> Pipeline:
            if self.settings.gpu_processes and not self.processes:
                self.processes = PictureProcesses(settings.slots, self._decoder)
            return self._pipeline(open_engine(manifest, self.settings, provider, threads), settings)

        def tensor(manifest: Manifest) -> Pipeline:
            plan = GpuPlan(self.settings)
            how = {"threads": threads, "provider": provider, "plan": plan, "data_folder": manifest.data_folder}
            return TensorPipeline(manifest, _Watched(self._require_device, manifest.model_bytes, **how))

        return {**others, "detection": detection, "tensor": tensor}

    def _pipeline(self, engine: Engine, settings: Settings) -> DetectionPipeline:
        gpu = self.settings
        batcher = Batcher(engine.runs, wait_ms=gpu.gpu_wait_ms, tiles_max=gpu.gpu_tiles_max, lost=self._end)
        self.by_name[engine.manifest.name] = engine, batcher
        pipeline = DetectionPipeline(
            engine.manifest,
            engine.session,
            pixels_max=settings.pixels_max,
            side_max=settings.image_side_max,
            run=batcher,
            decode=self._decoder or images.decode,
            predict=self.processes.predict if self.processes else TiledDetection.predict,
        )
        pipeline.warm()
        pipeline.tile_s = engine.tile_s()
        return pipeline

    def check(self) -> None:
        """One black tile through each model that has answered nothing of late. Raises DeviceLost, TimeoutError when
        the device does not answer in time, or what the run raises.
        """
        if self._failure:
            raise self._failure
        with self._lock:
            # A device that hangs holds one thread, however often it is asked for.
            if self._check is None or self._check.done():
                self._check = self._checker.submit(self._try_all)
            check = self._check
        check.result(_CHECK_S)

    def _try_all(self) -> None:
        if self.processes:
            self.processes.check()
        if not self.by_name:  # no batch would tell
            self._require_device()
        for engine, batcher in self.by_name.values():
            if perf_counter() - batcher.ended > _FRESH_S:
                batcher(engine.black_tile())

    def describe(self) -> dict[str, Any]:
        """How each model is computed, by its name."""
        return {name: engine.describe() for name, (engine, _) in self.by_name.items()}

    def close(self) -> None:
        """Take no more work, finish what waits, give the device's memory back."""
        self._checker.shutdown(wait=False)
        for engine, batcher in self.by_name.values():
            batcher.close()
            engine.close()
        if self.processes:
            self.processes.close()

    def _require_device(self) -> None:
        """Raise DeviceLost, and have the process end, when no further run can succeed."""
        try:
            self._memory.check()
        except DeviceLost as failure:
            self._end(failure)
            raise

    def _end(self, failure: DeviceLost) -> None:
        with self._lock:
            is_news, self._failure = not self._failure, failure
        if is_news:
            self._lost(failure)


class _Watched(Session):
    """A session that no batcher runs: after a run that failed it looks whether the device is lost."""

    def __init__(self, require_device: Callable[[], None], model: bytes, **how: Any) -> None:
        super().__init__(model, **how)
        self._require_device = require_device

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: list[str] | None = None) -> Tensors:
        """The same; raises DeviceLost too."""
        try:
            return super().run(feeds, outputs)
        except Exception:
            self._require_device()
            raise
