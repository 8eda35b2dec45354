"""The one file that opens ONNX Runtime sessions: threads, spinning, providers, warm-up."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from inference_core.errors import ManifestError, ProviderError

# The Linux wheel of 1.32 sends telemetry unless told otherwise *before* the import: it writes a device id under the
# home folder and adds a thread. OpenBLAS would start a thread a core for nothing.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as ort

Provider = Literal["cpu", "cuda"]
Tensors = list[Any]
"""One entry an output: an NDArray, or a list of maps where a converter left a ZipMap in."""

_LOCALE = re.compile(r"Failed to construct locale with name:([\w.@-]+)")
"""StringNormalizer's complaint. It asks for en_US.UTF-8 unless the model says otherwise; slim images have none."""
_CUDA_OPTIONS = {
    # EXHAUSTIVE (the default) searches again at every new shape: 634 ms on average against 1.9 ms (PaddleX#5057).
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
    "do_copy_in_default_stream": "1",
}


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a graph; a shape entry is an int, a name or None."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


class Session:
    """One ONNX model, ready to run. Safe to call from several threads on the CPU provider."""

    def __init__(
        self, model: bytes, *, threads: int, provider: Provider = "cpu", data_folder: Path | None = None
    ) -> None:
        """Open `model` with `threads` intra-op threads; the files of its external weights lie in `data_folder`. Raises
        ProviderError when CUDA was asked for and not obtained (never a silent fallback to the CPU) and ManifestError
        when ONNX Runtime refuses the file.
        """
        self.threads = threads
        self.provider = provider
        options = _options(threads)
        if data_folder:
            options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(data_folder))
        self._session = _open(model, options, provider)
        self.inputs = tuple(TensorSpec(i.name, i.type, tuple(i.shape)) for i in self._session.get_inputs())
        self.outputs = tuple(TensorSpec(o.name, o.type, tuple(o.shape)) for o in self._session.get_outputs())

    @property
    def metadata(self) -> dict[str, str]:
        """What the exporter wrote into the file about the model."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def require(self, model: str, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        """Raise ManifestError naming the first tensor that the manifest of `model` has and the graph has not."""
        for kind, wanted, specs in (("input", inputs, self.inputs), ("output", outputs, self.outputs)):
            found = [spec.name for spec in specs]
            if missing := [name for name in wanted if name not in found]:
                raise ManifestError(f"{model}: the graph has no {kind} {missing[0]!r}; it has {', '.join(found)}.")

    def run(self, feeds: Mapping[str, NDArray[Any]], outputs: list[str] | None = None) -> Tensors:
        """The values of `outputs` (all of them by default), in order."""
        tensors: Tensors = self._session.run(outputs, feeds)
        return tensors


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4
    # A spinning thread burns CPU that is billed (Functions, Container Apps) or shared with the other tiers.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    return options


def _open(model: bytes, options: ort.SessionOptions, provider: Provider) -> ort.InferenceSession:
    providers: list[Any] = ["CPUExecutionProvider"]
    if provider == "cuda":
        require_cuda()
        providers.insert(0, ("CUDAExecutionProvider", _CUDA_OPTIONS))
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes here
        if match := _LOCALE.search(str(error)):
            raise ManifestError(
                f'The model works on text in the locale "{match[1]}", which this machine does not have. Install it '
                f"(Debian: package locales-all), or export the model with the locale C.UTF-8."
            ) from error
        raise ManifestError(f"ONNX Runtime {ort.__version__} cannot open the model: {error}") from error
    if provider == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        raise ProviderError("CUDA was asked for but the session got the CPU; check the driver and CUDA libraries.")
    return session


def require_cuda() -> None:
    """Raise ProviderError with what to mend when this process cannot use CUDA at all."""
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise ProviderError(
            f"The installed ONNX Runtime {ort.__version__} has no CUDA provider; "
            "install the `gpu` requirements instead of the `cpu` ones."
        )
    if preload := getattr(ort, "preload_dlls", None):
        preload()


def runtime_version() -> str:
    """ONNX Runtime's version, for records and health."""
    return str(ort.__version__)
