"""Tabular models: rows of named columns in, labels with probabilities (or values) out."""

from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.documents import ReadJson, TooDeep, reader
from inference_core.errors import InferenceError, InvalidRequest, InvalidTensor, ManifestError, TooLarge
from inference_core.manifest import ClassificationOutput, Manifest, RegressionOutput, TabularInput, TabularInputs
from inference_core.results import Prediction, StageClock, Watch, unwatched
from inference_core.rows import ABSENT, ONNX_TYPES, Feeds, MatrixReader, TableReader, blank_row
from inference_core.session import Session, Tensors
from inference_core.settings import Settings


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
        the manifest gives, or takes other columns.
        """
        tensors = _input_tensors(manifest)
        self.manifest = manifest
        plain = len(tensors) == 1 and tensors[0].dtype == "float32"
        self._feeds = (MatrixReader(tensors[0]) if plain else TableReader(tensors)).feeds
        self.session = session
        self._rows_max = rows_max
        self._read = read or reader(Settings())
        self._outputs = _output_names(manifest)
        session.require(manifest.name, inputs=[tensor.name for tensor in tensors], outputs=self._outputs)
        _check_inputs(manifest.name, tensors, session)
        self._zipped = any(s.name == self._outputs[-1] and s.dtype.startswith("seq(map(") for s in session.outputs)
        # The first run allocates: let no request pay for it. A category of its own may be all that a column takes.
        with suppress(InferenceError):
            self._run(self._feeds([blank_row(tensors)]))

    def predict(self, body: bytes, *, scale: float = 1.0, watch: Watch = unwatched) -> Prediction:
        """Answer `body`, in one step whatever `watch` says. Raises InvalidRequest naming the row and column at fault,
        and TooLarge past `rows_max`.
        """
        del watch
        if scale != 1.0:
            raise InvalidRequest("A tabular model has no scale; leave it out.")
        clock = StageClock()
        with clock.stage("decode"):
            rows = _rows(body, self._read)
            if len(rows) > self._rows_max:
                raise TooLarge(f"{len(rows)} rows are more than the limit of {self._rows_max}; send them in parts.")
            feeds = self._feeds(rows)
        with clock.stage("infer"):
            tensors = self._run(feeds)
        with clock.stage("postprocess"):
            scores = _unzipped(tensors[-1]) if self._zipped else tensors[-1]
            _check_finite(scores)
            predictions = _predictions(self.manifest, scores)
        return Prediction({"model": self.manifest.name, "predictions": predictions}, clock.timings_ms)

    def _run(self, feeds: Feeds) -> Tensors:
        try:
            return self.session.run(feeds, self._outputs)
        except Exception as error:
            # Imported where it is needed: a cold start need not wait for it.
            from inference_core.refusals import explained  # noqa: PLC0415

            refusal = explained(error)
            if refusal is None:
                raise
            raise InvalidRequest(refusal.detail) if isinstance(refusal, InvalidTensor) else refusal from error


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


def _input_tensors(manifest: Manifest) -> tuple[TabularInput, ...]:
    match manifest.input:
        case TabularInput():
            return (manifest.input,)
        case TabularInputs(tensors=tensors):
            return tensors
    raise ManifestError(f"{manifest.name}: a {manifest.task} model is not tabular.")


def _check_inputs(model: str, tensors: tuple[TabularInput, ...], session: Session) -> None:
    specs = {spec.name: spec for spec in session.inputs}
    for tensor in tensors:
        spec, count = specs[tensor.name], len(tensor.columns)
        if tensor.missing and tensor.dtype not in ABSENT:
            raise ManifestError(f"{model}: {tensor.dtype} of input {tensor.name!r} has no value for `missing`.")
        if spec.dtype != ONNX_TYPES[tensor.dtype]:
            raise ManifestError(f"{model}: input {tensor.name!r} is a {spec.dtype}, not of {tensor.dtype}.")
        if len(spec.shape) != 2 or (isinstance(spec.shape[1], int) and spec.shape[1] != count):
            raise ManifestError(f"{model}: input {tensor.name!r} has shape {list(spec.shape)}, not {count} columns.")


def _output_names(manifest: Manifest) -> list[str]:
    match manifest.output:
        case ClassificationOutput(label=label, probabilities=probabilities):
            return [label, probabilities] if label else [probabilities]
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


def _unzipped(maps: list[dict[Any, float]]) -> NDArray[np.float32]:
    """A ZipMap's {class: probability} a row, sorted by class, as [rows, classes]."""
    return np.array([list(row.values()) for row in maps], np.float32)


def _predictions(manifest: Manifest, scores: NDArray[np.float32]) -> list[dict[str, Any]]:
    if isinstance(manifest.output, RegressionOutput):
        return [{"value": value} for value in scores.reshape(-1).tolist()]
    assert isinstance(manifest.output, ClassificationOutput)
    labels = manifest.output.labels
    return [
        {
            "label": labels[max(range(len(row)), key=row.__getitem__)],
            "probabilities": dict(zip(labels, row, strict=True)),
        }
        for row in scores.tolist()
    ]
