"""Deploy-time settings: any mapping of strings to one frozen dataclass. This file reads no environment itself;
each entry file hands its own `os.environ` in, once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from inference_core.errors import SettingsError

PREFIX = "INFERENCE_"
Kind = TypeVar("Kind")
MEBIBYTE = 1 << 20
_MAY_BE_ZERO = (
    "THREADS", "QUEUE_MAX", "DEADLINE_MS", "FAULT_DELAY_S", "JOBS_WORKERS", "JOBS_SHARE", "JOBS_RETRY_S",
    "GPU_DEVICE", "GPU_MEMORY_BYTES_MAX", "GPU_WAIT_MS",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Every setting, named as in the environment less the prefix (`models_dir` is INFERENCE_MODELS_DIR)."""

    models_dir: Path = Path("shared/models")
    models: tuple[str, ...] = ()
    """Names of the models or families to serve; empty: every one that this tier can."""
    records: Path = Path("shared/records")
    """A measurement (`tiers measure`) or a folder of them: those made on this processor say how long a picture takes
    before the first is answered."""
    threads: int = 0
    """ONNX Runtime threads in one run; 0: all the cores that are really ours, shared among the slots."""
    slots: int = 1
    """Requests that compute at the same time."""
    queue_max: int = 16
    """Requests that may wait for a slot; the next one is refused at once."""
    deadline_ms: int = 0
    """The deadline of a request that names none: it is refused when its answer would come later. 0: no deadline."""
    body_bytes_max: int = 64 * MEBIBYTE
    """Bytes of a body, also once it is inflated."""
    body_s_max: float = 30.0
    """Seconds in which a body must have arrived; the same again for the headers before it."""
    bodies_max: int = 16
    """Bodies larger than 64 KiB that are read at the same time: with those that wait and compute, all that may fill
    the memory."""
    header_bytes_max: int = 32 << 10
    """Bytes of the request line and headers together (Azure Functions: 32 KiB as well)."""
    headers_max: int = 100
    json_depth_max: int = 64
    """How deep JSON may be nested (rows are 3 deep, tensors 4 and their rank)."""
    json_values_max: int = 2_000_000
    """Commas and brackets in JSON. Each may become an object of up to 240 bytes; binary tensors have no such limit."""
    pixels_max: int = 64_000_000
    """Pixels of a picture, read from its header before anything is decoded (8K is 33 million)."""
    image_side_max: int = 16_384
    """Longest side of a picture in pixels: a strip a pixel high would have as many tiles as pixels."""
    rows_max: int = 10_000
    """Rows of one tabular request."""
    elements_max: int = 50_000_000
    """Elements of one tensor in a call by tensor (`/v2`)."""
    api_keys: tuple[str, ...] = field(default=(), repr=False)
    """Keys that open every route but health; `@/path/of/a/file` stands for the lines of a mounted secret. Empty: no
    key is asked for, which is right on loopback and behind a front that asks itself."""
    allow_cpu: bool = False
    """GPU tier only: start without CUDA as an openly declared CPU stand-in."""
    fault_delay_s: float = 0.0
    """A fault switch for load tests: seconds added to every prediction."""


@dataclass(frozen=True)
class GpuSettings:
    """How the GPU tier uses its GPU; named and read like the others."""

    gpu_device: int = 0
    """Which of the machine's GPUs, counted as CUDA does."""
    gpu_memory_bytes_max: int = 0
    """GPU memory that ONNX Runtime may take for one model; 0: all there is."""
    gpu_tf32: bool = True
    """Float32 products in TF32, 10 bits of mantissa, on GPUs that have it (Ampere and newer)."""
    gpu_nhwc: bool = False
    """Have ONNX Runtime turn the graph to channels last, which half precision may gain from."""
    gpu_graphs: bool = True
    """Replay each batch shape as one CUDA graph, which saves the launch of every kernel."""
    gpu_tensorrt_dir: str = ""
    """Folder that keeps TensorRT's engines; empty: the CUDA provider alone, no TensorRT."""
    gpu_batch_max: int = 32
    """Tiles of one run, whatever requests they belong to; bounds the GPU memory of a model."""
    gpu_wait_ms: float = 2.0
    """How long a tile may wait for others to fill its batch while the GPU has nothing to do."""
    gpu_tiles_max: int = 1024
    """Tiles of one model that may wait for the GPU; further callers are held."""
    gpu_processes: bool = True
    """Read pictures in processes of their own, one a slot, instead of threads."""
    gpu_decode: bool = False
    """Decode JPEGs on the GPU too (needs nvidia-nvimgcodec)."""


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Settings from `environ`, defaults where a key is absent or empty. Raises SettingsError naming key and value."""
    return read_as(Settings, environ)


def read_as(kind: type[Kind], environ: Mapping[str, str]) -> Kind:
    """The same for any dataclass of settings: a part of the service has its own."""
    given: dict[str, Any] = {}
    for setting in fields(kind):  # type: ignore[arg-type]
        key = PREFIX + setting.name.upper()
        if text := environ.get(key, "").strip():
            given[setting.name] = _parsed(key, text, setting.type)
    return kind(**given)


def _parsed(key: str, text: str, kind: Any) -> Any:
    if kind is bool:
        return _flag(key, text)
    if kind in (Path, str):
        return kind(text)
    if kind == tuple[str, ...]:
        return tuple(name.strip() for name in text.split(",") if name.strip())
    try:
        number = kind(text)
    except ValueError:
        raise SettingsError(f"{key}={text!r} is not {'a whole number' if kind is int else 'a number'}.") from None
    least = 0 if key.removeprefix(PREFIX) in _MAY_BE_ZERO else 1
    if not least <= number < float("inf"):
        raise SettingsError(f"{key}={text!r} must be a finite number, {least} or more.")
    return number


def _flag(key: str, text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise SettingsError(f"{key}={text!r} is neither 1 nor 0.")
