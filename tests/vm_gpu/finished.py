"""The tiny detector with its boxes as graphs put them out that have a suppression of their own."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from inference_core.manifest import DetectionOutput, Manifest
from onnx import TensorProto, helper, numpy_helper

from tests.vm_gpu.runs import squares_manifest

CORNERS = {"from0": [0], "from2": [2], "from4": [4], "from5": [5], "axis1": [1]}


def rewritten(
    folder: Path, nodes: list[onnx.NodeProto], numbers: dict[str, Any], shapes: dict[str, list[Any]]
) -> Manifest:
    """The tiny detector with `nodes` behind it and outputs of `shapes`: its boxes are corners [N, 16, 4] in `boxes_out`
    there, its scores [N, 1, 16] in `column`.
    """
    manifest = squares_manifest(folder)
    model = onnx.load_from_string(manifest.model_bytes)
    graph = model.graph
    for name, values in (CORNERS | numbers).items():
        graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    graph.initializer.append(numpy_helper.from_array(np.array(0.5, np.float32), "a_half"))
    graph.node.extend(
        [
            helper.make_node("Slice", ["output0", "from0", "from2", "axis1"], ["centres"]),
            helper.make_node("Slice", ["output0", "from2", "from4", "axis1"], ["sides"]),
            helper.make_node("Mul", ["sides", "a_half"], ["halves"]),
            helper.make_node("Sub", ["centres", "halves"], ["low"]),
            helper.make_node("Add", ["centres", "halves"], ["high"]),
            helper.make_node("Concat", ["low", "high"], ["corners"], axis=1),
            helper.make_node("Transpose", ["corners"], ["boxes_out"], perm=[0, 2, 1]),
            helper.make_node("Slice", ["output0", "from4", "from5", "axis1"], ["column"]),
            *nodes,
        ]
    )
    del graph.output[:]
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items())
    data = model.SerializeToString()
    (folder / "squares-n" / "model.onnx").write_bytes(data)
    return replace(manifest, sha256=hashlib.sha256(data).hexdigest())


def nms_manifest(folder: Path) -> Manifest:
    """Boxes in three tensors, as graphs with suppression inside have them."""
    nodes = [
        helper.make_node("Squeeze", ["column", "axis1"], ["scores_out"]),
        helper.make_node("Sub", ["scores_out", "scores_out"], ["classes_out"]),
    ]
    shapes = {"boxes_out": ["n", 16, 4], "scores_out": ["n", 16], "classes_out": ["n", 16]}
    manifest = rewritten(folder, nodes, {}, shapes)
    assert isinstance(manifest.output, DetectionOutput)
    output = replace(manifest.output, name="boxes_out", layout="nms", scores="scores_out", classes="classes_out")
    return replace(manifest, output=output)


def suppressed_manifest(folder: Path) -> Manifest:
    """One list of the boxes of all tiles, as many as there are, by ONNX's own NonMaxSuppression."""
    numbers = {
        "most": np.array(100),
        "iou": np.float32(0.5),
        "least": np.float32(0.25),
        "parts": [1, 1, 1],
        "place": [0, 2],
    }
    nodes = [
        helper.make_node("NonMaxSuppression", ["boxes_out", "column", "most", "iou", "least"], ["chosen"]),
        helper.make_node("Split", ["chosen", "parts"], ["picture", "label", "cell"], axis=1),
        helper.make_node("Gather", ["chosen", "place"], ["places"], axis=1),
        helper.make_node("GatherND", ["boxes_out", "places"], ["found"]),
        helper.make_node("GatherND", ["column", "chosen"], ["likely"]),
        helper.make_node("Unsqueeze", ["likely", "axis1"], ["score"]),
        helper.make_node("Cast", ["picture"], ["picture_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["label"], ["label_float"], to=TensorProto.FLOAT),
        helper.make_node("Concat", ["picture_float", "found", "label_float", "score"], ["rows_out"], axis=1),
    ]
    manifest = rewritten(folder, nodes, numbers, {"rows_out": ["m", 7]})
    assert isinstance(manifest.output, DetectionOutput)
    return replace(manifest, output=replace(manifest.output, name="rows_out", layout="yolov7_nms"))


def end2end_manifest(folder: Path) -> Manifest:
    """Rows of the boxes alone that are above 0.25, as many as the fullest tile of a run has."""
    numbers = {"least": np.float32(0.25), "axes12": [1, 2], "two": [2]}
    nodes = [
        helper.make_node("Transpose", ["column"], ["likely"], perm=[0, 2, 1]),
        helper.make_node("Sub", ["likely", "likely"], ["labels"]),
        helper.make_node("Concat", ["boxes_out", "likely", "labels"], ["all_rows"], axis=2),
        helper.make_node("Greater", ["likely", "least"], ["is_box"]),
        helper.make_node("Cast", ["is_box"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones", "axes12"], ["counts"], keepdims=0),
        helper.make_node("ReduceMax", ["counts"], ["most"], keepdims=1),
        helper.make_node("Squeeze", ["likely", "two"], ["in_line"]),
        helper.make_node("TopK", ["in_line", "most"], ["best", "order"], axis=1),
        helper.make_node("Unsqueeze", ["order", "two"], ["column_order"]),
        helper.make_node("Concat", ["column_order"] * 6, ["whole_order"], axis=2),
        helper.make_node("GatherElements", ["all_rows", "whole_order"], ["rows_out"], axis=1),
    ]
    manifest = rewritten(folder, nodes, numbers, {"rows_out": ["n", "k", 6]})
    assert isinstance(manifest.output, DetectionOutput)
    return replace(manifest, output=replace(manifest.output, name="rows_out", layout="end2end"))
