"""A detection graph rewritten, as it is loaded, for the device that runs it.

1. What depends on the picture's sides alone becomes constant. Exporters compute the grid of cells from the input's
   shape; ONNX Runtime leaves such arithmetic on the CPU, with copies to the GPU in each run, which also rule CUDA
   graphs out.
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
from inference_core.cpu import usable_cores
from inference_core.manifest import DetectionOutput, ImageInput
from inference_core.session import Session
from inference_core.tiled import black_tiles
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OUTPUT = "tiers_candidates"
"""The added output: float32 [N, K, 6], layout `candidates` of the manifest."""
CANDIDATES = 1000
"""K at most; the CPU tiers let as many cells of a tile enter suppression."""
_BY_DATA = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "If", "Loop", "Scan"})
"""Operators whose output's shape may depend on values: two runs that agree prove nothing then."""
_CONSTANT_BYTES_MAX = 1 << 22

Arrays = dict[str, NDArray[Any]]


def lean_graph(model: bytes, image: ImageInput, output: DetectionOutput, data_folder: Path | None = None) -> bytes:
    """`model`, whose output has the layout `yolov8`, with `OUTPUT` beside its own outputs; external weights stay
    in `data_folder`. Runs it once or twice on the CPU. Raises what ONNX Runtime raises for a model that does not run.
    """
    proto = onnx.load_from_string(model)
    _fix_sides(proto.graph, image)
    shape_values, cells = _shape_values(proto, image, output.name, data_folder)
    _make_constant(proto.graph, shape_values)
    _add_candidates(proto.graph, output, cells)
    rewritten: bytes = proto.SerializeToString()
    return rewritten


def _fix_sides(graph: onnx.GraphProto, image: ImageInput) -> None:
    dims = next(value for value in graph.input if value.name == image.name).type.tensor_type.shape.dim
    for axis, side in zip((2, 3) if image.layout == "nchw" else (1, 2), image.graph_px, strict=True):
        dims[axis].dim_value = side


def _shape_values(
    proto: onnx.ModelProto, image: ImageInput, output: str, data_folder: Path | None
) -> tuple[Arrays, int]:
    """All values that follow from the shape of the input and are the same for every batch, by name; and how many
    cells the output has.
    """
    names = _derived(proto.graph)
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    known = {value.name for value in probe.graph.output}
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    session = Session(probe.SerializeToString(), threads=usable_cores(), data_folder=data_folder)
    spec = next(spec for spec in session.inputs if spec.name == image.name)
    counts = [spec.shape[0]] if isinstance(spec.shape[0], int) else [1, 2]
    runs = [session.run({image.name: black_tiles(image, count)}, [output, *names]) for count in counts]
    values = {
        name: first
        for name, first, last in zip(names, runs[0][1:], runs[-1][1:], strict=True)
        if np.array_equal(first, last) and first.nbytes <= _CONSTANT_BYTES_MAX
    }
    return values, runs[0][0].shape[2]


def _derived(graph: onnx.GraphProto) -> list[str]:
    """Names of the values computed from shapes and constants alone."""
    if any(node.op_type in _BY_DATA for node in graph.node):
        return []
    constant = {value.name for value in graph.initializer} | {""}
    derived: list[str] = []
    for node in graph.node:
        inputs = set(node.input)
        if inputs <= constant and node.op_type != "Shape":
            constant |= set(node.output)
        elif node.op_type == "Shape" or inputs <= constant | set(derived):
            derived += [name for name in node.output if name]
    return derived


def _make_constant(graph: onnx.GraphProto, values: Arrays) -> None:
    kept = [node for node in graph.node if not set(node.output) <= set(values)]
    del graph.node[:]
    graph.node.extend(kept)
    wanted = {name for node in kept for name in node.input} | {value.name for value in graph.output}
    computed = {name for node in kept for name in node.output}
    for name in sorted((wanted & set(values)) - computed):
        graph.initializer.append(numpy_helper.from_array(values[name], name))


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
