"""Read and verify `models/<name>/model.toml`: all that is known about a model stands there and nowhere else."""

import hashlib
import tomllib
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from inference_core.errors import ManifestError

Task = Literal["classification", "regression", "detection", "tensor"]
_OF_SCALE = "map_50_scale_"
TABULAR_TASKS = frozenset({"classification", "regression"})
ColumnType = Literal["float32", "float64", "int32", "int64", "bool", "string"]


@dataclass(frozen=True)
class TabularInput:
    """One tensor [rows, columns]; `columns` names them in order."""

    name: str
    columns: tuple[str, ...]
    dtype: ColumnType = "float32"
    missing: bool = False
    """Whether a value may be null: NaN to the model in columns of floats, an empty text in columns of texts."""

    @property
    def column_types(self) -> tuple[ColumnType, ...]:
        """The type of each column."""
        return (self.dtype,) * len(self.columns)


@dataclass(frozen=True)
class TabularInputs:
    """Several tensors, as converters make of a table whose columns differ in type: often one a column."""

    tensors: tuple[TabularInput, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns, tensor by tensor."""
        return tuple(column for tensor in self.tensors for column in tensor.columns)

    @property
    def column_types(self) -> tuple[ColumnType, ...]:
        """The type of each column."""
        return tuple(dtype for tensor in self.tensors for dtype in tensor.column_types)


@dataclass(frozen=True)
class ClassificationOutput:
    """`probabilities` is a float tensor [rows, classes], or a ZipMap: one map {class: probability} a row. `labels`
    names the classes, in the order of the columns or of the sorted keys. `label` int64 or string [rows] is the model's
    own choice, where it makes one.
    """

    probabilities: str
    labels: tuple[str, ...]
    label: str = ""


@dataclass(frozen=True)
class RegressionOutput:
    """`value` float32 [rows] or [rows, 1]."""

    value: str


@dataclass(frozen=True)
class ImageInput:
    """One tensor of tiles, [N, C, height, width] (nchw) or [N, height, width, C] (nhwc)."""

    name: str
    layout: Literal["nchw", "nhwc"]
    dtype: Literal["uint8", "float32", "float16"]
    colour: Literal["grey", "rgb", "bgr"]
    tile_px: int
    stride: int = 32
    scale: float = 1.0
    """What a pixel value 0..255 is multiplied by before it enters the graph (1/255 for most YOLO exports)."""
    overlap_px: int = 96
    """How far neighbouring tiles overlap: the largest object that some tile is sure to see whole."""
    tile_batch: int = 4
    """Tiles in one run; the memory of a prediction is bounded by it, not by the picture."""
    width_px: int = 0
    height_px: int = 0
    """What the graph takes where that is no square: tiles are as large as its shorter side, and padded to it."""

    @property
    def graph_px(self) -> tuple[int, int]:
        """Height and width that the graph takes."""
        return self.height_px or self.tile_px, self.width_px or self.tile_px


@dataclass(frozen=True)
class DetectionOutput:
    """Where the boxes stand. All floats may be float16, all coordinates are input pixels, all scores 0..1.

    - `yolov8`: [N, 4 + classes, anchors], rows cx, cy, w, h and a score a class (YOLOv8, YOLO11)
    - `yolov5`: [N, anchors, 5 + classes], cx, cy, w, h, objectness, a score a class (YOLOv5, YOLOv7, decoded YOLOX)
    - `yolox`: the same, but cx, cy are relative to the anchor's cell and w, h logarithms, both in strides (8, 16, 32)
    - `end2end`: [N, K, 6], x1, y1, x2, y2, score, label index; unused rows have score 0 (YOLOv10, YOLO26, NMS inside)
    - `nms`: `name` [N, K, 4] as x1, y1, x2, y2, and the tensors `scores` and `classes` [N, K]; of each only the first
      `count` [N] or [N, 1] are meant, where that tensor is named
    - `yolov7_nms`: [M, 7], index of the tile, x1, y1, x2, y2, label index, score
    - `candidates`: as `end2end`, best first and with duplicates: what the GPU tier's own graphs make of `yolov8`, so
      that little leaves the GPU
    """

    name: str
    layout: Literal["yolov8", "yolov5", "yolox", "end2end", "nms", "yolov7_nms", "candidates"]
    labels: tuple[str, ...]
    score_min: float = 0.25
    iou_max: float = 0.5
    """Boxes of one label that overlap by more are one object. Where the graph itself has decided that for a tile
    (`end2end`, `nms`, `yolov7_nms`), this is for boxes of different tiles.
    """
    scores: str = ""
    classes: str = ""
    count: str = ""


@dataclass(frozen=True)
class Tensors:
    """Inputs and outputs of a `tensor` model: the graph itself says all there is to know."""


@dataclass(frozen=True)
class DataFile:
    """A file beside the model that holds some of its weights (ONNX external data)."""

    file: str
    sha256: str


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

    @cached_property
    def by_scale(self) -> dict[float, float]:
        """`value` at scale 1, and at the other scales at which pictures were read: `map_50_scale_0_5` of `more`."""
        found = {name.removeprefix(_OF_SCALE): value for name, value in self.more if name.startswith(_OF_SCALE)}
        scaled = {float(text.replace("_", ".")): value for text, value in found.items() if text[:2] == "0_"}
        return {1.0: self.value} | scaled


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
    input: TabularInput | TabularInputs | ImageInput | Tensors
    output: ClassificationOutput | RegressionOutput | DetectionOutput | Tensors
    accuracy: Accuracy | None = None
    data: tuple[DataFile, ...] = ()

    @cached_property
    def model_bytes(self) -> bytes:
        """The ONNX file, verified. Raises ManifestError when it is missing or not the file the manifest describes."""
        path = self.folder / self.file
        try:
            data = path.read_bytes()
        except OSError as error:
            raise _unreadable(path, error) from None
        _verify(path, hashlib.sha256(data).hexdigest(), self.sha256)
        return data

    @cached_property
    def data_folder(self) -> Path | None:
        """Where the model's `data` files lie, verified; None for a model that is whole in itself, as most are. Raises
        ManifestError as `model_bytes` does.
        """
        for data in self.data:
            path = self.folder / data.file
            try:
                with path.open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise _unreadable(path, error) from None
            _verify(path, found, data.sha256)
        return self.folder if self.data else None


def _unreadable(path: Path, error: OSError) -> ManifestError:
    return ManifestError(f"{path}: {error.strerror}; fetch or train the model again.")


def _verify(path: Path, found: str, wanted: str) -> None:
    if found != wanted:
        raise ManifestError(f"{path}: sha256 is {found}, model.toml says {wanted}; the file was altered.")


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
        given = table.get(section, {})
        # A table of several tensors says so; all else is one.
        one = TabularInputs if shape is TabularInput and "tensors" in given else shape
        table[section] = _read_table(one, given, f"{path}: [{section}]")
    output = table["output"]
    if isinstance(output, DetectionOutput) and output.layout == "nms" and not (output.scores and output.classes):
        raise ManifestError(f"{path}: [output] layout nms needs 'scores' and 'classes', names of tensors.")
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
    elif get_origin(kind) is tuple and is_dataclass(item := get_args(kind)[0]):
        if not isinstance(value, list) or not all(isinstance(table, dict) for table in value):
            raise ManifestError(f"{where} must be a list of tables, not {value!r}.")
        assert isinstance(item, type)
        return tuple(_read_table(item, table, f"{where}:") for table in value)
    elif kind is float and isinstance(value, int):
        return float(value)
    elif isinstance(kind, type) and (not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool)):
        raise ManifestError(f"{where} must be {kind.__name__}, not {value!r}.")
    if kind is int and value <= 0:
        raise ManifestError(f"{where} must be at least 1, not {value}.")
    return value
