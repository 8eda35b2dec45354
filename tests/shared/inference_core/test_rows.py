"""Rows as tensors of several types; what a column does not take is named, and a null is what the manifest says."""

from typing import Any

import numpy as np
import pytest
from inference_core.errors import InvalidRequest
from inference_core.manifest import TabularInput
from inference_core.rows import MatrixReader, TableReader, blank_row

TENSORS = (
    TabularInput("sizes", ("length", "width"), missing=True),
    TabularInput("price", ("price",), "float64"),
    TabularInput("count", ("count",), "int64"),
    TabularInput("grade", ("grade",), "int32"),
    TabularInput("colour", ("colour",), "string", missing=True),
    TabularInput("shape", ("shape",), "string"),
    TabularInput("new", ("new",), "bool"),
)
ROW = {"length": 1, "width": 2.5, "price": 1e300, "count": 2**62, "grade": 3, "colour": "réd", "shape": "", "new": True}


def test_each_tensor_gets_its_columns_in_its_type() -> None:
    feeds = TableReader(TENSORS).feeds([ROW, ROW | {"new": False}])
    assert list(feeds) == [tensor.name for tensor in TENSORS]
    types = {name: feeds[name].dtype.name for name in feeds}
    assert types == {
        "sizes": "float32",
        "price": "float64",
        "count": "int64",
        "grade": "int32",
        "colour": "object",
        "shape": "object",
        "new": "bool",
    }
    assert feeds["sizes"].tolist() == [[1, 2.5], [1, 2.5]]
    assert feeds["price"].tolist() == [[1e300], [1e300]]
    assert feeds["count"].tolist() == [[2**62], [2**62]]
    assert feeds["colour"].tolist() == [["réd"], ["réd"]]
    assert feeds["new"].tolist() == [[True], [False]]


def test_a_whole_number_may_be_written_with_a_point() -> None:
    feeds = TableReader(TENSORS).feeds([ROW | {"count": 7.0, "grade": -3.0}])
    assert (feeds["count"].tolist(), feeds["grade"].tolist()) == ([[7]], [[-3]])


def test_a_null_is_nan_or_an_empty_text_where_the_manifest_allows_it() -> None:
    feeds = TableReader(TENSORS).feeds([ROW | {"width": None, "colour": None}])
    assert np.isnan(feeds["sizes"]).tolist() == [[False, True]]
    assert feeds["colour"].tolist() == [[""]]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"length": "1"}, 'column "length" is not a finite number of float32 range or null'),
        ({"length": 1e39}, 'column "length" is not a finite number of float32 range or null'),
        ({"length": float("nan")}, 'column "length" is not a finite number of float32 range or null'),
        ({"price": 10**400}, 'column "price" is not a finite number of float64 range'),
        ({"price": None}, 'column "price" is not a finite number of float64 range'),
        ({"count": 2**63}, 'column "count" is not a whole number of int64 range'),
        ({"count": 1.5}, 'column "count" is not a whole number of int64 range'),
        ({"count": float("inf")}, 'column "count" is not a whole number of int64 range'),
        ({"count": None}, 'column "count" is not a whole number of int64 range'),
        ({"grade": 2**31}, 'column "grade" is not a whole number of int32 range'),
        ({"grade": True}, 'column "grade" is not a whole number of int32 range'),
        ({"colour": 3}, 'column "colour" is not a text or null'),
        ({"shape": None}, 'column "shape" is not a text'),
        ({"shape": "\ud800"}, 'column "shape" is not a text'),
        ({"new": 1}, 'column "new" is not true or false'),
        ({"more": 1}, 'column "more" is unknown; the model takes length, width, price, count'),
    ],
)
def test_a_value_that_its_column_does_not_take_is_named(value: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest) as fault:
        TableReader(TENSORS).feeds([ROW, ROW | value])
    assert f"Row 1: {complaint}" in fault.value.detail


def test_a_matrix_takes_nulls_where_the_manifest_allows_them() -> None:
    row = {"length": None, "width": 2}
    matrix = MatrixReader(TENSORS[0]).feeds([row])["sizes"]
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, [[np.nan, 2]])
    with pytest.raises(InvalidRequest, match='column "width" is not a finite number of float32 range or null'):
        MatrixReader(TENSORS[0]).feeds([row, row | {"width": float("nan")}])
    with pytest.raises(InvalidRequest, match='column "length" is not a finite number of float32 range'):
        MatrixReader(TabularInput("sizes", ("length", "width"))).feeds([row])


def test_a_blank_row_fits_every_column() -> None:
    feeds = TableReader(TENSORS).feeds([blank_row(TENSORS)])
    assert feeds["shape"].tolist() == [[""]]
    assert not np.concatenate([feeds[name].astype(float) for name in ("sizes", "price", "count", "new")], axis=1).any()
