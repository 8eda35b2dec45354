"""The bare loop: ONNX Runtime, IOBinding, a model's own graph, and nothing of ours. What a pipeline is held against."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from inference_core.errors import ProviderError
from inference_core.manifest import Manifest
from inference_core.providers import GpuPlan, gpu_providers
from inference_core.session import require_cuda  # before ONNX Runtime: it switches telemetry off
from inference_core.settings import GpuSettings
from numpy.typing import NDArray
from onnxruntime import ExecutionMode, InferenceSession, OrtValue, SessionOptions, __version__
from tier_planner.measurements import quantile

from gpu_bench.rows import LoopRow

Backend = Literal["cpu", "cuda", "tensorrt"]
NAMES: dict[Backend, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
RUNS_MIN, RUNS_MAX = 5, 400
WARM_RUNS = 2


class BareLoop:
    """One model, its tiles on the device, run over and over."""

    def __init__(
        self,
        model: bytes,
        provider: Backend,
        settings: GpuSettings | None = None,
        *,
        options: Mapping[str, str] | None = None,
        profile: Path | None = None,
    ) -> None:
        """Open `model` with the tier's own options of the CUDA provider, so that the loop and the tier differ in our
        code alone; `options` go over them. Raises ProviderError where `provider` is not obtained: ONNX Runtime itself
        falls back to the next one without a word.
        """
        self._device = "cpu" if provider == "cpu" else "cuda"
        providers: list[Any] = [NAMES["cpu"]]
        if provider != "cpu":
            require_cuda()
            plan = GpuPlan(replace(settings or GpuSettings(), gpu_tensorrt_dir=""))
            ((name, given),) = gpu_providers(plan, runtime_version=__version__)
            providers.insert(0, (name, given | dict(options or {})))
        if provider == "tensorrt":
            providers.insert(0, NAMES["tensorrt"])
        self.session = InferenceSession(model, _session_options(profile), providers=providers)
        if self.providers[0] != NAMES[provider]:
            raise ProviderError(f"{NAMES[provider]} does not load here; the session obtained {self.providers[0]}.")

    @property
    def providers(self) -> list[str]:
        """What ONNX Runtime obtained."""
        return list(self.session.get_providers())

    def provider_options(self) -> dict[str, str]:
        """The first provider's options, defaults included."""
        return dict(self.session.get_provider_options().get(self.providers[0], {}))

    def bind(self, tiles: NDArray[Any]) -> None:
        """Put `tiles` on the device, leave the outputs there, and keep the memory of both: a CUDA graph needs it."""
        self._binding = self.session.io_binding()
        self._tiles = OrtValue.ortvalue_from_numpy(tiles, self._device, 0)  # kept: the binding does not own it
        self._binding.bind_ortvalue_input(self.session.get_inputs()[0].name, self._tiles)
        names = [output.name for output in self.session.get_outputs()]
        for name in names:
            self._binding.bind_output(name, self._device, 0)
        self.first_ms = self.run_ms()
        self._outputs = self._binding.get_outputs()
        for name, value in zip(names, self._outputs, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def run_ms(self) -> float:
        """One run, its end awaited."""
        started = perf_counter()
        self.session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return (perf_counter() - started) * 1e3


def measured(
    loop: BareLoop, manifest: Manifest, tiles: NDArray[Any], window_s: float, *, precision: str, options: str = ""
) -> LoopRow:
    """Run `tiles` for `window_s` seconds, at least a few times. The GPU's own figures are the caller's to add."""
    loop.bind(tiles)
    for _ in range(WARM_RUNS):
        loop.run_ms()
    runs: list[float] = []
    started = perf_counter()
    while len(runs) < RUNS_MIN or (perf_counter() - started < window_s and len(runs) < RUNS_MAX):
        runs.append(loop.run_ms())
    spent_s = perf_counter() - started
    median_ms = quantile(runs, 0.5)
    return LoopRow(
        model=manifest.name,
        variant=manifest.variant,
        precision=precision,
        options=options,
        batch=len(tiles),
        tile_px=tiles.shape[-1],
        runs=len(runs),
        run_ms=median_ms,
        spread=(quantile(runs, 0.75) - quantile(runs, 0.25)) / median_ms,
        images_per_s=len(tiles) * len(runs) / spent_s,
        first_ms=loop.first_ms,
        gpu_clock_mhz=None,
        gpu_memory_mib=None,
    )


def nodes_by_provider(model: bytes, provider: Backend, tiles: NDArray[Any]) -> dict[str, int]:
    """How many nodes of the graph each provider ran, from ONNX Runtime's own profile of one run."""
    with tempfile.TemporaryDirectory() as folder:
        loop = BareLoop(model, provider, profile=Path(folder) / "profile")
        loop.bind(tiles)
        events = json.loads(Path(loop.session.end_profiling()).read_text(encoding="utf-8"))
    nodes = {
        (event["name"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event.get("args", {}).get("provider")
    }
    return dict(Counter(name for _, name in nodes))


def _session_options(profile: Path | None) -> SessionOptions:
    options = SessionOptions()
    options.inter_op_num_threads = 1
    options.execution_mode = ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    return options
