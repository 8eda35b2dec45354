"""Tiny real ONNX models and pictures for tests, built on the spot so that no test depends on a trained file."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

COLUMNS = ("length", "width", "weight")
LABELS = ("small", "large")
CELL_PX = 16
TILE_PX = 64


def tabular_model(folder: Path, name: str = "sizes-linear", family: str = "sizes", accuracy: float = 0.9) -> Path:
    """A classifier of three columns: the more their sum exceeds 3, the surer it is of "large"."""
    weights = np.array([[-1, 1], [-1, 1], [-1, 1]], np.float32)
    nodes = [
        helper.make_node("Gemm", ["input", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 3])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["rows", 2]),
        ],
        [_weight("weights", weights), _weight("bias", np.array([3, -3], np.float32))],
    )
    text = f"""
name = "{name}"
family = "{family}"
variant = "{name.rsplit("-", maxsplit=1)[-1]}"
task = "classification"
file = "model.onnx"
sha256 = "{{sha256}}"
licence = "MIT"
source = "built by tests"
[input]
name = "input"
columns = {list(COLUMNS)}
[output]
label = "label"
probabilities = "probabilities"
labels = {list(LABELS)}
[accuracy]
metric = "accuracy"
value = {accuracy}
data = "none"
count = 1
measured = "made up for tests"
"""
    return _write(folder / name, graph, text)


def detection_model(
    folder: Path, name: str = "squares-n", family: str = "squares", accuracies: Mapping[float, float] | None = None
) -> Path:
    """A detector of bright cells on the 16 px grid: each is one box of 16 x 16 px, its score the cell's mean / 255.
    `accuracies` by scale, 1 among them, are made up.
    """
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "range"], ["unit"]),
        helper.make_node("AveragePool", ["unit"], ["mean"], kernel_shape=[CELL_PX] * 2, strides=[CELL_PX] * 2),
        helper.make_node("Reshape", ["mean", "flat"], ["scores"]),
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["count"], axis=0),
        helper.make_node("Concat", ["count", "grid"], ["tiled"], axis=0),
        helper.make_node("Expand", ["boxes", "tiled"], ["all"]),
        helper.make_node("Concat", ["all", "scores"], ["output0"], axis=1),
    ]
    cells = (TILE_PX // CELL_PX) ** 2
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", 1, TILE_PX, TILE_PX])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["n", 5, cells])],
        [
            _weight("range", np.array(1 / 255, np.float32)),
            _weight("flat", np.array([-1, 1, cells], np.int64)),
            _weight("zero", np.array([0], np.int64)),
            _weight("grid", np.array([4, cells], np.int64)),
            _weight("boxes", _cell_boxes()),
        ],
    )
    text = f"""
name = "{name}"
family = "{family}"
variant = "{name.rsplit("-", maxsplit=1)[-1]}"
task = "detection"
file = "model.onnx"
sha256 = "{{sha256}}"
licence = "MIT"
source = "built by tests"
[input]
name = "images"
layout = "nchw"
dtype = "uint8"
colour = "grey"
tile_px = {TILE_PX}
overlap_px = 16
[output]
name = "output0"
layout = "yolov8"
labels = ["square"]
score_min = 0.5
"""
    return _write(folder / name, graph, text + _accuracy(accuracies or {}))


def _accuracy(by_scale: Mapping[float, float]) -> str:
    if not by_scale:
        return ""
    scaled = {f"{scale:g}".replace(".", "_"): value for scale, value in by_scale.items() if scale < 1}
    return "\n".join(
        [
            "[accuracy]",
            'metric = "mAP@0.5"',
            f"value = {by_scale[1.0]}",
            'data = "none"',
            "count = 1",
            'measured = "made up for tests"',
            "[accuracy.more]",
            *(f"map_50_scale_{scale} = {value}" for scale, value in scaled.items()),
        ]
    )


def tensor_model(folder: Path, graph: onnx.GraphProto, **opsets: int) -> Path:
    """A `tensor` model named as its graph; `opsets` are versions of operator sets: `ai_onnx=20`, `ml=3`."""
    text = f"""
name = "{graph.name}"
family = "tensors"
variant = "{graph.name}"
task = "tensor"
file = "model.onnx"
sha256 = "{{sha256}}"
licence = "MIT"
source = "built by tests"
"""
    return _write(folder / graph.name, graph, text, opsets)


def _cell_boxes() -> NDArray[np.float32]:
    """(cx, cy, w, h) of every cell, float32 [1, 4, cells]."""
    centres = np.arange(CELL_PX / 2, TILE_PX, CELL_PX, dtype=np.float32)
    y, x = np.meshgrid(centres, centres, indexing="ij")
    sides = np.full(x.size, CELL_PX, np.float32)
    return np.stack([x.ravel(), y.ravel(), sides, sides])[None]


def _weight(name: str, value: NDArray[Any]) -> TensorProto:
    return numpy_helper.from_array(value, name)


def _write(folder: Path, graph: onnx.GraphProto, manifest: str, opsets: Mapping[str, int] | None = None) -> Path:
    versions = {"": 17} | {domain.replace("ai_onnx", ""): v for domain, v in (opsets or {}).items()}
    imports = [helper.make_opsetid(f"ai.onnx.{name}" if name else "", version) for name, version in versions.items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    if opsets is None:  # the checker refuses what ONNX Runtime runs: an input of any rank
        onnx.checker.check_model(model)
    data = model.SerializeToString()
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(data)
    (folder / "model.toml").write_text(manifest.format(sha256=hashlib.sha256(data).hexdigest()))
    return folder


def squares_picture(width: int, height: int, corners: list[tuple[int, int]], kind: str = "PNG") -> bytes:
    """A black grey picture with a white 16 px square at each of `corners` (x, y), encoded as `kind`."""
    pixels = np.zeros((height, width), np.uint8)
    for x, y in corners:
        pixels[y : y + CELL_PX, x : x + CELL_PX] = 255
    return encoded(Image.fromarray(pixels), kind)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The picture as the bytes of a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
