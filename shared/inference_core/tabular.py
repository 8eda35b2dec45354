"""Tabular models: rows of named columns in, labels with probabilities (or values) out."""

from collections.abc import Callable
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.documents import ReadJson, TooDeep, reader
from inference_core.errors import InvalidRequest, ManifestError, TooLarge
from inference_core.manifest import ClassificationOutput, Manifest, RegressionOutput, TabularInput
from inference_core.results import Prediction, StageClock, Watch, unwatched
from inference_core.session import Session, Tensors
from inference_core.settings import Settings

Matrix = NDArray[np.float32]


class TabularPipeline:
    """Answers JSON bytes `{"rows": [{column: value}]}` with one prediction a row."""

    def __init__(
        self,
        manifest: Manifest,
        session: Session,
        *,
        rows_max: int,
        read: ReadJson | None = None,
    ) -> None:
        """`read` parses JSON bytes as `documents.reader` says; a tier that has orjson hands a reader with it in, which
        takes 2 us a row instead of 11. Raises ManifestError when the graph has no input or output of the names that
        the manifest gives.
        """
        if not isinstance(manifest.input, TabularInput):
            raise ManifestError(f"{manifest.name}: a {manifest.task} model is not tabular.")
        self.manifest = manifest
        self._input = manifest.input
        self._in_order = _picker(manifest.input.columns)
        self.session = session
        self._rows_max = rows_max
        self._read = read or reader(Settings())
        self._outputs = _output_names(manifest)
        session.require(manifest.name, inputs=[manifest.input.name], outputs=self._outputs)
        # The first run allocates: let no request pay for it.
        session.run({self._input.name: np.zeros((1, len(self._input.columns)), np.float32)}, self._outputs)

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """Answer `body`, in one step whatever `watch` says. Raises InvalidRequest naming the row and column at fault,
        and TooLarge past `rows_max`.
        """
        del watch
        if scale != 1.0:
            raise InvalidRequest("A tabular model has no scale; leave it out.")
        clock = StageClock()
        with clock.stage("decode"):
            matrix = self._matrix(_rows(body, self._read))
        with clock.stage("infer"):
            tensors = self.session.run({self._input.name: matrix}, self._outputs)
        with clock.stage("postprocess"):
            _check_finite(tensors[-1])
            predictions = _predictions(self.manifest, tensors)
        return Prediction({"model": self.manifest.name, "predictions": predictions}, clock.timings_ms)

    def _matrix(self, rows: list[Any]) -> Matrix:
        if len(rows) > self._rows_max:
            raise TooLarge(f"{len(rows)} rows are more than the limit of {self._rows_max}; send them in parts.")
        try:
            # The quick way for good rows; `_explain` looks for the culprit only when this fails.
            values = [self._in_order(row) for row in rows]
            good = all(len(row) == len(self._input.columns) for row in rows)
            good = good and all(set(map(type, row)) <= _NUMBERS for row in values)
            with np.errstate(over="ignore"):
                matrix = np.array(values, np.float32) if good else _NOTHING
        except (KeyError, TypeError, OverflowError):
            good, matrix = False, _NOTHING
        if not good or not np.isfinite(matrix).all():
            raise _explain(rows, self._input.columns)
        return matrix


_NUMBERS = {int, float}
_NOTHING = np.zeros((0, 0), np.float32)
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def _picker(columns: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """A function from a row to its values in the order of `columns`; KeyError when one is missing."""
    if len(columns) == 1:
        return lambda row: (row[columns[0]],)
    return itemgetter(*columns)


def _rows(body: bytes, read: ReadJson) -> list[Any]:
    try:
        request = read(body)
    except TooDeep as error:
        raise InvalidRequest(str(error)) from None
    except (ValueError, RecursionError):
        raise InvalidRequest('The body is not JSON; send {"rows": [{"column": value, …}]}.') from None
    rows = request.get("rows") if isinstance(request, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InvalidRequest('The body has no "rows", a list of at least one {"column": value} object.')
    return rows


def _explain(rows: list[Any], columns: tuple[str, ...]) -> InvalidRequest:
    """The first fault in `rows`, in words."""
    known = set(columns)
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            return InvalidRequest(f"Row {index} is not an object of named columns.")
        for column in columns:
            if column not in row:
                return InvalidRequest(f'Row {index}: column "{column}" is missing.')
        if unknown := [column for column in row if column not in known]:
            return InvalidRequest(
                f'Row {index}: column "{unknown[0]}" is unknown; the model takes {", ".join(columns)}.'
            )
        for column in columns:
            if not _is_number(row[column]):
                return InvalidRequest(f'Row {index}: column "{column}" is not a finite number of float32 range.')
    return InvalidRequest("The rows cannot be read as numbers.")


def _is_number(value: Any) -> bool:
    # Compared, not converted: an int may be too large for a float, and NaN is within no bounds.
    return type(value) in _NUMBERS and -_FLOAT32_MAX <= value <= _FLOAT32_MAX


def _output_names(manifest: Manifest) -> list[str]:
    match manifest.output:
        case ClassificationOutput(label=label, probabilities=probabilities):
            return [label, probabilities]
        case RegressionOutput(value=value):
            return [value]
    raise ManifestError(f"{manifest.name}: a {manifest.task} model has no tabular output.")


def _check_finite(scores: NDArray[np.float32]) -> None:
    """Raise InvalidRequest for the first row whose answer is no number: finite inputs (3e38) can overflow inside a
    model, and JSON has no word for the outcome.
    """
    finite = np.isfinite(scores)
    if not finite.all():
        row = int(np.flatnonzero(~finite.reshape(len(finite), -1).all(axis=1))[0])
        raise InvalidRequest(f"Row {row}: the model has no finite answer for these values; they are out of its range.")


def _predictions(manifest: Manifest, tensors: Tensors) -> list[dict[str, Any]]:
    if isinstance(manifest.output, RegressionOutput):
        return [{"value": value} for value in tensors[0].reshape(-1).tolist()]
    assert isinstance(manifest.output, ClassificationOutput)
    labels = manifest.output.labels
    return [
        {
            "label": labels[max(range(len(row)), key=row.__getitem__)],
            "probabilities": dict(zip(labels, row, strict=True)),
        }
        for row in tensors[1].tolist()
    ]
