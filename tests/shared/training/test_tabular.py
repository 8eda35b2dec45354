"""The breast-cancer family: the committed files say what scikit-learn says, and training again writes them again."""

import json
from pathlib import Path

import numpy as np
import pytest
from inference_core.manifest import ClassificationOutput, TabularInput, read_manifest
from inference_core.session import Session
from training import tabular

VARIANTS = sorted(tabular.estimators())


@pytest.mark.parametrize("variant", VARIANTS)
def test_onnx_runtime_gives_scikit_learns_golden_answers(variant: str) -> None:
    manifest = read_manifest(tabular.MODELS_DIR / f"breast-cancer-{variant}")
    assert isinstance(manifest.input, TabularInput)
    assert isinstance(manifest.output, ClassificationOutput)
    golden = json.loads((manifest.folder / "golden.json").read_text())
    rows = np.array([[row[column] for column in manifest.input.columns] for row in golden["rows"]], np.float32)
    wanted = [prediction["probabilities"] for prediction in golden["predictions"]]
    label, probabilities = Session(manifest.model_bytes, threads=1).run({"input": rows})
    labels = manifest.output.labels
    expected = [[row[name] for name in labels] for row in wanted]
    assert probabilities == pytest.approx(np.array(expected), abs=golden["tolerance"]["probability"])
    assert [labels[index] for index in label] == [prediction["label"] for prediction in golden["predictions"]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_golden_rows_hold_both_sure_and_borderline_ones(variant: str) -> None:
    golden = json.loads((tabular.MODELS_DIR / f"breast-cancer-{variant}" / "golden.json").read_text())
    benign = np.array([prediction["probabilities"]["benign"] for prediction in golden["predictions"]])
    doubt = np.abs(benign - 0.5)
    assert len(benign) == 20
    assert (doubt < 0.15).sum() >= 6
    assert (doubt > 0.4).sum() >= 6
    # A tie would make the label hang on the order of a float32 sum.
    assert doubt.min() > 10 * golden["tolerance"]["probability"]


def test_training_twice_gives_the_same_files(tmp_path: Path) -> None:
    first, second = (tabular.write_variant("logistic", tabular.load_data(), tmp_path / run) for run in ("1", "2"))
    for file in ("model.onnx", "model.toml", "golden.json"):
        assert (first / file).read_bytes() == (second / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_training_again_measures_the_committed_accuracy(variant: str, tmp_path: Path) -> None:
    again = tabular.write_variant(variant, tabular.load_data(), tmp_path)
    # The bytes repeat on one kind of machine; another kind may round the last bit of a sum otherwise.
    committed, found = read_manifest(tabular.MODELS_DIR / again.name), read_manifest(again)
    assert found.accuracy == committed.accuracy
    assert found.input == committed.input
    assert found.output == committed.output
