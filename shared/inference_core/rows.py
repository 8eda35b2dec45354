"""Rows of named JSON values as the tensors of a graph; a value that cannot be used is named by row and column."""

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.errors import InvalidRequest
from inference_core.manifest import ColumnType, TabularInput

Feeds = dict[str, NDArray[Any]]
"""Tensors [rows, columns] by the name of their input."""

ONNX_TYPES: dict[ColumnType, str] = {
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "int32": "tensor(int32)",
    "int64": "tensor(int64)",
    "bool": "tensor(bool)",
    "string": "tensor(string)",
}
"""ONNX Runtime's word for each type of column."""
ABSENT: dict[ColumnType, Any] = {"float32": np.nan, "float64": np.nan, "string": ""}
"""What a null is to the model. Whole numbers and truths have no value to spare for it."""
_NUMBERS = {int, float}
_NOTHING = np.zeros((0, 0), np.float32)
_FLOAT_MAX = {"float32": float(np.finfo(np.float32).max), "float64": float(np.finfo(np.float64).max)}
_INT_BITS = {"int32": 31, "int64": 63}


class MatrixReader:
    """Rows for a graph that takes one float32 matrix: the quick way, for the usual model."""

    def __init__(self, tensor: TabularInput) -> None:
        self._tensor = tensor
        self._in_order = _picker(tensor.columns)

    def feeds(self, rows: list[Any]) -> Feeds:
        """`rows` as float32 [rows, columns]. Raises InvalidRequest naming the row and column at fault."""
        columns = self._tensor.columns
        try:
            # The quick way for good rows; `check` looks for the culprit only when this fails.
            values = [self._in_order(row) for row in rows]
            good = all(len(row) == len(columns) for row in rows)
            good = good and all(set(map(type, row)) <= _NUMBERS for row in values)
            with np.errstate(over="ignore"):
                matrix = np.array(values, np.float32) if good else _NOTHING
        except (KeyError, TypeError, OverflowError):
            good, matrix = False, _NOTHING
        if not good or not np.isfinite(matrix).all():
            check(rows, [self._tensor])
            matrix = _array(rows, self._tensor)  # nothing but nulls was in the way
        return {self._tensor.name: matrix}


class TableReader:
    """Rows for a graph that takes its columns in tensors of their own types."""

    def __init__(self, tensors: Sequence[TabularInput]) -> None:
        self._tensors = tensors

    def feeds(self, rows: list[Any]) -> Feeds:
        """`rows` as one array [rows, columns] a tensor. Raises InvalidRequest naming the row and column at fault."""
        check(rows, self._tensors)
        return {tensor.name: _array(rows, tensor) for tensor in self._tensors}


def blank_row(tensors: Iterable[TabularInput]) -> dict[str, Any]:
    """A row of zeros, empty texts and falsehoods."""
    blanks = {"string": "", "bool": False}
    return {column: blanks.get(tensor.dtype, 0) for tensor in tensors for column in tensor.columns}


def check(rows: list[Any], tensors: Sequence[TabularInput]) -> None:
    """Raise InvalidRequest for the first value in `rows` that its column does not take."""
    columns = {column: tensor for tensor in tensors for column in tensor.columns}
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise InvalidRequest(f"Row {index} is not an object of named columns.")
        for column in columns:
            if column not in row:
                raise InvalidRequest(f'Row {index}: column "{column}" is missing.')
        if unknown := [column for column in row if column not in columns]:
            raise InvalidRequest(
                f'Row {index}: column "{unknown[0]}" is unknown; the model takes {", ".join(columns)}.'
            )
        for column, tensor in columns.items():
            value = row[column]
            if not _fits(value, tensor.dtype) and not (tensor.missing and value is None):
                null = " or null" if tensor.missing else ""
                raise InvalidRequest(f'Row {index}: column "{column}" is not {_wanted(tensor.dtype)}{null}.')


def _fits(value: Any, dtype: str) -> bool:
    kind = type(value)
    if dtype in _FLOAT_MAX:
        # Compared, not converted: an int may be too large for a float, and NaN is within no bounds.
        return kind in _NUMBERS and -_FLOAT_MAX[dtype] <= value <= _FLOAT_MAX[dtype]
    if dtype in _INT_BITS:
        # 3.0 is how a table that once had gaps writes a whole number.
        whole = kind is int or (kind is float and value.is_integer())
        return whole and -(1 << _INT_BITS[dtype]) <= value < 1 << _INT_BITS[dtype]
    return _is_text(value) if dtype == "string" else kind is bool


def _is_text(value: Any) -> bool:
    """Half a surrogate pair, which JSON may escape, is no character."""
    return type(value) is str and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))


def _wanted(dtype: str) -> str:
    if dtype in _FLOAT_MAX:
        return f"a finite number of {dtype} range"
    if dtype in _INT_BITS:
        return f"a whole number of {dtype} range"
    return "a text" if dtype == "string" else "true or false"


def _array(rows: list[Any], tensor: TabularInput) -> NDArray[Any]:
    absent = ABSENT.get(tensor.dtype)
    values = [[absent if row[column] is None else row[column] for column in tensor.columns] for row in rows]
    return np.array(values, object if tensor.dtype == "string" else tensor.dtype)


def _picker(columns: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a row to its values in the order of `columns`; KeyError when one is missing."""
    if len(columns) == 1:
        return lambda row: (row[columns[0]],)
    return itemgetter(*columns)
