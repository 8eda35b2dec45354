"""Arithmetic on shapes taken out of a graph.

Exporters compute the grid of cells and the targets of Reshape from the input's shape, with the number of tiles in it.
ONNX Runtime runs such arithmetic on the CPU, in every run. Here values that do not depend on the number of tiles become
constant, and a Reshape that does gets -1 for the one entry that follows from how much data there is. An Expand, Resize
or Tile by the number of tiles stays as it is.

Nothing is rewritten that does not answer as before. Only what follows a shape can change, so the graph is cut there:
what lies before runs once, what follows runs before and after, on the same values, with several numbers of tiles.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from inference_core.cpu import usable_cores
from inference_core.session import Session
from numpy.typing import NDArray
from onnx import helper, numpy_helper

_LOG = logging.getLogger("inference.gpu")
_BY_DATA = frozenset({"NonZero", "NonMaxSuppression", "Unique", "Compress", "If", "Loop", "Scan"})
"""Operators whose output's shape may depend on values: runs that agree prove nothing then."""
_UNEVEN = frozenset({
    "Clip", "Div", "Equal", "Floor", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min", "Mod", "Where",
})  # fmt: skip
"""Operators whose output may stay what it is while an input changes."""
_CONSTANT_BYTES_MAX = 1 << 22
_TOLERANCE = 1e-3
"""Relative, and absolute in pixels; a Reshape gone wrong puts values in other places altogether."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class _Split:
    """Names of values on either side of the cut."""

    derived: list[str]
    """Computed from shapes and constants alone."""
    edge: list[str]
    """Computed without any shape, and read by what is computed with one."""
    outputs: list[str]
    """Outputs of the graph that are computed with a shape."""


def without_shapes(
    proto: onnx.ModelProto, tiles: Arrays, counts: Sequence[int], data_folder: Path | None
) -> tuple[onnx.ModelProto, Arrays]:
    """`proto` less its arithmetic on shapes, tried with the first of `tiles` in each of the numbers `counts`, of which
    the last is how many there are; and its outputs for all of them. Logs why where nothing could be taken out. Raises
    what ONNX Runtime raises for a model that does not run.
    """
    try:
        split = _split(proto.graph)
    except ValueError as error:
        _LOG.warning("arithmetic on shapes is left in the graph: %s", error)
        split = _Split([], [], [])
    outputs = [value.name for value in proto.graph.output]
    names = [name for name in dict.fromkeys(outputs + split.edge) if name not in tiles]
    values = {**tiles, **_runs(proto, [tiles], names, data_folder)[0]}
    answers = {name: values[name] for name in outputs}
    if not split.outputs:
        return proto, answers
    try:
        batches = [_first(count, {name: values[name] for name in split.edge}, counts) for count in counts]
        lean = _rewritten(proto, split, batches, data_folder)
        runs = _runs(_tail(lean, batches[-1], split.outputs), batches, split.outputs, data_folder)
        for count, found in zip(counts, runs, strict=True):
            _require_same(found, {name: answers[name][:count] for name in split.outputs})
    except Exception as error:  # someone's own graph may hold anything
        _LOG.warning("arithmetic on shapes is left in the graph: %s", error)
        return proto, answers
    return lean, answers


def _split(graph: onnx.GraphProto) -> _Split:
    """Raises ValueError for a graph that this cannot be said of."""
    if kinds := {node.op_type for node in graph.node} & _BY_DATA:
        raise ValueError(f"the shape of what {min(kinds)} gives depends on values.")
    _require_order(graph)
    constant = {value.name for value in graph.initializer} | {""}
    derived: list[str] = []
    after: set[str] = set()
    edge: dict[str, None] = {}
    for node in graph.node:
        inputs = set(node.input)
        if node.op_type != "Shape" and inputs <= constant:
            constant |= set(node.output)
        elif node.op_type == "Shape" or inputs & after:
            edge |= dict.fromkeys(name for name in node.input if name not in constant | after)
            if node.op_type == "Shape" or inputs <= constant | set(derived):
                derived += [name for name in node.output if name]
            after |= set(node.output) - {""}
    return _Split(derived, list(edge), [value.name for value in graph.output if value.name in after])


def _require_order(graph: onnx.GraphProto) -> None:
    """ONNX wants each node behind those that it reads; ONNX Runtime takes other orders too."""
    later = {name for node in graph.node for name in node.output}
    for node in graph.node:
        if behind := later & set(node.input) - {""}:
            raise ValueError(f"{min(behind)} is read before the node that makes it.")
        later -= set(node.output)


def _first(count: int, values: Arrays, counts: Sequence[int]) -> Arrays:
    """The part of `values`, of `counts[-1]` tiles, that is the first `count` tiles'."""
    if count == counts[-1]:
        return values
    if others := [name for name, value in values.items() if value.shape[:1] != (counts[-1],)]:
        raise ValueError(f"{others[0]} does not have one entry a tile.")
    return {name: value[:count] for name, value in values.items()}


def _rewritten(
    proto: onnx.ModelProto, split: _Split, batches: Sequence[Arrays], data_folder: Path | None
) -> onnx.ModelProto:
    lean = onnx.ModelProto()
    lean.CopyFrom(proto)
    reshapes = [n for n in lean.graph.node if n.op_type == "Reshape" and n.input[1] in split.derived]
    names = sorted({*split.derived, *(node.output[0] for node in reshapes)})
    runs = _runs(_tail(proto, batches[-1], names), batches, names, data_folder)
    same = {name for name in split.derived if all(np.array_equal(runs[0][name], run[name]) for run in runs)}
    _require_even([node for node in proto.graph.node if same & set(node.output)], set(split.derived) - same)
    values = {name: runs[0][name] for name in split.derived if name in same}
    values = {name: value for name, value in values.items() if value.nbytes <= _CONSTANT_BYTES_MAX}
    for node in reshapes:
        target = _target([run[node.output[0]].shape for run in runs])
        if node.input[1] not in values and target is not None:
            node.input[1] = f"{node.output[0]}/tiers_shape"
            values[node.input[1]] = target
    _make_constant(lean.graph, values)
    return lean


def _require_even(nodes: Iterable[onnx.NodeProto], counted: set[str]) -> None:
    """Of `nodes`, whose values are the same for all numbers of tiles that are tried, none may depend on that number
    (`counted`) by a step: its value would be another for more.
    """
    for node in nodes:
        if node.op_type in _UNEVEN and counted & set(node.input):
            raise ValueError(f"{node.op_type} of the number of tiles may be the same for a few tiles alone.")


def _target(shapes: Sequence[tuple[int, ...]]) -> NDArray[np.int64] | None:
    """The target of a Reshape that leads to each of `shapes`; None where there is no such."""
    differs = [len(set(entries)) > 1 for entries in zip(*shapes, strict=True)]
    if sum(differs) > 1 or 0 in shapes[0]:
        return None
    return np.where(differs, -1, shapes[0]).astype(np.int64)


def _make_constant(graph: onnx.GraphProto, values: Arrays) -> None:
    """`values` in the place of the nodes that compute them, and of those that nothing reads any more."""
    outputs = {value.name for value in graph.output}
    kept = _live([node for node in graph.node if not set(node.output) <= values.keys()], outputs)
    del graph.node[:]
    graph.node.extend(kept)
    wanted = {name for node in kept for name in node.input} | outputs
    computed = {name for node in kept for name in node.output}
    for name in sorted((wanted & values.keys()) - computed):
        graph.initializer.append(numpy_helper.from_array(values[name], name))


def _live(nodes: Sequence[onnx.NodeProto], wanted: Iterable[str]) -> list[onnx.NodeProto]:
    """Those of `nodes`, which are in the order of their computation, that `wanted` takes."""
    read = set(wanted)
    kept = []
    for node in reversed(nodes):
        if read & set(node.output):
            kept.append(node)
            read |= set(node.input) - {""}
    return kept[::-1]


def _tail(proto: onnx.ModelProto, given: Arrays, wanted: Sequence[str]) -> onnx.ModelProto:
    """The part of the graph that computes `wanted` from `given`; the first axis of these is free."""
    nodes = _live([node for node in proto.graph.node if not set(node.output) & given.keys()], wanted)
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "tail",
        [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(value.dtype), [None, *value.shape[1:]] if value.ndim else []
            )
            for name, value in given.items()
        ],
        [helper.make_empty_tensor_value_info(name) for name in wanted],
        [tensor for tensor in proto.graph.initializer if tensor.name in read],
    )
    return helper.make_model(
        graph, opset_imports=proto.opset_import, ir_version=proto.ir_version, functions=proto.functions
    )


def _runs(
    proto: onnx.ModelProto, batches: Iterable[Arrays], names: Sequence[str], data_folder: Path | None
) -> list[Arrays]:
    """The values `names` of the graph, be they outputs or not, for each of `batches`."""
    probe = onnx.ModelProto()
    probe.CopyFrom(proto)
    known = {value.name for value in probe.graph.output}
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    session = Session(probe.SerializeToString(), threads=usable_cores(), data_folder=data_folder)
    return [dict(zip(names, session.run(batch, list(names)), strict=True)) for batch in batches]


def _require_same(found: Arrays, wanted: Arrays) -> None:
    for name, value in wanted.items():
        if found[name].shape != value.shape or not np.allclose(found[name], value, _TOLERANCE, _TOLERANCE, True):
            raise ValueError(f"without it, {name} is not the same for {len(value)} tiles.")
