"""How the files beside this one were made: by the real converters, from models fitted on made-up rows.

python tests/shared/intake/converted/make.py

It needs scikit-learn, skl2onnx, onnxmltools, xgboost (or xgboost-cpu), lightgbm and protobuf<7, none of which the tests
need: they read the files, and `answers.json`, which holds rows, what each library itself answers to them, and the
versions of all of these.
"""

import json
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

HERE = Path(__file__).resolve().parent
ROWS, SHOWN = 240, 12
COLUMNS = ("length", "width", "weight")
OPSETS = {"": 17, "ai.onnx.ml": 3}
PACKAGES = ("scikit-learn", "skl2onnx", "onnxmltools", "xgboost-cpu", "lightgbm", "onnx", "protobuf")

random = np.random.default_rng(0)
# Multiples of 1/4 are the same in float32 and float64: trees split them alike.
values = np.round(random.normal(0, 2, (ROWS, 3)) * 4) / 4
target = (values.sum(axis=1) > 0).astype(np.int64)
gaps = np.where(random.uniform(size=values.shape) < 0.2, np.nan, values)
colours, sizes = np.array(["red", "green", "blué"]), np.array([1, 2, 5])
table = pd.DataFrame(
    {
        "colour": colours[random.integers(3, size=ROWS)],
        "size": sizes[random.integers(3, size=ROWS)],
        "length": gaps[:, 0],
        "weight": gaps[:, 1],
    }
)
table_target = np.where((table["colour"] == "red") ^ (table["size"] > 1), "keep", "drop")
three = np.digitize(values.sum(axis=1), [-2, 2])
answers: dict[str, Any] = {}


def keep(name: str, model: Any, rows: list[dict[str, Any]], labels: list[str] | None, expected: Any) -> None:
    """Write the file, and note what the library itself answers."""
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
    answers[name] = {"rows": rows, "labels": labels, "expected": np.asarray(expected, np.float64).round(9).tolist()}


def matrix_rows(matrix: Any, names: tuple[str, ...] = COLUMNS) -> list[dict[str, Any]]:
    """The first rows, NaN as null."""
    clean = [[None if np.isnan(value) else value for value in row] for row in matrix[:SHOWN].tolist()]
    return [dict(zip(names, row, strict=True)) for row in clean]


def sklearn(
    name: str, model: Any, given: Any, wanted: Any, *, tensor: Any = FloatTensorType, options: Any = None
) -> None:
    """A scikit-learn model of one matrix."""
    model.fit(given, wanted)
    types = [("input", tensor([None, given.shape[1]]))]
    converted = convert_sklearn(
        model, name=name, initial_types=types, target_opset=OPSETS, options={id(model): options} if options else None
    )
    classes = [str(label) for label in getattr(model, "classes_", ())] or None
    ask = getattr(model, "predict_proba", None) or model.predict
    keep(name, converted, matrix_rows(given), classes, ask(given[:SHOWN]))


def mixed(name: str, unknown: str) -> None:
    """Texts, whole numbers and floats with gaps, an input a column; an unknown category is ignored, or an error."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    sizes_as = OneHotEncoder() if unknown == "error" else StandardScaler()
    columns = ColumnTransformer(
        [
            ("colour", OneHotEncoder(handle_unknown=unknown), ["colour"]),
            ("size", sizes_as, ["size"]),
            ("numbers", numbers, ["length", "weight"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression())
    model.fit(table, table_target)
    types = [
        ("colour", StringTensorType([None, 1])),
        ("size", Int64TensorType([None, 1])),
        ("length", FloatTensorType([None, 1])),
        ("weight", FloatTensorType([None, 1])),
    ]
    converted = convert_sklearn(model, name=name, initial_types=types, target_opset=OPSETS)
    rows = table[:SHOWN].astype(object).where(table[:SHOWN].notna(), None).to_dict("records")
    keep(name, converted, rows, list(model.classes_), model.predict_proba(table[:SHOWN]))


def boosted(name: str, model: Any, wanted: Any, convert: Any, **options: Any) -> None:
    """A boosted model of one matrix with gaps."""
    model.fit(gaps, wanted)
    types = [("input", ToolsFloat([None, gaps.shape[1]]))]
    converted = convert(model, name=name, initial_types=types, target_opset=15, **options)
    classes = [str(label) for label in getattr(model, "classes_", ())] or None
    ask = getattr(model, "predict_proba", None) or model.predict
    keep(name, converted, matrix_rows(gaps), classes, ask(gaps[:SHOWN]))


def versions() -> Mapping[str, str]:
    """Those installed, by package."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    """Write everything again."""
    warnings.simplefilter("ignore")
    arrays = {"zipmap": False}
    sklearn("skl-logistic", LogisticRegression(), values, target)
    sklearn("skl-logistic-texts", LogisticRegression(), values, np.array(["small", "large"])[target])
    sklearn(
        "skl-forest", RandomForestClassifier(5, max_depth=3, random_state=0), values, sizes[three] * 3, options=arrays
    )
    sklearn("skl-bayes", GaussianNB(), values, colours[three], options=arrays)
    sklearn("skl-hist", HistGradientBoostingClassifier(max_iter=4), gaps, target, options=arrays)
    sklearn("skl-double", LogisticRegression(), values, target, tensor=DoubleTensorType, options=arrays)
    sklearn("skl-ridge", Ridge(), values, values @ [1, 2, 3])
    sklearn("skl-svc", LinearSVC(), values, three)
    sklearn("skl-kmeans", KMeans(3, random_state=0), values, None)
    mixed("skl-mixed", "ignore")
    mixed("skl-mixed-strict", "error")
    small = {"n_estimators": 4, "max_depth": 2}
    boosted("xgb-binary", xgboost.XGBClassifier(**small), target, convert_xgboost)
    boosted("xgb-three", xgboost.XGBClassifier(**small), three, convert_xgboost)
    boosted("xgb-regression", xgboost.XGBRegressor(**small), values[:, 1], convert_xgboost)
    quiet = small | {"verbose": -1}
    boosted("lgb-binary", lightgbm.LGBMClassifier(**quiet), target, convert_lightgbm)
    boosted("lgb-three", lightgbm.LGBMClassifier(**quiet), colours[three], convert_lightgbm, zipmap=False)
    boosted("lgb-regression", lightgbm.LGBMRegressor(**quiet), values[:, 1], convert_lightgbm)
    text = json.dumps({"versions": versions(), "answers": answers}, indent=1, ensure_ascii=False)
    (HERE / "answers.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
