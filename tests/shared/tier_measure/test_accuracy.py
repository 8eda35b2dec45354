"""Accuracy on labelled data of every kind, through the pipeline that serves."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tier_measure.accuracy import AccuracyRequest, measure_accuracy
from tier_measure.errors import MeasureError
from tier_measure.labelled import draw_boards, read_labelled
from tier_planner.measurements import Accuracy
from training.boards import LABELS
from training.evaluate import make_samples

from tests.models import CELL_PX, COLUMNS, squares_picture

CORNERS = [(16, 32), (96, 16), (0, 0)]


def judged(models_dir: Path, model: str, data: Path, *, scale: float = 1.0, target: str = "") -> Accuracy:
    return measure_accuracy(AccuracyRequest(str(models_dir / model), str(data), target, scale, 1, "cpu"))


def coco(folder: Path, boxes: list[list[float]], name: str = "square", **more: Any) -> Path:
    """One picture of squares at CORNERS, with `boxes` [x, y, w, h] for the truth."""
    (folder / "images").mkdir()
    (folder / "images" / "a.png").write_bytes(squares_picture(128, 64, CORNERS))
    annotations = [{"image_id": 7, "category_id": 3, "bbox": box, **more} for box in boxes]
    path = folder / "truth.json"
    image = {"id": 7, "file_name": "a.png", "width": 128, "height": 64}
    path.write_text(
        json.dumps({"images": [image], "annotations": annotations, "categories": [{"id": 3, "name": name}]})
    )
    return path


SQUARES: list[list[float]] = [[x, y, CELL_PX, CELL_PX] for x, y in CORNERS]


def test_a_detector_that_sees_all_scores_one(models_dir: Path, tmp_path: Path) -> None:
    accuracy = judged(models_dir, "squares-n", coco(tmp_path, SQUARES))
    assert accuracy.value == pytest.approx(1.0)
    assert (accuracy.metric, accuracy.count) == ("mAP@0.5", 1)
    assert accuracy.data == "COCO file truth.json"
    assert accuracy.more["recall_small"] == 1.0
    assert "recall_large" not in accuracy.more


def test_what_is_not_there_and_what_is_missed_both_cost(models_dir: Path, tmp_path: Path) -> None:
    accuracy = judged(models_dir, "squares-n", coco(tmp_path, [*SQUARES[:2], [64, 0, 50, 50]]))
    assert 0.3 < accuracy.value < 0.9
    assert accuracy.more["precision"] == pytest.approx(2 / 3)
    assert (accuracy.more["recall_small"], accuracy.more["recall_large"]) == (1.0, 0.0)


def test_crowds_count_neither_way(models_dir: Path, tmp_path: Path) -> None:
    path = coco(tmp_path, SQUARES)
    document = json.loads(path.read_text())
    document["annotations"][0]["iscrowd"] = 1
    path.write_text(json.dumps(document))
    accuracy = judged(models_dir, "squares-n", path)
    assert accuracy.value == pytest.approx(1.0)
    assert (accuracy.more["precision"], accuracy.more["recall_small"]) == (1.0, 1.0)


@pytest.mark.parametrize("apart", [True, False])
def test_a_yolo_folder_says_the_same(models_dir: Path, tmp_path: Path, apart: bool) -> None:
    pictures, labels = (tmp_path / "images" / "val", tmp_path / "labels" / "val") if apart else (tmp_path, tmp_path)
    for folder in (pictures, labels):
        folder.mkdir(parents=True, exist_ok=True)
    (pictures / "a.png").write_bytes(squares_picture(128, 64, CORNERS))
    (pictures / "empty.png").write_bytes(squares_picture(64, 64, []))
    lines = [f"1 {(x + 8) / 128} {(y + 8) / 64} {16 / 128} {16 / 64}" for x, y in CORNERS]
    (labels / "a.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "data.yaml").write_text("names:\n  1: square\n")
    with pytest.raises(MeasureError, match="is not `class x y width height`"):
        judged(models_dir, "squares-n", tmp_path)  # names are numbered from 0
    (tmp_path / "data.yaml").write_text("names: [square, square]\n")
    accuracy = judged(models_dir, "squares-n", tmp_path)
    assert accuracy.value == pytest.approx(1.0)
    assert accuracy.count == 2


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        ({"name": "circle"}, "has the label 'circle', which the model does not: square"),
        ({"bbox": [1, 2]}, "cannot be read as COCO"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    models_dir: Path, tmp_path: Path, spoilt: dict[str, Any], said: str
) -> None:
    path = coco(tmp_path, SQUARES, **spoilt)
    with pytest.raises(MeasureError, match=said):
        judged(models_dir, "squares-n", path)


def test_a_picture_that_is_not_there_is_refused(models_dir: Path, tmp_path: Path) -> None:
    path = coco(tmp_path, SQUARES)
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(MeasureError, match=r"names the picture a\.png, which is not beside it"):
        judged(models_dir, "squares-n", path)


def test_boards_are_those_of_the_evaluation(tmp_path: Path) -> None:
    path = draw_boards("boards:2:640x480", tmp_path)
    assert path is not None
    found, samples = read_labelled(path, LABELS), make_samples(2, 640, 480)
    assert found.text == "generated boards, 640 x 480 px, seeds 9000000 and up"
    for picture, sample in zip(found.pictures, samples, strict=True):
        assert picture.file.read_bytes() == sample.body
        assert picture.truth.boxes == pytest.approx(sample.board.boxes)
        assert picture.truth.labels.tolist() == sample.board.labels.tolist()
    assert draw_boards("elsewhere.json", tmp_path) is None
    with pytest.raises(MeasureError, match="at least one board"):
        draw_boards("boards:0", tmp_path)


def test_several_columns_need_a_name_for_the_answer(models_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "sizes.csv"
    path.write_text("length,width,weight,size,colour\n0,0,1,small,red\n2,2,2,large,red\n3,3,3,large,blue\n")
    with pytest.raises(MeasureError, match="Name it with --target; beside the model's it has size, colour"):
        judged(models_dir, "sizes-linear", path)
    accuracy = judged(models_dir, "sizes-linear", path, target="size")
    assert (accuracy.value, accuracy.more) == (1.0, {"roc_auc": 1.0})
    with pytest.raises(MeasureError, match="label 'blue', which the model does not: small, large"):
        judged(models_dir, "sizes-linear", path, target="colour")
    with pytest.raises(MeasureError, match="has no column 'shape'"):
        judged(models_dir, "sizes-linear", path, target="shape")


def test_a_regression_is_judged_by_its_errors(tmp_path: Path) -> None:
    _regression(tmp_path / "sum")
    path = tmp_path / "sums.csv"
    path.write_text("length,width,weight,sum\n1,1,1,3\n2,0,0,5\n0,0,4,4\n0,0,0,0\n")
    accuracy = judged(tmp_path, "sum", path)
    assert (accuracy.metric, accuracy.count) == ("RMSE", 4)
    assert accuracy.value == pytest.approx(1.5)
    assert accuracy.more == {"mae": pytest.approx(0.75)}
    path.write_text("length,width,weight,sum\n1,1,1,three\n")
    with pytest.raises(MeasureError, match="'three' is not a number"):
        judged(tmp_path, "sum", path)


def _regression(folder: Path) -> None:
    """The sum of three columns."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["input", "ones"], ["value"])],
        "sum",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor_value_info("value", TensorProto.FLOAT, ["rows", 1])],
        [numpy_helper.from_array(np.ones((3, 1), np.float32), "ones")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    folder.mkdir()
    (folder / "model.onnx").write_bytes(data)
    (folder / "model.toml").write_text(
        f'name = "sum"\nfamily = "sum"\nvariant = "sum"\ntask = "regression"\nfile = "model.onnx"\n'
        f'sha256 = "{hashlib.sha256(data).hexdigest()}"\nlicence = "MIT"\nsource = "built by tests"\n'
        f'[input]\nname = "input"\ncolumns = {list(COLUMNS)}\n[output]\nvalue = "value"\n'
    )
