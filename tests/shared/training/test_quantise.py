"""The int8 variant: what became integers, what it answers, and what is refused; skipped without torch."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from inference_core.detection import DetectionPipeline  # noqa: E402
from inference_core.manifest import ImageInput, read_manifest  # noqa: E402
from inference_core.session import Session  # noqa: E402
from onnx import TensorProto, numpy_helper  # noqa: E402
from training.detector import export, quantise, train  # noqa: E402
from training.evaluate import MODELS  # noqa: E402

FLOAT = MODELS / "board-defects-n"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("int8") / "board-defects-n-int8"
    quantise.main(["--model", str(FLOAT), "--out", str(folder), "--boards", "2"])
    return folder


def weights(folder: Path) -> dict[str, list[np.ndarray]]:
    """The weights of the convolutions, by the type that the file holds them in."""
    graph = onnx.load(folder / "model.onnx").graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    made_by = {name: node for node in graph.node for name in node.output}
    found: dict[str, list[np.ndarray]] = {}
    for node in graph.node:
        if node.op_type == "Conv":
            maker = made_by.get(node.input[1])
            tensor = values[node.input[1] if maker is None else maker.input[0]]
            found.setdefault(TensorProto.DataType.Name(tensor.data_type), []).append(numpy_helper.to_array(tensor))
    return found


def test_the_folder_is_a_model_of_its_own(int8: Path) -> None:
    manifest, of_float = read_manifest(int8), read_manifest(FLOAT)
    assert {path.name for path in int8.iterdir()} == {"model.onnx", "model.toml", "golden.jpg", "golden.json"}
    assert (manifest.name, manifest.variant, manifest.family) == ("board-defects-n-int8", "n-int8", "board-defects")
    assert (manifest.input, manifest.output) == (of_float.input, of_float.output)
    assert manifest.accuracy is None
    assert len(manifest.model_bytes) < 0.4 * len(of_float.model_bytes)


def test_all_convolutions_but_the_first_and_the_last_of_each_head_are_integers(int8: Path) -> None:
    found = weights(int8)
    assert sorted(len(weight) for weight in found["FLOAT"]) == [10, 10, 10, 16]
    assert len(found["INT8"]) == 26


def test_weights_keep_seven_bits_so_that_no_processor_overflows(int8: Path) -> None:
    assert max(int(np.abs(weight.astype(np.int16)).max()) for weight in weights(int8)["INT8"]) == 64


def channels_and_scales(folder: Path) -> list[tuple[int, int]]:
    """How many channels each weight of integers has, and how many scales."""
    graph = onnx.load(folder / "model.onnx").graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    return [
        (values[node.input[0]].dims[0], *values[node.input[1]].dims)
        for node in graph.node
        if node.op_type == "DequantizeLinear"
        and node.input[0] in values
        and values[node.input[0]].data_type == TensorProto.INT8
    ]


def stored_types(folder: Path) -> set[int]:
    return {tensor.data_type for tensor in onnx.load(folder / "model.onnx").graph.initializer}


def test_each_channel_of_a_weight_has_a_scale(int8: Path) -> None:
    scales = channels_and_scales(int8)
    assert len(scales) == 26
    assert all(channels == count for channels, count in scales)


def test_weights_stored_in_half_the_size_become_integers_too(tmp_path: Path) -> None:
    """Behind a Cast they would count as activations: left as they are in the file, and quantised at every run."""
    half = exported(tmp_path, "float16")
    assert TensorProto.FLOAT16 in stored_types(half)
    settings = read_manifest(FLOAT).input
    assert isinstance(settings, ImageInput)
    few = quantise.Tiles(settings, boards=1)
    few._tiles = islice(few._tiles, 2)
    made = tmp_path / "int8"
    made.mkdir()
    quantise.write_int8(half / "model.onnx", made / "model.onnx", few, weight_bits=7)
    assert TensorProto.FLOAT16 not in stored_types(made)
    found, scales = weights(made), channels_and_scales(made)
    assert len(found["INT8"]) == len(scales) > len(found["FLOAT"])
    assert all(channels == count for channels, count in scales)


@pytest.mark.parametrize("folder", sorted(MODELS.glob("*-int8")), ids=lambda folder: folder.name)
def test_the_int8_models_that_are_kept_hold_integers(folder: Path) -> None:
    assert TensorProto.FLOAT16 not in stored_types(folder)
    found, scales = weights(folder), channels_and_scales(folder)
    assert len(found["INT8"]) == len(scales) > len(found["FLOAT"])
    assert all(channels == count for channels, count in scales)


def test_the_served_answers_are_those_of_the_float_model(int8: Path) -> None:
    golden = json.loads((int8 / "golden.json").read_text())
    picture = (int8 / golden["image"]).read_bytes()
    for folder, score, edge in ((FLOAT, 0.001, 0.05), (int8, *golden["tolerance"].values())):
        manifest = read_manifest(folder)
        pipeline = DetectionPipeline(manifest, Session(manifest.model_bytes, threads=1), pixels_max=1 << 20)
        found = pipeline.predict(picture).fields["detections"]
        assert len(found) == len(golden["detections"]) >= 3
        for one in golden["detections"]:
            nearest = min(found, key=lambda d: float(np.abs(np.subtract(d["box"], one["box"])).max()))
            assert nearest["label"] == one["label"]
            assert nearest["score"] == pytest.approx(one["score"], abs=score)
            assert nearest["box"] == pytest.approx(one["box"], abs=edge)


def test_answers_that_differ_too_much_are_seen(int8: Path, tmp_path: Path) -> None:
    golden = json.loads((int8 / "golden.json").read_text())
    (tmp_path / "golden.jpg").write_bytes((int8 / "golden.jpg").read_bytes())
    golden["detections"][0]["score"] -= 0.3
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    answer = quantise.answers_of(FLOAT / "model.onnx")
    assert quantise.largest_differences(answer, tmp_path)[0] == pytest.approx(0.3, abs=0.001)
    golden["detections"].pop()
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    assert quantise.largest_differences(answer, tmp_path) == (float("inf"), float("inf"))


def exported(folder: Path, weights: str, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    train._Training(train._parser().parse_args(["--out", str(folder), "--batch", "1"])).save()
    out = folder / f"model-{weights}"
    export.main(["--checkpoint", str(folder / train.CHECKPOINT), "--out", str(out), "--weights", weights])
    return out


def test_a_model_that_is_always_in_doubt_gets_no_golden_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained = exported(tmp_path, "float32")
    monkeypatch.setattr(quantise, "_GOLDEN_TRIES", 2)
    with pytest.raises(SystemExit, match="always in doubt"):
        quantise.main(["--model", str(untrained), "--out", str(tmp_path / "int8"), "--boards", "1"])
    assert list((tmp_path / "int8").iterdir()) == []


def test_weights_of_half_the_size_are_whole_again_when_the_file_is_open(tmp_path: Path) -> None:
    """ONNX Runtime folds the casts: what it runs has the operators of the float32 file, and no float16."""
    import onnxruntime  # noqa: PLC0415

    opened = []
    sizes = []
    for kind in ("float32", "float16"):
        folder = exported(tmp_path, kind)
        assert set(weights(folder)) == {kind.upper().replace("32", "")}
        options = onnxruntime.SessionOptions()
        options.optimized_model_filepath = str(tmp_path / f"{kind}.onnx")
        options.log_severity_level = 4  # it warns that a file optimised for this processor may not suit another
        onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
        opened.append(Counter(node.op_type for node in graph.node))
        assert TensorProto.FLOAT16 not in {tensor.data_type for tensor in graph.initializer}
        sizes.append((folder / "model.onnx").stat().st_size)
    assert opened[0] == opened[1]
    assert sizes[1] < 0.55 * sizes[0]
