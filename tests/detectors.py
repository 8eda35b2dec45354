"""Detectors of random weights with the heads that others export: small, but of the same tensors and the same maths."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LABELS = ("bolt", "nut", "washer")
SIDE_PX = 128
STRIDES = (8, 16, 32)
WIDTH = 12
BINS = 16
TOP = 20
ULTRALYTICS = {
    "description": "Ultralytics YOLO11n model",
    "license": "AGPL-3.0 License (https://ultralytics.com/license)",
    "task": "detect",
    "stride": "32",
    "batch": "1",
    "imgsz": str([SIDE_PX, SIDE_PX]),
    "names": str(dict(enumerate(LABELS))),
}


class Network:
    """A graph under construction. Each step adds nodes and gives the name of what they put out."""

    def __init__(self, seed: int = 0, sides: tuple[int, int] = (SIDE_PX, SIDE_PX)) -> None:
        self.sides = sides
        self.random = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[TensorProto] = []

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        names = [f"t{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def conv(self, given: str, channels: tuple[int, int], size: int, bias: Any = 0.0, group: int = 1) -> str:
        taken, made = channels
        fan_in = taken // group * size * size
        weight = self.random.normal(0, 2 / np.sqrt(fan_in), (made, taken // group, size, size))
        offset = np.broadcast_to(bias, made)
        sides = [size, size]
        filters = self.constant(weight), self.constant(offset)
        name: str = self.node("Conv", given, *filters, kernel_shape=sides, strides=sides, group=group)
        return name

    def swish(self, given: str) -> str:
        name: str = self.node("Mul", given, self.node("Sigmoid", given))
        return name

    def levels(self, images: str, channels: int) -> list[str]:
        """Features at strides 8, 16 and 32."""
        centred = self.node("Sub", images, self.node("ReduceMean", images, axes=[1, 2, 3], keepdims=1))
        scaled = self.node(
            "Div", centred, self.node("ReduceMax", self.node("Abs", centred), axes=[1, 2, 3], keepdims=1)
        )
        found = [self.swish(self.conv(scaled, (channels, WIDTH), 8))]
        for _ in STRIDES[1:]:
            found.append(self.swish(self.conv(found[-1], (WIDTH, WIDTH), 2)))
        return found

    def flat(self, given: str, channels: int) -> str:
        name: str = self.node("Reshape", given, self.constant([0, channels, -1], np.int64))
        return name


def anchors(sides: tuple[int, int] = (SIDE_PX, SIDE_PX)) -> int:
    """Cells of all levels."""
    return sum(sides[0] // stride * (sides[1] // stride) for stride in STRIDES)


def cells(sides: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Centres [2, anchors] and strides [anchors] of all cells, in cells."""
    centres, strides = [], []
    for stride in STRIDES:
        y, x = np.indices((sides[0] // stride, sides[1] // stride))
        centres.append(np.stack([x.ravel(), y.ravel()]) + 0.5)
        strides.append(np.full(x.size, stride))
    return np.concatenate(centres, axis=1, dtype=np.float32), np.concatenate(strides, dtype=np.float32)


def yolov8_head(net: Network, images: str, *, channels: int = 3, yolo11: bool = False) -> str:
    """[N, 4 + classes, anchors]: distances to the sides as the mean of a distribution over 16 bins (Generalized Focal
    Loss), a sigmoid a class. YOLO11 differs by depthwise convolutions before the classes.
    """
    rows = []
    for level in net.levels(images, channels):
        seen = net.swish(net.conv(level, (WIDTH, WIDTH), 1, group=WIDTH)) if yolo11 else level
        distribution = net.conv(level, (WIDTH, 4 * BINS), 1, np.tile(-0.6 * np.arange(BINS), 4))  # small boxes
        both = net.node("Concat", distribution, net.conv(seen, (WIDTH, len(LABELS)), 1, -1.5), axis=1)
        rows.append(net.flat(both, 4 * BINS + len(LABELS)))
    joined = net.node("Concat", *rows, axis=2)
    split = net.constant([4 * BINS, len(LABELS)], np.int64)
    boxes, classes = net.node("Split", joined, split, outputs=2, axis=1)
    bins = net.node("Softmax", net.node("Reshape", boxes, net.constant([0, 4, BINS, -1], np.int64)), axis=2)
    weighted = net.node("Mul", bins, net.constant(np.arange(BINS).reshape(1, 1, BINS, 1)))
    distances = net.node("ReduceSum", weighted, net.constant([2], np.int64), keepdims=0)
    near, far = net.node("Split", distances, net.constant([2, 2], np.int64), outputs=2, axis=1)
    points, strides = cells(net.sides)
    centre = net.constant(points[None])
    first, last = net.node("Sub", centre, near), net.node("Add", centre, far)
    middle = net.node("Mul", net.node("Add", first, last), net.constant(0.5))
    placed = net.node("Concat", middle, net.node("Sub", last, first), axis=1)
    pixels = net.node("Mul", placed, net.constant(strides))
    name: str = net.node("Concat", pixels, net.node("Sigmoid", classes), axis=1)
    return name


def with_objectness(net: Network, head: str) -> str:
    """[N, anchors, 5 + classes] of a `yolov8_head`: an objectness, the surest class's score, before the classes."""
    rows = net.node("Transpose", head, perm=[0, 2, 1])
    boxes, classes = net.node("Split", rows, net.constant([4, len(LABELS)], np.int64), outputs=2, axis=2)
    surest = net.node("ReduceMax", classes, axes=[2], keepdims=1)
    name: str = net.node("Concat", boxes, surest, classes, axis=2)
    return name


def yolox_head(net: Network, images: str) -> str:
    """[N, anchors, 5 + classes]: offsets and logarithms as they are, sigmoids of objectness and classes."""
    rows = []
    for level in net.levels(images, 3):
        box = net.conv(level, (WIDTH, 4), 1)
        scores = net.node("Sigmoid", net.conv(level, (WIDTH, 1 + len(LABELS)), 1, 0.5))
        rows.append(net.flat(net.node("Concat", box, scores, axis=1), 5 + len(LABELS)))
    name: str = net.node("Transpose", net.node("Concat", *rows, axis=2), perm=[0, 2, 1])
    return name


def best_rows(net: Network, head: str) -> tuple[str, str, str]:
    """Of a `yolov8_head` the best anchors: corners [N, K, 4], scores [N, K], classes [N, K]."""
    rows = net.node("Transpose", head, perm=[0, 2, 1])
    boxes, classes = net.node("Split", rows, net.constant([4, len(LABELS)], np.int64), outputs=2, axis=2)
    best = net.node("ReduceMax", classes, axes=[2], keepdims=0)
    scores, index = net.node("TopK", best, net.constant([TOP], np.int64), outputs=2, axis=1)
    label = net.node("GatherElements", net.node("ArgMax", classes, axis=2, keepdims=0), index, axis=1)
    four = net.node(
        "Expand", net.node("Unsqueeze", index, net.constant([2], np.int64)), net.constant([1, 1, 4], np.int64)
    )
    chosen = net.node("GatherElements", boxes, four, axis=1)
    return corners(net, chosen), scores, label


def corners(net: Network, boxes: str) -> str:
    """(cx, cy, w, h) as (x1, y1, x2, y2), along the last axis."""
    centre, sides = net.node("Split", boxes, net.constant([2, 2], np.int64), outputs=2, axis=2)
    half = net.node("Mul", sides, net.constant(0.5))
    name: str = net.node("Concat", net.node("Sub", centre, half), net.node("Add", centre, half), axis=2)
    return name


def end2end_rows(net: Network, head: str) -> str:
    """[N, K, 6]: x1, y1, x2, y2, score, class."""
    boxes, scores, label = best_rows(net, head)
    axis = net.constant([2], np.int64)
    number = net.node("Cast", label, to=TensorProto.FLOAT)
    name: str = net.node(
        "Concat", boxes, net.node("Unsqueeze", scores, axis), net.node("Unsqueeze", number, axis), axis=2
    )
    return name


def suppressed_rows(net: Network, head: str) -> str:
    """[M, 7]: picture, x1, y1, x2, y2, class, score, by ONNX's own NonMaxSuppression."""
    rows = net.node("Transpose", head, perm=[0, 2, 1])
    centred, classes = net.node("Split", rows, net.constant([4, len(LABELS)], np.int64), outputs=2, axis=2)
    boxes, by_class = corners(net, centred), net.node("Transpose", classes, perm=[0, 2, 1])
    limits = (net.constant([100], np.int64), net.constant([0.5]), net.constant([0.25]))
    chosen = net.node("NonMaxSuppression", boxes, by_class, *limits)  # [M, 3]: picture, class, anchor
    picture, label, _ = net.node("Split", chosen, net.constant([1, 1, 1], np.int64), outputs=3, axis=1)
    place = net.node("Gather", chosen, net.constant([0, 2], np.int64), axis=1)
    found = net.node("GatherND", boxes, place)
    score = net.node("Unsqueeze", net.node("GatherND", by_class, chosen), net.constant([1], np.int64))
    first, second = (net.node("Cast", name, to=TensorProto.FLOAT) for name in (picture, label))
    name: str = net.node("Concat", first, found, second, score, axis=1)
    return name


def write(
    path: Path,
    net: Network,
    outputs: Mapping[str, tuple[str, list[Any]]],
    *,
    batch: int | str = "batch",
    sides: tuple[Any, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    kinds: Mapping[str, int] | None = None,
    shape: list[Any] | None = None,
    given: int = TensorProto.FLOAT,
) -> Path:
    """The graph of `net` as a file; `outputs` gives each a name, what it is in the graph, and its shape; `shape`
    is that of the pictures where it is not [batch, 3, *sides].
    """
    net.nodes.extend(helper.make_node("Identity", [inner], [name]) for name, (inner, _) in outputs.items())
    declared = [
        helper.make_tensor_value_info(name, (kinds or {}).get(name, TensorProto.FLOAT), shape)
        for name, (_, shape) in outputs.items()
    ]
    images = helper.make_tensor_value_info("images", given, shape or [batch, 3, *(sides or net.sides)])
    graph = helper.make_graph(net.nodes, "detector", [images], declared, net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, dict(metadata or {}))
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def yolov8(path: Path, net: Network | None = None, *, yolo11: bool = False, **more: Any) -> Path:
    """A YOLOv8 or YOLO11 export as Ultralytics writes it."""
    net = net or Network()
    head = yolov8_head(net, "images", yolo11=yolo11)
    shape = ["batch", 4 + len(LABELS), anchors(net.sides)]
    return write(path, net, {"output0": (head, shape)}, **({"metadata": ULTRALYTICS} | more))


def yolox(path: Path, net: Network | None = None, **more: Any) -> Path:
    """A YOLOX export: no metadata, not decoded."""
    net = net or Network()
    shape = ["batch", anchors(net.sides), 5 + len(LABELS)]
    return write(path, net, {"output": (yolox_head(net, "images"), shape)}, **more)


def yolov5(path: Path, **more: Any) -> Path:
    """A YOLOv5 export: three anchors a cell, decoded, and beside it a level as it was, in five dimensions."""
    net = Network()
    thirds = [with_objectness(net, yolov8_head(net, "images")) for _ in range(3)]
    level = net.node("Unsqueeze", net.levels("images", 3)[0], net.constant([1], np.int64))
    outputs: dict[str, tuple[str, list[Any]]] = {
        "output0": (net.node("Concat", *thirds, axis=1), ["batch", 3 * anchors(net.sides), 5 + len(LABELS)]),
        "level": (level, ["batch", 1, WIDTH, "y", "x"]),
    }
    return write(path, net, outputs, **({"metadata": ULTRALYTICS} | more))


def end2end(path: Path, **more: Any) -> Path:
    """A YOLOv10 or YOLO26 export."""
    net = Network()
    rows = end2end_rows(net, yolov8_head(net, "images"))
    return write(path, net, {"output0": (rows, ["batch", TOP, 6])}, **({"metadata": ULTRALYTICS} | more))


def nms(path: Path, **more: Any) -> Path:
    """An export with the suppression inside and its answer in four tensors."""
    net = Network()
    boxes, scores, label = best_rows(net, yolov8_head(net, "images"))
    good = net.node("Cast", net.node("Greater", scores, net.constant(0.3)), to=TensorProto.INT32)
    count = net.node("ReduceSum", good, net.constant([1], np.int64), keepdims=1)
    outputs = {
        "num_dets": (count, ["batch", 1]),
        "det_boxes": (boxes, ["batch", TOP, 4]),
        "det_scores": (scores, ["batch", TOP]),
        "det_classes": (net.node("Cast", label, to=TensorProto.INT32), ["batch", TOP]),
    }
    kinds = {"num_dets": TensorProto.INT32, "det_classes": TensorProto.INT32}
    return write(path, net, outputs, kinds=kinds, **more)


def yolov7_nms(path: Path, **more: Any) -> Path:
    """A YOLOv7 export for ONNX Runtime with the suppression inside."""
    net = Network()
    return write(path, net, {"output": (suppressed_rows(net, yolov8_head(net, "images")), ["found", 7])}, **more)
