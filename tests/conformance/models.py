"""One small model for each thing that a tensor can be, beside a tabular model and a detector."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from tests.models import detection_model, tabular_model, tensor_model

DATATYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
"""The datatypes that are carried, with those of ONNX."""

_info = helper.make_tensor_value_info


def write_models(folder: Path) -> Path:
    """Write them all below `folder`."""
    tabular_model(folder)
    detection_model(folder)
    for graph in (_every_type(), _product(), _any_rank(), _brain_input(), _brain_output(), _gather(), _filled()):
        tensor_model(folder, graph)
    tensor_model(folder, _joined(), ai_onnx=20)
    tensor_model(folder, _maps(), ml=3)
    return folder


def _every_type() -> onnx.GraphProto:
    """`every-type`: each input `in-<datatype>` comes back as `out-<datatype>`."""
    return helper.make_graph(
        [helper.make_node("Identity", [f"in-{kind}"], [f"out-{kind}"]) for kind in DATATYPES],
        "every-type",
        [_info(f"in-{kind}", number, [f"n-{kind}", 2]) for kind, number in DATATYPES.items()],
        [_info(f"out-{kind}", number, [f"n-{kind}", 2]) for kind, number in DATATYPES.items()],
    )


def _product() -> onnx.GraphProto:
    """`product`: a [m, k] times b [k, n], all dimensions open."""
    return helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["product"])],
        "product",
        [_info("a", TensorProto.FLOAT, ["m", "k"]), _info("b", TensorProto.FLOAT, ["k", "n"])],
        [_info("product", TensorProto.FLOAT, ["m", "n"])],
    )


def _any_rank() -> onnx.GraphProto:
    """`any-rank`: bytes of any shape come back as they are; the graph says no shape."""
    return helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "any-rank",
        [_info("x", TensorProto.UINT8, None)],
        [_info("y", TensorProto.UINT8, None)],
    )


def _joined() -> onnx.GraphProto:
    """`joined`: texts a and b, joined element by element."""
    return helper.make_graph(
        [helper.make_node("StringConcat", ["a", "b"], ["joined"])],
        "joined",
        [_info("a", TensorProto.STRING, ["n"]), _info("b", TensorProto.STRING, ["n"])],
        [_info("joined", TensorProto.STRING, ["n"])],
    )


def _maps() -> onnx.GraphProto:
    """`maps`: x [n, 2] as a sequence of maps, as a sequence of tensors, and as it is."""
    map_type = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    tensors = helper.make_tensor_sequence_value_info("rows", TensorProto.FLOAT, None)
    return helper.make_graph(
        [
            helper.make_node("ZipMap", ["x"], ["maps"], domain="ai.onnx.ml", classlabels_strings=["no", "yes"]),
            helper.make_node("SplitToSequence", ["x"], ["rows"], axis=0, keepdims=1),
            helper.make_node("Identity", ["x"], ["y"]),
        ],
        "maps",
        [_info("x", TensorProto.FLOAT, ["n", 2])],
        [
            helper.make_value_info("maps", helper.make_sequence_type_proto(map_type)),
            tensors,
            _info("y", TensorProto.FLOAT, ["n", 2]),
        ],
    )


def _brain_input() -> onnx.GraphProto:
    """`brain-input`: a bfloat16 input, which is not carried."""
    return helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        "brain-input",
        [_info("x", TensorProto.BFLOAT16, ["n"])],
        [_info("y", TensorProto.FLOAT, ["n"])],
    )


def _brain_output() -> onnx.GraphProto:
    """`brain-output`: a bfloat16 output, which is not carried, beside one that is."""
    return helper.make_graph(
        [
            helper.make_node("Cast", ["x"], ["brain"], to=TensorProto.BFLOAT16),
            helper.make_node("Neg", ["x"], ["negated"]),
        ],
        "brain-output",
        [_info("x", TensorProto.FLOAT, ["n"])],
        [_info("brain", TensorProto.BFLOAT16, ["n"]), _info("negated", TensorProto.FLOAT, ["n"])],
    )


def _gather() -> onnx.GraphProto:
    """`gather`: looks `i` up in a table of two; any other index is refused by ONNX Runtime."""
    return helper.make_graph(
        [helper.make_node("Gather", ["table", "i"], ["found"])],
        "gather",
        [_info("i", TensorProto.INT64, ["n"])],
        [_info("found", TensorProto.FLOAT, ["n"])],
        [helper.make_tensor("table", TensorProto.FLOAT, [2], [1.0, 2.0])],
    )


def _filled() -> onnx.GraphProto:
    """`filled`: zeros of the shape that `shape` asks for, which may be more than any machine has."""
    return helper.make_graph(
        [helper.make_node("ConstantOfShape", ["shape"], ["zeros"])],
        "filled",
        [_info("shape", TensorProto.INT64, ["rank"])],
        [_info("zeros", TensorProto.FLOAT, None)],
    )
