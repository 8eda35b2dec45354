"""`tiers add`, then `tiers serve`, then an answer: what a user types, with files that others made."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save
from PIL import Image
from tiers.__main__ import main

from tests import detectors
from tests.conftest import PROJECT
from tests.models import encoded
from tests.tiers import running

CONVERTED = PROJECT / "tests" / "shared" / "intake" / "converted"
ANSWERS: dict[str, Any] = json.loads((CONVERTED / "answers.json").read_text("utf-8"))["answers"]
NOISE = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)))
TABLES = ("skl-mixed", "skl-logistic-texts", "xgb-regression", "lgb-three")


def tiers_add(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tiers", "add", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def outside_weights(path: Path) -> Path:
    """A product with a matrix that lies in a file of its own."""
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", "m", 4]) for name in "xy"]
    weights = [numpy_helper.from_array(np.eye(4, dtype=np.float32) * 3, "w")]
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", tensors[:1], tensors[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    save(model, path, save_as_external_data=True, location="product.data", size_threshold=0)
    return path


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder of models that were added, and what the command said of each."""
    folder = tmp_path_factory.mktemp("brought")
    models = folder / "models"
    files = {
        "yolo11": detectors.yolov8(folder / "yolo11.onnx", yolo11=True),
        "yolox": detectors.yolox(folder / "yolox.onnx"),
        "yolo26": detectors.end2end(folder / "yolo26.onnx", batch=1),
        "nms": detectors.nms(folder / "nms.onnx"),
        "product": outside_weights(folder / "product.onnx"),
    } | {name: CONVERTED / f"{name}.onnx" for name in TABLES}
    (folder / "labels.txt").write_text("\n".join(detectors.LABELS) + "\n")
    said = {}
    for name, path in files.items():
        labels: list[str | Path] = ["--labels", folder / "labels.txt"] if name in ("yolox", "nms") else []
        ended = tiers_add(path, "--models", models, *labels)
        assert ended.returncode == 0, ended.stderr
        said[name] = ended.stdout
    return models, said


@pytest.fixture(scope="module")
def container(brought: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("container") / "log"
    with running("container", log, INFERENCE_MODELS_DIR=str(brought[0]), INFERENCE_THREADS="1") as client:
        yield client


@pytest.mark.parametrize("name", ["yolo11", "yolox", "yolo26", "nms"])
def test_a_detector_that_was_added_answers_pictures(container: httpx.Client, name: str) -> None:
    reply = container.post(f"/v1/models/{name}/predict", content=NOISE)
    assert reply.status_code == 200, reply.text
    found = reply.json()["detections"]
    assert found
    assert {one["label"] for one in found} <= set(detectors.LABELS)
    for one in found:
        x1, y1, x2, y2 = one["box"]
        assert 0 <= x1 < x2 <= 300
        assert 0 <= y1 < y2 <= 200


@pytest.mark.parametrize("name", TABLES)
def test_a_table_model_that_was_added_answers_rows(container: httpx.Client, name: str) -> None:
    answer = ANSWERS[name]
    rows = answer["rows"]
    if name != "skl-mixed":  # their columns have no names of their own
        rows = [{f"input_{index}": value for index, value in enumerate(row.values())} for row in rows]
    reply = container.post(f"/v1/models/{name}/predict", json={"rows": rows})
    assert reply.status_code == 200, reply.text
    for one, expected in zip(reply.json()["predictions"], answer["expected"], strict=True):
        if answer["labels"] is None:
            assert one["value"] == pytest.approx(expected, rel=1e-5, abs=1e-5)
        else:
            wanted = dict(zip(answer["labels"], expected, strict=True))
            assert one["probabilities"] == pytest.approx(wanted, abs=1e-5)


def test_a_tensor_model_with_weights_outside_answers_tensors(container: httpx.Client) -> None:
    entry = {"name": "x", "shape": [1, 1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
    reply = container.post("/v2/models/product/infer", json={"inputs": [entry]})
    assert reply.json()["outputs"][0]["data"] == [3, 6, 9, 12]


def test_the_command_says_how_to_go_on(brought: tuple[Path, dict[str, str]], container: httpx.Client) -> None:
    models, said = brought
    first, place, serve, call = said["yolo11"].splitlines()
    assert first == "yolo11: detection, yolov8 boxes, 3 labels, tiles of 128 px, rgb"
    assert place == f"in {models / 'yolo11'}; next:"
    assert serve.split() == ["tiers", "serve", "container", "--models", str(models)]
    assert call.endswith("/v1/models/yolo11/predict")
    *_, call = said["skl-mixed"].splitlines()
    _, _, body, url = shlex.split(call)
    assert container.post(httpx.URL(url).path, content=body).status_code == 200


def test_json_says_the_same_to_programs(tmp_path: Path) -> None:
    path, models = CONVERTED / "skl-logistic.onnx", tmp_path / "models"
    (tmp_path / "columns.csv").write_text('length,"width",weight\n1,2,3\n')
    options = ("--models", models, "--columns", tmp_path / "columns.csv", "--name", "sizes-a", "--family", "sizes")
    added = tiers_add(path, *options, "--json")
    assert (added.returncode, added.stderr) == (0, "")
    assert json.loads(added.stdout) == {
        "name": "sizes-a",
        "family": "sizes",
        "variant": "a",
        "task": "classification",
        "folder": str(models / "sizes-a"),
        "summary": "3 columns, labels 0, 1",
        "warnings": [],
    }
    again = tiers_add(path, *options, "--json")
    assert again.returncode == 2
    assert "is there already" in json.loads(again.stdout)["error"]
    assert tiers_add(path, *options, "--replace").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.onnx"], "none.onnx: No such file or directory"),
        (["--labels", "none.txt", str(CONVERTED / "skl-logistic.onnx")], "none.txt"),
        (["--task", "detection", str(CONVERTED / "skl-logistic.onnx")], "not those of a detection model"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    assert main(["add", *arguments, "--models", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert complaint in printed.err
    assert len(printed.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
