"""Rows of named columns in, labelled predictions out; what cannot be used is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_core.errors import InvalidRequest, ManifestError, TooLarge
from inference_core.manifest import read_manifest
from inference_core.session import Session
from inference_core.tabular import TabularPipeline

from tests.models import detection_model, tabular_model

GOOD = {"length": 1.0, "width": 1.5, "weight": 2}


@pytest.fixture
def pipeline(tmp_path: Path) -> TabularPipeline:
    manifest = read_manifest(tabular_model(tmp_path))
    return TabularPipeline(manifest, Session(manifest.model_bytes, threads=1), rows_max=10)


def body(*rows: Any) -> bytes:
    return json.dumps({"rows": list(rows)}).encode()


def test_a_row_is_labelled_with_the_probability_of_each_class(pipeline: TabularPipeline) -> None:
    reply = pipeline.predict(body(GOOD)).reply()
    assert reply["model"] == "sizes-linear"
    (prediction,) = reply["predictions"]
    expected = 1 / (1 + np.exp(-2 * (4.5 - 3)))
    assert prediction["label"] == "large"
    assert prediction["probabilities"] == pytest.approx({"small": 1 - expected, "large": expected}, abs=1e-6)


def test_the_order_of_keys_does_not_matter(pipeline: TabularPipeline) -> None:
    turned = dict(reversed(GOOD.items()))
    assert pipeline.predict(body(turned)).fields == pipeline.predict(body(GOOD)).fields


def test_rows_are_answered_in_order(pipeline: TabularPipeline) -> None:
    small = dict.fromkeys(GOOD, 0)
    labels = [p["label"] for p in pipeline.predict(body(GOOD, small, GOOD)).fields["predictions"]]
    assert labels == ["large", "small", "large"]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"length": 1, "width": 1}, 'Row 1: column "weight" is missing'),
        (GOOD | {"colour": 1}, 'Row 1: column "colour" is unknown; the model takes length, width, weight'),
        (GOOD | {"width": "wide"}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": "1.5"}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": None}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": True}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": [1]}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": float("nan")}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": float("inf")}, 'Row 1: column "width" is not a finite number'),
        (GOOD | {"width": 1e39}, 'Row 1: column "width" is not a finite number of float32 range'),
        (GOOD | {"width": 10**400}, 'Row 1: column "width" is not a finite number of float32 range'),
        ([1, 2, 3], "Row 1 is not an object"),
        ("row", "Row 1 is not an object"),
        (None, "Row 1 is not an object"),
        (7, "Row 1 is not an object"),
    ],
)
def test_a_fault_names_its_row_and_column(pipeline: TabularPipeline, row: Any, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as fault:
        pipeline.predict(body(GOOD, row))
    assert complaint in fault.value.detail


NO_ROWS = [b"{}", b"[]", b'{"rows": []}', b'{"rows": {}}', b'{"rows": null}', b"1" * 5000]
NO_JSON = [b"", b"rows", '{"rows": []}'.encode("utf-16"), b"\xff\xfe", b"[" * 100_000]


@pytest.mark.parametrize("text", NO_JSON + NO_ROWS)
def test_a_body_without_rows_is_refused(pipeline: TabularPipeline, text: bytes) -> None:
    with pytest.raises(InvalidRequest, match="body"):
        pipeline.predict(text)


def test_more_rows_than_the_limit_are_refused(pipeline: TabularPipeline) -> None:
    assert len(pipeline.predict(body(*[GOOD] * 10)).fields["predictions"]) == 10
    with pytest.raises(TooLarge, match="11 rows are more than the limit of 10"):
        pipeline.predict(body(*[GOOD] * 11))


def test_a_scale_is_refused(pipeline: TabularPipeline) -> None:
    with pytest.raises(InvalidRequest, match="no scale"):
        pipeline.predict(body(GOOD), scale=0.5)


def test_a_manifest_that_names_a_wrong_tensor_is_refused_at_start(tmp_path: Path) -> None:
    folder = tabular_model(tmp_path)
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace('probabilities = "probabilities"', 'probabilities = "odds"'))
    manifest = read_manifest(folder)
    with pytest.raises(ManifestError, match="no output 'odds'; it has label, probabilities"):
        TabularPipeline(manifest, Session(manifest.model_bytes, threads=1), rows_max=1)


def test_a_detector_is_not_tabular(tmp_path: Path) -> None:
    manifest = read_manifest(detection_model(tmp_path))
    with pytest.raises(ManifestError, match="not tabular"):
        TabularPipeline(manifest, Session(manifest.model_bytes, threads=1), rows_max=1)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("'length', 'width', 'weight'", "'length', 'width'", r"input 'input' has shape \['rows', 3\], not 2 columns"),
        ("[output]", "dtype = 'float64'\n[output]", r"input 'input' is a tensor\(float\), not of float64"),
        ("[output]", "dtype = 'bool'\nmissing = true\n[output]", "bool of input 'input' has no value for `missing`"),
        ("[output]", "dtype = 'int64'\nmissing = true\n[output]", "int64 of input 'input' has no value for `missing`"),
    ],
)
def test_a_manifest_of_other_columns_is_refused_at_start(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    folder = tabular_model(tmp_path)
    text = (folder / "model.toml").read_text()
    (folder / "model.toml").write_text(text.replace(old, new))
    manifest = read_manifest(folder)
    with pytest.raises(ManifestError, match=complaint):
        TabularPipeline(manifest, Session(manifest.model_bytes, threads=1), rows_max=1)
