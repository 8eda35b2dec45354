"""The columns of a tabular model: what its inputs say of them, made-up rows for them, whether one may be null."""

from dataclasses import replace
from typing import Any

import numpy as np
from inference_core.manifest import TabularInput
from inference_core.rows import ABSENT, ONNX_TYPES, TableReader, blank_row
from inference_core.session import Session
from numpy.typing import NDArray

from intake import trial_run
from intake.errors import Refused
from intake.onnx_file import FileFacts

_ROWS = 64
_WHOLE_MAX = 5
"""Made-up whole numbers end here: they may be categories."""
_TYPES = {word: dtype for dtype, word in ONNX_TYPES.items()}

Columns = tuple[TabularInput, ...]
Row = dict[str, Any]


def table_columns(session: Session, names: tuple[str, ...]) -> Columns | None:
    """The inputs as columns, all [rows, columns] of a type that JSON has; else None. Raises Refused for a fixed number
    of rows, and where `names` are not as many as the columns.
    """
    if any(spec.dtype not in _TYPES or len(spec.shape) != 2 for spec in session.inputs):
        return None
    counts = [spec.shape[1] if isinstance(spec.shape[1], int) else 0 for spec in session.inputs]
    if counts == [0]:
        counts = [len(names)]
    if 0 in counts and not all(spec.dtype == ONNX_TYPES["float32"] for spec in session.inputs):
        return None  # whole numbers in rows of any length are the words of a text
    for spec in session.inputs:
        if isinstance(spec.shape[0], int):
            raise Refused(f"Input {spec.name!r} takes exactly {spec.shape[0]} rows; export it with a free first axis.")
    if 0 in counts:
        raise Refused("The graph does not say how many columns it takes; give --columns FILE with their names.")
    own = [name for spec, count in zip(session.inputs, counts, strict=True) for name in _named(spec.name, count)]
    rest = list(names) or own
    if len(rest) != sum(counts) or len(set(rest)) != len(rest):
        raise Refused(f"The model takes {sum(counts)} columns, but {len(set(rest))} different names were given.")
    found = []
    for spec, count in zip(session.inputs, counts, strict=True):
        found.append(TabularInput(spec.name, tuple(rest[:count]), _TYPES[spec.dtype]))
        rest = rest[count:]
    return tuple(found)


def _named(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}_{index}" for index in range(count)]


def made_up_rows(tensors: Columns, facts: FileFacts) -> list[Row]:
    """Rows of numbers of several magnitudes, and of the categories that the file's encoders know, in their order."""
    random = np.random.default_rng(trial_run.SEED)
    known = {kind: iter(lists) for kind, lists in facts.categories.items()}
    rows = [blank_row(tensors) for _ in range(_ROWS)]
    for tensor in tensors:
        for column in tensor.columns:
            categories = next(known.get(tensor.dtype, iter(())), None)
            for index, row in enumerate(rows):
                if categories:
                    choice = categories[random.integers(len(categories))]
                    row[column] = choice if tensor.dtype == "string" else int(choice)
                elif tensor.dtype.startswith("float"):
                    row[column] = round(random.normal() * 10.0 ** (index % 4), 3)
                elif tensor.dtype.startswith("int"):
                    row[column] = int(random.integers(_WHOLE_MAX))
    return rows


def with_nulls(session: Session, tensors: Columns, row: Row, output: str) -> Columns:
    """`tensors`, marked `missing` where the model has a finite `output` for `row` with a null in any of the columns."""
    return tuple(
        replace(tensor, missing=_takes_nulls(session, tensors, index, row, output))
        for index, tensor in enumerate(tensors)
    )


def _takes_nulls(session: Session, tensors: Columns, index: int, row: Row, output: str) -> bool:
    if tensors[index].dtype not in ABSENT:
        return False
    allowing = [*tensors[:index], replace(tensors[index], missing=True), *tensors[index + 1 :]]
    rows = [row | {column: None} for column in tensors[index].columns]
    try:
        answers = trial_run.run(session, TableReader(allowing).feeds(rows))
    except Refused:
        return False
    return bool(np.isfinite(scores_of(answers[output])).all())


def scores_of(answer: Any) -> NDArray[np.float64]:
    """An output's floats [rows, classes], also where a ZipMap made {class: score} of them."""
    if isinstance(answer, list):
        return np.array([list(scores.values()) for scores in answer], np.float64)
    return np.asarray(answer, np.float64)
