"""A detection graph rewritten, as it is loaded, for the device that runs it.

1. Arithmetic on shapes is taken out (`shapes.py`): ONNX Runtime leaves it on the CPU, in every run.
2. A further output: the best cells of each tile as boxes. 24 KB a tile leave the GPU instead of 336 KB (6 labels, 640
   px), and the host searches nothing.

Suppression stays on the host. How many boxes survive it depends on the data, so the output of ONNX's NonMaxSuppression
has no shape until the host has waited for it in the middle of the graph; that rules CUDA graphs out, and costs more
than the few duplicates do. All that is added here has CUDA kernels, fixed shapes and nothing to wait for.
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.tiled import as_tensor
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gpu_api.shapes import without_shapes

OUTPUT = "tiers_candidates"
"""The added output: float32 [N, K, 6], layout `candidates` of the manifest."""
CANDIDATES = 1000
"""K at most; the CPU tiers let as many cells of a tile enter suppression."""
_COUNTS = (1, 2, 3)
"""Numbers of tiles that a rewritten graph is tried with, where it takes any."""


def lean_graph(model: bytes, image: ImageInput, output: DetectionOutput, data_folder: Path | None = None) -> bytes:
    """`model`, whose output has the layout `yolov8`, with `OUTPUT` beside its own outputs; external weights stay
    in `data_folder`. Runs it on the CPU, on three tiles where it takes any number. Raises what ONNX Runtime raises for
    a model that does not run.
    """
    proto = onnx.load_from_string(model)
    fixed = _fix_sides(proto.graph, image)
    counts = (fixed,) if fixed else _COUNTS
    lean, answers = without_shapes(proto, {image.name: _noise(image, counts[-1])}, counts, data_folder)
    _add_candidates(lean.graph, output, cells=answers[output.name].shape[2])
    rewritten: bytes = lean.SerializeToString()
    return rewritten


def _fix_sides(graph: onnx.GraphProto, image: ImageInput) -> int:
    """Set the sides of the pictures; returns the number of tiles where that is fixed too, or 0."""
    dims = next(value for value in graph.input if value.name == image.name).type.tensor_type.shape.dim
    for axis, side in zip((2, 3) if image.layout == "nchw" else (1, 2), image.graph_px, strict=True):
        dims[axis].dim_value = side
    return int(dims[0].dim_value)


def _noise(image: ImageInput, count: int) -> NDArray[Any]:
    """Tiles of which no two look alike, nor two parts of one."""
    side, channels = image.tile_px, 1 if image.colour == "grey" else 3
    return as_tensor(np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8), image)


def _add_candidates(graph: onnx.GraphProto, output: DetectionOutput, cells: int) -> None:
    """Nodes from the output's [N, 4 + classes, cells] to `OUTPUT`. Every step keeps three axes, and takes nothing that
    has changed between the operator sets 13 and newer.
    """
    count = min(CANDIDATES, cells)

    def numbers(name: str, *values: float, kind: Any = np.int64) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(values, kind), f"{OUTPUT}/{name}"))
        return f"{OUTPUT}/{name}"

    def node(kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        names = [name if name == OUTPUT else f"{OUTPUT}/{name}" for name in outputs]
        graph.node.append(helper.make_node(kind, inputs, names, f"{OUTPUT}/{kind}_{outputs[0]}", **attributes))
        return names[0]

    zero, two, four, end = numbers("0", 0), numbers("2", 2), numbers("4", 4), numbers("end", 2**31 - 1)
    axis = numbers("axis", 1)
    head = node("Cast", [output.name], "head", to=TensorProto.FLOAT)
    boxes = node("Slice", [head, zero, four, axis], "boxes")
    scores = node("Slice", [head, four, end, axis], "scores")
    label = node("ArgMax", [scores], "label", axis=1, keepdims=1)
    score = node("GatherElements", [scores, label], "score", axis=1)
    best = node("TopK", [score, numbers("count", count)], "best", "places", axis=2)
    places = f"{OUTPUT}/places"
    labels = node("Cast", [node("GatherElements", [label, places], "chosen", axis=2)], "labels", to=TensorProto.FLOAT)
    chosen = node("GatherElements", [boxes, node("Concat", [places] * 4, "places4", axis=1)], "cxcywh", axis=2)
    centre = node("Slice", [chosen, zero, two, axis], "centre")
    half = node(
        "Mul", [node("Slice", [chosen, two, four, axis], "size"), numbers("a_half", 0.5, kind=np.float32)], "half"
    )
    corners = [node("Sub", [centre, half], "low"), node("Add", [centre, half], "high")]
    rows = node("Concat", [*corners, best, labels], "rows", axis=1)
    node("Transpose", [rows], OUTPUT, perm=[0, 2, 1])
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, count, 6]))
