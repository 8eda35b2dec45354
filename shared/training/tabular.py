"""The family `breast-cancer`: three scikit-learn classifiers as ONNX files, measured by cross-validation.

`python -m training.tabular` writes `shared/models/breast-cancer-<variant>/` again: model.onnx, model.toml and
golden.json. The same locked packages on the same kind of machine give the same bytes.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FAMILY = "breast-cancer"
MODELS_DIR = Path(__file__).resolve().parents[1] / "models"
COMMAND = "python -m training.tabular"
SEED = 0
FOLDS = 10
# ai.onnx.ml 3 is the last whose tree operators are not deprecated; ONNX Runtime has fast kernels for them.
OPSETS = {"": 17, "ai.onnx.ml": 3}
GOLDEN_SPREAD, GOLDEN_BORDERLINE = 12, 8
# float32 sums of 500 trees and a float32 scaler before the logistic one: 1.4e-6 at most on 6,138 rows (2026-11).
PROBABILITY_TOLERANCE = 1e-5

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Data:
    """The Wisconsin table. `features` float64 [569, 30] holds values that float32 holds too: a tree that compares
    them in float64 then splits exactly as ONNX does in float32. `target` is 0 (malignant) or 1 (benign).
    """

    features: Matrix
    raw: Matrix
    """As scikit-learn has them: what a client would send."""
    target: NDArray[np.int64]
    columns: tuple[str, ...]
    labels: tuple[str, ...]


def load_data() -> Data:
    """scikit-learn's bundled Breast Cancer Wisconsin (Diagnostic) data."""
    bunch = load_breast_cancer()
    return Data(
        features=_as_float32(bunch.data),
        raw=bunch.data,
        target=bunch.target,
        columns=tuple(str(name).replace(" ", "_") for name in bunch.feature_names),
        labels=tuple(str(name) for name in bunch.target_names),
    )


def estimators() -> dict[str, Any]:
    """An unfitted classifier a variant. One process, so that sums come in one order and the bytes repeat."""
    return {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "boosted": GradientBoostingClassifier(
            n_estimators=400, max_depth=2, subsample=0.5, max_features="sqrt", random_state=SEED
        ),
        # Leaves of two rows: fully grown extra trees are as accurate (0.970) but take 6 times as long to open, and
        # a cold function waits for that.
        "forest": RandomForestClassifier(n_estimators=500, min_samples_leaf=2, random_state=SEED, n_jobs=1),
    }


def cross_validated(estimator: Any, data: Data) -> dict[str, float]:
    """Mean accuracy and ROC AUC over ten stratified folds that the fitted part never saw, to four decimals."""
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    scores = cross_validate(estimator, data.features, data.target, cv=folds, scoring=["accuracy", "roc_auc"])
    return {metric: round(float(scores[f"test_{metric}"].mean()), 4) for metric in ("accuracy", "roc_auc")}


def to_onnx(estimator: Any, columns: int) -> bytes:
    """The fitted classifier as ONNX: float32 `input` [N, columns] -> int64 `label` [N], float32 `probabilities`."""
    model = convert_sklearn(
        estimator,
        name=FAMILY,  # by default a random one, which would change the file each time
        initial_types=[("input", FloatTensorType([None, columns]))],
        target_opset=OPSETS,
        options={id(estimator): {"zipmap": False}},
    )
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


def golden(estimator: Any, data: Data) -> dict[str, Any]:
    """Rows of the table, and mixtures that lie nearest to the decision, with scikit-learn's own answers to them."""
    spread = np.linspace(0, len(data.target) - 1, GOLDEN_SPREAD).astype(int)
    mixed = _mixtures(data)
    doubt = np.abs(estimator.predict_proba(_as_float32(mixed))[:, 1] - 0.5)
    doubt[doubt < 10 * PROBABILITY_TOLERANCE] = 1  # a tie: its label would hang on the order of a sum
    rows = np.concatenate([data.raw[spread], mixed[np.argsort(doubt, kind="stable")[:GOLDEN_BORDERLINE]]])
    return {
        "rows": [dict(zip(data.columns, row, strict=True)) for row in rows.tolist()],
        "predictions": [_prediction(row, data.labels) for row in estimator.predict_proba(_as_float32(rows))],
        "tolerance": {"probability": PROBABILITY_TOLERANCE},
    }


def _mixtures(data: Data) -> Matrix:
    """Half a malignant and half a benign row each: the fitted rows themselves leave a tree model in no doubt."""
    malignant, benign = data.raw[data.target == 0], data.raw[data.target == 1]
    mixed: Matrix = np.round((malignant + benign[: len(malignant)]) / 2, 4)
    return mixed


def _as_float32(values: Matrix) -> Matrix:
    """`values` as the float32 input of the ONNX file holds them, for scikit-learn."""
    return values.astype(np.float32).astype(np.float64)


def _prediction(probabilities: Matrix, labels: tuple[str, ...]) -> dict[str, Any]:
    values = [round(value, 9) for value in probabilities.tolist()]
    return {"label": labels[int(np.argmax(probabilities))], "probabilities": dict(zip(labels, values, strict=True))}


def write_variant(variant: str, data: Data, models_dir: Path = MODELS_DIR) -> Path:
    """Measure, fit on all rows, convert and write one variant; its folder."""
    estimator = estimators()[variant]
    accuracy = cross_validated(estimator, data)
    estimator.fit(data.features, data.target)
    model = to_onnx(estimator, len(data.columns))
    folder = models_dir / f"{FAMILY}-{variant}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model)
    (folder / "model.toml").write_text(_manifest(variant, data, accuracy, model))
    (folder / "golden.json").write_text(json.dumps(golden(estimator, data), indent=1) + "\n")
    return folder


def _manifest(variant: str, data: Data, accuracy: dict[str, float], model: bytes) -> str:
    columns = "".join(f"  {json.dumps(column)},\n" for column in data.columns)
    return f"""\
name = "{FAMILY}-{variant}"
family = "{FAMILY}"
variant = "{variant}"
task = "classification"
file = "model.onnx"
sha256 = "{hashlib.sha256(model).hexdigest()}"
licence = "MIT"
source = "{COMMAND}: scikit-learn's Breast Cancer Wisconsin (Diagnostic) data (UCI, CC BY 4.0), fitted on all rows"

[input]
name = "input"
columns = [
{columns}]

[output]
label = "label"
probabilities = "probabilities"
labels = {json.dumps(list(data.labels))}

[accuracy]
metric = "accuracy"
value = {accuracy["accuracy"]}
data = "Breast Cancer Wisconsin (Diagnostic), {FOLDS}-fold stratified cross-validation, seed {SEED}"
count = {len(data.target)}
measured = "{COMMAND}"

[accuracy.more]
roc_auc = {accuracy["roc_auc"]}
"""


def main() -> None:
    """Write the variants named on the command line, all of them by default."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("variants", nargs="*", help=f"of {', '.join(estimators())}; default: all")
    parser.add_argument("--models", type=Path, default=MODELS_DIR, help="where the model folders lie")
    arguments = parser.parse_args()
    if unknown := set(arguments.variants) - set(estimators()):
        parser.error(f"no variant {min(unknown)!r}")
    data = load_data()
    for variant in arguments.variants or estimators():
        folder = write_variant(variant, data, arguments.models)
        sys.stdout.write(f"{folder.name}: {(folder / 'model.onnx').stat().st_size:,} bytes\n")


if __name__ == "__main__":
    main()
