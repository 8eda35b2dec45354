"""Models from the real converters answer rows as the library does that they were fitted with; the rest is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from inference_core.errors import InvalidRequest
from inference_core.manifest import ClassificationOutput, RegressionOutput, TabularInput, TabularInputs
from inference_core.session import Session
from inference_core.tabular import TabularPipeline
from intake.add import Added, Request, add
from intake.errors import Refused
from intake.wish import Wish
from onnx import TensorProto, helper

CONVERTED = Path(__file__).parent / "converted"
ANSWERS: dict[str, Any] = json.loads((CONVERTED / "answers.json").read_text("utf-8"))["answers"]
COLUMNS = ("length", "width", "weight")
NO_PROBABILITIES = ("skl-kmeans", "skl-svc")
MIXED = ("skl-mixed", "skl-mixed-strict")
TAKES_NULLS = {"skl-hist", "xgb-binary", "xgb-three", "xgb-regression", "lgb-binary", "lgb-three", "lgb-regression"}


def added(name: str, folder: Path, **wish: Any) -> Added:
    columns = {} if name in MIXED else {"columns": COLUMNS}
    return add(Request(CONVERTED / f"{name}.onnx", folder, Wish(**(columns | wish))))


def pipeline(model: Added) -> TabularPipeline:
    return TabularPipeline(model.manifest, Session(model.manifest.model_bytes, threads=1), rows_max=100)


def predictions(model: Added, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pipeline(model).predict(json.dumps({"rows": rows}).encode()).fields["predictions"]
    return found


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - set(NO_PROBABILITIES)))
def test_a_converted_model_answers_as_the_library_does(tmp_path: Path, name: str) -> None:
    model, answer = added(name, tmp_path), ANSWERS[name]
    assert model.found.warnings == []
    found = predictions(model, answer["rows"])
    if answer["labels"] is None:
        assert model.manifest.task == "regression"
        np.testing.assert_allclose([one["value"] for one in found], np.ravel(answer["expected"]), rtol=1e-5, atol=1e-5)
        return
    assert model.manifest.task == "classification"
    for one, expected in zip(found, answer["expected"], strict=True):
        assert one["probabilities"] == pytest.approx(dict(zip(answer["labels"], expected, strict=True)), abs=1e-5)
        assert one["label"] == answer["labels"][int(np.argmax(expected))]


def test_the_answers_hold_every_kind_of_value() -> None:
    """Else the test above would prove less than it says."""
    assert {name.split("-")[0] for name in ANSWERS} == {"skl", "xgb", "lgb"}
    for name in TAKES_NULLS | set(MIXED):
        assert any(None in row.values() for row in ANSWERS[name]["rows"]), name
    kinds = {type(value) for value in ANSWERS["skl-mixed"]["rows"][0].values()}
    assert {str, int, float} <= kinds


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - set(NO_PROBABILITIES) - set(MIXED)))
def test_a_matrix_takes_nulls_where_the_model_was_made_for_them(tmp_path: Path, name: str) -> None:
    model = added(name, tmp_path)
    (tensor,) = getattr(model.manifest.input, "tensors", (model.manifest.input,))
    assert isinstance(tensor, TabularInput)
    assert tensor.columns == COLUMNS
    assert tensor.missing == (name in TAKES_NULLS)
    assert tensor.dtype == ("float64" if name == "skl-double" else "float32")


def test_columns_of_their_own_types_are_inputs_of_their_own(tmp_path: Path) -> None:
    model = added("skl-mixed", tmp_path)
    assert model.manifest.input == TabularInputs(
        (
            TabularInput("colour", ("colour",), "string", missing=True),
            TabularInput("size", ("size",), "int64"),
            TabularInput("length", ("length",), missing=True),
            TabularInput("weight", ("weight",), missing=True),
        )
    )
    assert model.manifest.output == ClassificationOutput("output_probability", ("drop", "keep"), "output_label")
    assert predictions(model, [model.found.example])


def test_an_unknown_category_is_the_callers_fault_where_the_model_says_so(tmp_path: Path) -> None:
    row = ANSWERS["skl-mixed"]["rows"][0] | {"colour": "mauve"}
    assert predictions(added("skl-mixed", tmp_path), [row])
    strict = added("skl-mixed-strict", tmp_path)
    assert strict.found.warnings == []
    with pytest.raises(InvalidRequest, match="The model refuses these values: OneHotEncoder"):
        predictions(strict, [row])
    with pytest.raises(InvalidRequest, match='column "colour" is not a text'):
        predictions(strict, [row | {"colour": None}])


def test_columns_without_names_are_numbered_with_a_warning(tmp_path: Path) -> None:
    model = added("skl-ridge", tmp_path, columns=())
    assert model.manifest.input == TabularInput("input", ("input_0", "input_1", "input_2"))
    assert model.manifest.output == RegressionOutput("variable")
    assert model.found.warnings == ["Its columns have no names of their own (input_0 to input_2); give --columns FILE."]


def test_labels_rename_the_classes_in_their_order(tmp_path: Path) -> None:
    model = added("skl-forest", tmp_path, labels=("small", "middle", "large"))
    answer = ANSWERS["skl-forest"]
    found = predictions(model, answer["rows"])
    assert [list(one["probabilities"].values()) for one in found] == [
        pytest.approx(row, abs=1e-5) for row in answer["expected"]
    ]
    assert list(found[0]["probabilities"]) == ["small", "middle", "large"]


@pytest.mark.parametrize(
    ("name", "wish", "complaint"),
    [
        ("skl-logistic", {"labels": ("a",)}, "2 classes, but there are 1 labels"),
        ("skl-forest", {"labels": ("a", "b")}, "3 classes, but there are 2 labels"),
        ("skl-logistic", {"labels": ("a", "a")}, "Two labels are the same"),
        ("skl-logistic", {"columns": ("a", "b")}, "3 columns, but 2 different names"),
        ("skl-logistic", {"columns": ("a", "b", "b")}, "3 columns, but 2 different names"),
        ("skl-logistic", {"task": "regression"}, "not those of a regression model known here"),
        ("skl-logistic", {"task": "detection"}, "not those of a detection model known here"),
        ("skl-ridge", {"task": "classification"}, "not those of a classification model known here"),
        ("skl-svc", {}, "holds scores from .*; they must lie within 0 to 1"),
        ("skl-kmeans", {}, "holds scores from .*; they must lie within 0 to 1"),
    ],
)
def test_a_contradiction_is_refused_and_leaves_nothing(
    tmp_path: Path, name: str, wish: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Refused, match=complaint):
        added(name, tmp_path, **wish)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused_as_a_table_can_be_served_by_its_tensors(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="--task tensor"):
        added("skl-kmeans", tmp_path)
    assert added("skl-kmeans", tmp_path, task="tensor").manifest.task == "tensor"


def made(path: Path, nodes: list[onnx.NodeProto], outputs: list[onnx.ValueInfoProto], **weights: Any) -> Path:
    """A graph of `x` float32 [rows, 3]."""
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, weights.pop("given", ["rows", 3]))]
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", given, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def floats(name: str, *shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


LABEL = helper.make_tensor_value_info("label", TensorProto.INT64, ["rows"])


def classifier(path: Path, kind: str, own: str = "ArgMax", **more: Any) -> Path:
    nodes = [
        helper.make_node(kind, ["x"], ["scores"]),
        helper.make_node(own, ["x"], ["label"], axis=1, keepdims=0),
    ]
    return made(path, nodes, [LABEL, floats("scores", "rows", 3)], **more)


def test_classes_without_names_are_numbers(tmp_path: Path) -> None:
    model = add(Request(classifier(tmp_path / "net.onnx", "Softmax"), tmp_path / "models"))
    assert model.manifest.output == ClassificationOutput("scores", ("0", "1", "2"), "label")


def test_a_network_of_scores_alone_is_a_classifier_when_one_says_so(tmp_path: Path) -> None:
    path = made(tmp_path / "n.onnx", [helper.make_node("Softmax", ["x"], ["y"])], [floats("y", "rows", 3)])
    assert add(Request(path, tmp_path / "a")).manifest.task == "tensor"
    model = add(Request(path, tmp_path / "b", Wish(task="classification", labels=("a", "b", "c"))))
    (one,) = predictions(model, [{"x_0": 0, "x_1": 5, "x_2": 0}])
    assert one["label"] == "b"


def test_a_label_that_is_not_the_most_probable_class_is_told(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Softmax", ["x"], ["scores"]),
        helper.make_node("Mul", ["x", "weights"], ["weighted"]),
        helper.make_node("ArgMax", ["weighted"], ["label"], axis=1, keepdims=0),
    ]
    path = made(
        tmp_path / "n.onnx", nodes, [LABEL, floats("scores", "rows", 3)], weights=np.array([1, 1, 2], np.float32)
    )
    warnings = add(Request(path, tmp_path / "models", Wish(columns=COLUMNS))).found.warnings
    assert [w.partition(",")[0] for w in warnings] == [
        "Its own label is not always the class of the highest probability"
    ]


def test_classes_that_no_list_explains_must_be_named(tmp_path: Path) -> None:
    path = classifier(tmp_path / "n.onnx", "Softmax", own="ArgMin")
    with pytest.raises(Refused, match="does not name its classes"):
        add(Request(path, tmp_path / "models"))
    assert add(Request(path, tmp_path / "models", Wish(labels=("a", "b", "c")))).manifest.task == "classification"


@pytest.mark.parametrize(
    ("kind", "complaint"),
    [
        ("Identity", "they must lie within 0 to 1"),
        ("Sigmoid", "rows that add up to"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path, kind: str, complaint: str) -> None:
    path = classifier(tmp_path / "n.onnx", kind)
    with pytest.raises(Refused, match=complaint):
        add(Request(path, tmp_path / "models"))


@pytest.mark.parametrize(("factor", "complaint"), [(0, "all exactly 0"), (np.nan, "only NaN or infinity")])
def test_scores_that_say_nothing_are_refused(tmp_path: Path, factor: float, complaint: str) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["scores"]),
        helper.make_node("ArgMax", ["x"], ["label"], axis=1, keepdims=0),
    ]
    path = made(tmp_path / "n.onnx", nodes, [LABEL, floats("scores", "rows", 3)], factor=np.float32(factor))
    with pytest.raises(Refused, match=complaint):
        add(Request(path, tmp_path / "models"))


def test_a_fixed_number_of_rows_is_refused(tmp_path: Path) -> None:
    path = classifier(tmp_path / "n.onnx", "Softmax", given=[1, 3])
    with pytest.raises(Refused, match="takes exactly 1 rows; export it with a free first axis"):
        add(Request(path, tmp_path / "models"))


def test_a_free_number_of_columns_must_be_named(tmp_path: Path) -> None:
    path = classifier(tmp_path / "n.onnx", "Softmax", given=["rows", "columns"])
    with pytest.raises(Refused, match="does not say how many columns"):
        add(Request(path, tmp_path / "models"))
    model = add(Request(path, tmp_path / "models", Wish(columns=("a", "b", "c"))))
    assert getattr(model.manifest.input, "columns", None) == ("a", "b", "c")


def test_a_network_of_texts_as_numbers_is_no_table(tmp_path: Path) -> None:
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["texts", "words"])
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["numbers"], ["score"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(nodes, "ranker", [ids], [floats("score", "texts", 1)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "ranker.onnx")
    assert add(Request(tmp_path / "ranker.onnx", tmp_path / "models")).manifest.task == "tensor"
