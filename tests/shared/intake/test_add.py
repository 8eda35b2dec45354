"""A file is taken whole and as it will be served, or refused with the reason and without a trace."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from inference_core.manifest import read_manifest
from inference_core.registry import read_manifests
from inference_core.session import Session
from intake.add import Request, add
from intake.errors import Refused
from intake.wish import Wish
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)


def graph(path: Path, *nodes: onnx.NodeProto, kind: int = TensorProto.FLOAT, **model: Any) -> Path:
    """A graph from `x` to `y`, both [n, m, 64]."""
    tensors = [helper.make_tensor_value_info(name, kind, ["n", "m", 64]) for name in "xy"]
    constants = [numpy_helper.from_array(WEIGHTS, "w")]
    constants += [numpy_helper.from_array(np.array(model.pop(name)), name) for name in list(model) if name == "s"]
    made = helper.make_graph(list(nodes), "g", tensors[:1], tensors[1:], constants)
    opsets = [helper.make_opsetid(domain, version) for domain, version in model.pop("opsets", {"": 17}).items()]
    onnx.save(helper.make_model(made, opset_imports=opsets, ir_version=model.pop("ir", 9)), path, **model)
    return path


MATMUL = helper.make_node("MatMul", ["x", "w"], ["y"])
OUTSIDE: dict[str, Any] = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}


def refused(path: Path, **wish: Any) -> str:
    with pytest.raises(Refused) as fault:
        add(Request(path, path.parent / "models", Wish(**wish)))
    assert not (path.parent / "models").exists()
    return str(fault.value)


def test_any_other_model_is_served_by_its_tensors(tmp_path: Path) -> None:
    model = add(Request(graph(tmp_path / "My Net.onnx", MATMUL), tmp_path / "models"))
    assert (model.manifest.name, model.manifest.task) == ("My-Net", "tensor")
    assert model.found.warnings == []
    assert model.found.summary == "x to y"
    assert read_manifests(tmp_path / "models") == [model.manifest]


def test_family_and_variant_are_as_given(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", MATMUL)
    one = add(Request(path, tmp_path / "models", name="parts-n", family="parts"))
    assert (one.manifest.family, one.manifest.variant) == ("parts", "n")
    other = add(Request(path, tmp_path / "models", name="parts-2", family="parts", variant="s"))
    assert (other.manifest.family, other.manifest.variant) == ("parts", "s")


def test_weights_of_their_own_files_come_along_and_are_verified(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", MATMUL, **(OUTSIDE | {"location": "weights.bin"}))
    model = add(Request(path, tmp_path / "models"))
    for left in (path, tmp_path / "weights.bin"):
        left.unlink()
    assert sorted(file.name for file in model.folder.iterdir()) == ["model.onnx", "model.toml", "weights.bin"]
    manifest = read_manifest(model.folder)
    session = Session(manifest.model_bytes, threads=1, data_folder=manifest.data_folder)
    x: NDArray[np.float32] = np.ones((1, 1, 64), np.float32)
    np.testing.assert_allclose(session.run({"x": x})[0], x @ WEIGHTS, rtol=1e-5, atol=1e-5)


def test_weights_in_a_folder_beside_come_along(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    path = graph(tmp_path / "net.onnx", MATMUL, **(OUTSIDE | {"location": "parts/weights.bin"}))
    assert (add(Request(path, tmp_path / "models")).folder / "parts" / "weights.bin").is_file()


def test_missing_or_cut_weights_are_named(tmp_path: Path) -> None:
    path = graph(tmp_path / "net.onnx", MATMUL, **OUTSIDE)
    weights = tmp_path / "weights.bin"
    data = weights.read_bytes()
    weights.write_bytes(data[:-1])
    said = refused(path)
    assert said == f"{weights} is cut short: {len(data) - 1} bytes, and the model needs {len(data)}. Copy it again."
    weights.unlink()
    assert "weights lie in 'weights.bin', which is not in" in refused(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/hostname", "model.toml", "model.onnx"])
def test_weights_elsewhere_are_refused(tmp_path: Path, location: str) -> None:
    path = graph(tmp_path / "net.onnx", MATMUL, **OUTSIDE)
    model = onnx.load(path, load_external_data=False)
    model.graph.initializer[0].external_data[0].value = location
    path.write_bytes(model.SerializeToString())
    assert "must lie beside the model, in a file of another name" in refused(path)


RELU = helper.make_node("Relu", ["x"], ["y"])


@pytest.mark.parametrize(
    ("nodes", "model", "complaint"),
    [
        ([RELU], {"opsets": {"": 99}}, r"It needs opset 99 of ai\.onnx; this ONNX Runtime knows up to \d+\."),
        ([RELU], {"ir": 99}, r"Its IR version is 99; this ONNX Runtime reads up to \d+\."),
        (
            [helper.make_node("Whirl", ["x"], ["y"], domain="acme.ops")],
            {"opsets": {"": 17, "acme.ops": 1}},
            r"It uses the operator Whirl of acme\.ops, which ONNX Runtime does not have\.",
        ),
        ([helper.make_node("Whirl", ["x"], ["y"])], {}, "No Op registered for Whirl"),
        (
            [helper.make_node("Identity", ["x"], ["y"])],
            {"kind": TensorProto.BFLOAT16},
            r"a tensor\(bfloat16\), which no",
        ),
    ],
)
def test_what_the_runtime_cannot_run_is_refused_in_plain_words(
    tmp_path: Path, nodes: list[onnx.NodeProto], model: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Refused, match=complaint):
        add(Request(graph(tmp_path / "net.onnx", *nodes, **model), tmp_path / "models"))
    assert not (tmp_path / "models").exists()


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    whole = graph(tmp_path / "net.onnx", MATMUL).read_bytes()
    for data in (b"", b"no model at all", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "bad.onnx").write_bytes(data)
        assert "not an ONNX model" in refused(tmp_path / "bad.onnx")
    assert "No such file" in refused(tmp_path / "none.onnx")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("name", [".hidden", "a/b", "..", "naïve", "a b"])
def test_a_name_that_is_no_folder_or_address_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Refused, match="give another --name"):
        add(Request(graph(tmp_path / "net.onnx", MATMUL), tmp_path / "models", name=name))
    assert not (tmp_path / "models").exists()


def test_a_model_that_is_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    first = add(Request(graph(tmp_path / "net.onnx", MATMUL), tmp_path / "models"))
    (first.folder / "golden.json").write_text("{}")
    other = graph(tmp_path / "other.onnx", RELU)
    with pytest.raises(Refused, match="is there already; give another --name, or --replace it"):
        add(Request(other, tmp_path / "models", name="net"))
    assert read_manifest(first.folder) == first.manifest
    second = add(Request(other, tmp_path / "models", name="net", replace=True))
    assert read_manifest(second.folder).sha256 != first.manifest.sha256
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["net"]
    assert sorted(path.name for path in second.folder.iterdir()) == ["model.onnx", "model.toml"]


def test_a_refused_replacement_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    first = add(Request(graph(tmp_path / "net.onnx", MATMUL), tmp_path / "models"))
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(Refused):
        add(Request(tmp_path / "bad.onnx", tmp_path / "models", name="net", replace=True))
    assert read_manifest(first.folder) == first.manifest
    assert read_manifest(first.folder).model_bytes


def test_an_odd_tensor_model_is_taken_with_a_warning(tmp_path: Path) -> None:
    inverse = graph(tmp_path / "inverse.onnx", helper.make_node("Reciprocal", ["x"], ["y"]))
    (warning,) = add(Request(inverse, tmp_path / "models")).found.warnings
    assert warning == "Output 'y' holds NaN or infinity when all inputs are 0."
    tall = graph(tmp_path / "tall.onnx", helper.make_node("Reshape", ["x", "s"], ["y"]), s=[5, 5, 64])
    (warning,) = add(Request(tall, tmp_path / "models")).found.warnings
    assert "not proven to run" in warning
