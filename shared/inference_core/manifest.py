"""Read and verify `models/<name>/model.toml`: all that is known about a model stands there and nowhere else."""

import hashlib
import tomllib
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from inference_core.errors import ManifestError

Task = Literal["classification", "regression", "detection", "tensor"]
TABULAR_TASKS = frozenset({"classification", "regression"})


@dataclass(frozen=True)
class TabularInput:
    """One float32 tensor [rows, columns]; `columns` names them in order."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class ClassificationOutput:
    """`label` int64 or string [rows], `probabilities` float32 [rows, classes]; `labels` names the classes in order."""

    label: str
    probabilities: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class RegressionOutput:
    """`value` float32 [rows] or [rows, 1]."""

    value: str


@dataclass(frozen=True)
class ImageInput:
    """One tensor of tiles, [N, C, side, side] (nchw) or [N, side, side, C] (nhwc)."""

    name: str
    layout: Literal["nchw", "nhwc"]
    dtype: Literal["uint8", "float32"]
    colour: Literal["grey", "rgb", "bgr"]
    tile_px: int
    stride: int = 32
    scale: float = 1.0
    """What a pixel value 0..255 is multiplied by before it enters the graph (1/255 for most YOLO exports)."""
    overlap_px: int = 96
    """How far neighbouring tiles overlap: the largest object that some tile is sure to see whole."""
    tile_batch: int = 4
    """Tiles in one run; the memory of a prediction is bounded by it, not by the picture."""


@dataclass(frozen=True)
class DetectionOutput:
    """`yolov8`: float32 [N, 4 + classes, anchors], (cx, cy, w, h) in input pixels, then scores 0..1.

    `candidates`: float32 [N, K, 6], the K best of those, best first, as x1, y1, x2, y2, score, label index, with
    duplicates; unused rows have score 0. The GPU tier adds it to graphs of `yolov8`, so that little leaves the GPU.
    """

    name: str
    layout: Literal["yolov8", "candidates"]
    labels: tuple[str, ...]
    score_min: float = 0.25
    iou_max: float = 0.5


@dataclass(frozen=True)
class Tensors:
    """Inputs and outputs of a `tensor` model: the graph itself says all there is to know."""


@dataclass(frozen=True)
class Accuracy:
    """How good the model is, as the command in `measured` found it."""

    metric: str
    value: float
    data: str
    count: int
    measured: str
    more: tuple[tuple[str, float], ...] = ()
    """Further metrics of the same measurement."""


@dataclass(frozen=True)
class Manifest:
    """One model. `folder` is where its files lie."""

    folder: Path
    name: str
    family: str
    variant: str
    task: Task
    file: str
    sha256: str
    licence: str
    source: str
    input: TabularInput | ImageInput | Tensors
    output: ClassificationOutput | RegressionOutput | DetectionOutput | Tensors
    accuracy: Accuracy | None = None

    @cached_property
    def model_bytes(self) -> bytes:
        """The ONNX file, verified. Raises ManifestError when it is missing or not the file the manifest describes."""
        path = self.folder / self.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ManifestError(f"{path}: {error.strerror}; fetch or train the model again.") from None
        if (found := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise ManifestError(f"{path}: sha256 is {found}, model.toml says {self.sha256}; the file was altered.")
        return data


_SHAPES: dict[str, tuple[type[Any], type[Any]]] = {
    "classification": (TabularInput, ClassificationOutput),
    "regression": (TabularInput, RegressionOutput),
    "detection": (ImageInput, DetectionOutput),
    "tensor": (Tensors, Tensors),
}


def read_manifest(folder: Path) -> Manifest:
    """The manifest in `folder`. Raises ManifestError naming the file and the key that is missing, unknown or wrong."""
    path = folder / "model.toml"
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: not TOML: {error}.") from None
    task = table.get("task")
    if task not in _SHAPES:
        raise ManifestError(f"{path}: task = {task!r}; expected one of {', '.join(_SHAPES)}.")
    for section, shape in zip(("input", "output"), _SHAPES[task], strict=True):
        table[section] = _read_table(shape, table.get(section, {}), f"{path}: [{section}]")
    if accuracy := table.get("accuracy"):
        more = tuple((name, float(value)) for name, value in accuracy.pop("more", {}).items())
        table["accuracy"] = _read_table(Accuracy, accuracy | {"more": more}, f"{path}: [accuracy]")
    manifest: Manifest = _read_table(Manifest, table | {"folder": folder}, f"{path}:")
    return manifest


def _read_table(shape: type[Any], table: dict[str, Any], where: str) -> Any:
    known = {field.name: field for field in fields(shape)}
    required = {name for name, field in known.items() if field.default is MISSING}
    if unknown := set(table) - set(known):
        raise ManifestError(f"{where} unknown key {min(unknown)!r}; known: {', '.join(known)}.")
    if missing := required - set(table):
        raise ManifestError(f"{where} {min(missing)!r} is missing.")
    return shape(**{name: _checked(value, known[name].type, f"{where} {name}") for name, value in table.items()})


def _checked(value: Any, kind: Any, where: str) -> Any:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ManifestError(f"{where} = {value!r}; expected one of {', '.join(get_args(kind))}.")
    elif kind == tuple[str, ...]:
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            raise ManifestError(f"{where} must be a list of texts, not {value!r}.")
        return tuple(value)
    elif kind is float and isinstance(value, int):
        return float(value)
    elif isinstance(kind, type) and (not isinstance(value, kind) or isinstance(value, bool)):
        raise ManifestError(f"{where} must be {kind.__name__}, not {value!r}.")
    if kind is int and value <= 0:
        raise ManifestError(f"{where} must be at least 1, not {value}.")
    return value
