"""The one file that opens ONNX Runtime sessions: threads, spinning, providers, warm-up."""

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from inference_core.device import require_driver
from inference_core.errors import ManifestError, ProviderError
from inference_core.providers import CPU, CUDA, GpuPlan, check_nodes, gpu_providers

# The Linux wheel of 1.32 sends telemetry unless told otherwise *before* the import: it writes a device id under the
# home folder and adds a thread. OpenBLAS would start a thread a core for nothing.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

_LOG = logging.getLogger("inference.session")
Provider = Literal["cpu", "cuda"]
Tensors = list[Any]
"""One entry an output: an NDArray, or a list of maps where a converter left a ZipMap in."""

_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")
"""StringNormalizer's complaint. It asks for en_US.UTF-8 unless the model says otherwise; slim images have none."""
LOG_SILENT, LOG_INFO = 4, 1
"""Severities from which on ONNX Runtime writes to stderr, past Python."""
_GRAPH_KEY, _NO_GRAPH = "gpu_graph_id", "-1"
_DTYPES = {"uint8": np.uint8, "float": np.float32, "float16": np.float16}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph; a shape entry is an int, a name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The numpy type of a tensor of pixels or boxes. Raises ManifestError for any other."""
        kind = _DTYPES.get(self.dtype.removeprefix("tensor(").removesuffix(")"))
        if kind is None:
            raise ManifestError(f"{self.name!r} is of type {self.dtype}; pictures and boxes are {', '.join(_DTYPES)}.")
        return np.dtype(kind)


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its type, its shape, and the address of its first element on the device."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    address: int = 0

    def of(self, count: int, address: int) -> "Place":
        """`count` of this, one after another at `address`."""
        return Place(self.name, self.dtype, (count, *self.shape), address)


class Session:
    """One ONNX model, ready to run. Safe to call from several threads; on a GPU they take turns."""

    def __init__(self, model: bytes, *, threads: int, provider: Provider = "cpu", plan: GpuPlan | None = None,
                 data_folder: Path | None = None, hidden: Sequence[str] = (),
                 log_severity: int = LOG_SILENT) -> None:  # fmt: skip
        """Open `model` with `threads` intra-op threads; the files of its external weights lie in `data_folder`. `plan`
        says how it uses the GPU. `hidden` outputs are ours, not the model's: they can be asked for by name but do not
        stand in `outputs`.

        Raises ProviderError when CUDA was asked for and not obtained (never a silent fallback to the CPU) and
        ManifestError when ONNX Runtime refuses the file.
        """
        self.threads = threads
        self.provider = provider
        self.plan = (plan or GpuPlan()) if provider == "cuda" else None
        options = _options(threads)
        options.log_severity_level = log_severity
        if data_folder:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
        self._session = _open(model, options, self.plan)
        self.inputs = tuple(TensorSpec(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs())
        specs = [TensorSpec(o.name, o.type, tuple(o.shape)) for o in self._session.get_outputs()]
        self.outputs = tuple(spec for spec in specs if spec.name not in hidden)
        self._own_outputs = [spec.name for spec in self.outputs]
        self.hidden = tuple(spec for spec in specs if spec.name in hidden)
        # A captured graph keeps using memory that the arena gives to the next run: never two runs at a time. Several
        # threads would not add throughput either (microsoft/onnxruntime#27089).
        self._turn: AbstractContextManager[Any] = Lock() if self.plan else nullcontext()
        self._unbound = _run_options(_NO_GRAPH) if self.plan and self.plan.graphs else None
        self.nodes: dict[str, int] = {}
        """Nodes of the graph by the provider that got them; known where the plan is for a GPU."""
        if self.plan:
            self.nodes, strays = _assigned(self._session)
            check_nodes(self.nodes, strays)

    @property
    def metadata(self) -> dict[str, str]:
        """What the exporter wrote into the file about the model."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def require(self, model: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise ManifestError naming the first tensor that the manifest of `model` has and the graph has not."""
        for kind, wanted, specs in (
            ("input", inputs, self.inputs),
            ("output", outputs, self.outputs + self.hidden),
        ):
            found = [spec.name for spec in specs]
            if missing := [name for name in wanted if name not in found]:
                raise ManifestError(f"{model}: the graph has no {kind} {missing[0]!r}; it has {', '.join(found)}.")

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: list[str] | None = None) -> Tensors:
        """The values of `outputs` (all of them by default), in order."""
        with self._turn:
            tensors: Tensors = self._session.run(outputs or self._own_outputs, feeds, self._unbound)
        return tensors

    def bind(self, source: Place, target: Place, *, device: tuple[str, int], graph: int) -> Callable[[], None]:
        """A run from `source` to `target`, both memory of `device` (its kind and number) that must outlive it.

        Where the plan has graphs, its first call captures number `graph`, and every call must come from one thread.
        """
        binding = self._session.io_binding()
        for bind, place in ((binding.bind_input, source), (binding.bind_output, target)):
            bind(place.name, *device, place.dtype.type, place.shape, place.address)
        options = _run_options(str(graph)) if self._unbound else None

        def run() -> None:
            with self._turn:
                self._session.run_with_iobinding(binding, options)

        return run


def _run_options(graph: str) -> ort.RunOptions:
    options = ort.RunOptions()
    options.add_run_config_entry(_GRAPH_KEY, graph)
    return options


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    # A spinning thread burns CPU that is billed (Functions, Container Apps) or shared with the other tiers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _open(model: bytes, options: ort.SessionOptions, plan: GpuPlan | None) -> ort.InferenceSession:
    providers: list[Any] = [CPU]
    if plan:
        require_cuda()
        providers = [*gpu_providers(plan, runtime_version=runtime_version()), *providers]
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = ort.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes here
        if match := _LOCALE.search(str(error)):
            raise ManifestError(
                f'The model works on text in the locale "{match[1]}", which this machine does not have. Install it '
                f"(Debian: package locales-all), or export the model with the locale C.UTF-8."
            ) from error
        raise ManifestError(f"ONNX Runtime {ort.__version__} cannot open the model: {error}") from error
    if plan and (missing := {name for name, _ in providers[:-1]} - set(session.get_providers())):
        raise ProviderError(f"{missing.pop()} was asked for but not obtained; check the driver and CUDA libraries.")
    return session


def _assigned(session: ort.InferenceSession) -> tuple[dict[str, int], list[str]]:
    """How many nodes each provider got, and the operators of those that the CPU got."""
    nodes: Counter[str] = Counter()
    strays: list[str] = []
    for part in session.get_provider_graph_assignment_info():
        operators = [node.op_type for node in part.get_nodes()]
        nodes[part.ep_name] += len(operators)
        if part.ep_name == CPU:
            strays += operators
    return dict(nodes), strays


def require_cuda() -> None:
    """Raise ProviderError with what to mend when this process cannot use CUDA at all."""
    if CUDA not in ort.get_available_providers():
        raise ProviderError(
            f"The installed ONNX Runtime {ort.__version__} has no CUDA provider; "
            "install the `gpu` requirements instead of the `cpu` ones."
        )
    with redirect_stdout(StringIO()) as said:
        ort.preload_dlls()
    if text := said.getvalue().strip():
        _LOG.warning("%s", text.replace("\n", " "))
    require_driver(cuda_version(), runtime_version())


def cuda_version() -> str:
    """The CUDA version that ONNX Runtime was built with; empty for a build without CUDA."""
    return str(getattr(ort, "cuda_version", ""))


def runtime_version() -> str:
    """ONNX Runtime's version, for records and health."""
    return str(ort.__version__)
