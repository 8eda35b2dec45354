"""The reader against the `onnx` package, on real files and on damaged ones."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from intake.errors import Refused
from intake.onnx_file import read_facts
from onnx import TensorProto, helper, numpy_helper
from onnx.external_data_helper import uses_external_data

from tests.conftest import PROJECT

CONVERTED = sorted((Path(__file__).parent / "converted").glob("*.onnx"))
OURS = sorted((PROJECT / "shared" / "models").glob("*/model.onnx"))


@pytest.mark.parametrize("path", CONVERTED + OURS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_classes_and_categories_are_those_that_the_package_reads(path: Path) -> None:
    model = onnx.load(path)
    classes: list[tuple[str, ...]] = []
    categories: dict[str, list[tuple[str, ...]]] = {"string": [], "int64": []}
    takes_missing = False
    for node in model.graph.node:
        takes_missing |= node.op_type == "Imputer"
        for attribute in node.attribute:
            values = tuple(map(str, attribute.ints)) or tuple(text.decode() for text in attribute.strings)
            if attribute.name.startswith("classlabels_") and values:
                classes.append(values)
            elif attribute.name.startswith("cats_") and values:
                categories["string" if attribute.strings else "int64"].append(values)
            elif attribute.name == "nodes_missing_value_tracks_true":
                takes_missing |= any(attribute.ints)
    tensors = [tensor for tensor in model.graph.initializer if "class" in tensor.name]
    for tensor in tensors:
        elements = numpy_helper.to_array(tensor).reshape(-1).tolist()
        classes.append(tuple(v.decode() if isinstance(v, bytes) else str(v) for v in elements))
    facts = read_facts(path.read_bytes())
    assert facts.classes == classes
    assert facts.categories == categories
    assert facts.takes_missing == takes_missing
    assert facts.weights == {}


def test_weights_are_found_wherever_a_graph_holds_them(tmp_path: Path) -> None:
    """In its initializers, in a constant, and in a graph inside a node; several tensors share a file."""

    def outside(name: str, location: str, offset: int, length: int) -> onnx.TensorProto:
        tensor = numpy_helper.from_array(np.zeros(length // 4, np.float32), name)
        onnx.external_data_helper.set_external_data(tensor, location, offset, length)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        return tensor

    inner = helper.make_graph(
        [helper.make_node("Constant", [], ["inner"], value=outside("c", "inner.bin", 0, 400))],
        "then",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [100])],
    )
    nodes = [helper.make_node("If", ["yes"], ["y"], then_branch=inner, else_branch=inner)]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("yes", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [100])],
        [outside("a", "all.bin", 0, 400), outside("b", "all.bin", 4096, 800)],
    )
    assert all(uses_external_data(tensor) for tensor in graph.initializer)
    facts = read_facts(helper.make_model(graph).SerializeToString())
    assert facts.weights == {"inner.bin": 400, "all.bin": 4896}


def test_damaged_files_are_refused_or_read_and_nothing_else() -> None:
    data = min(CONVERTED, key=lambda path: path.stat().st_size).read_bytes()
    refused = 0
    for length in range(len(data)):
        try:
            read_facts(data[:length])
        except Refused:
            refused += 1
    assert refused > len(data) // 2
    random = np.random.default_rng(0)
    for _ in range(2000):
        damaged = bytearray(data)
        for place in random.integers(len(data), size=3):
            damaged[place] = random.integers(256)
        try:
            read_facts(bytes(damaged))
        except Refused:
            continue
