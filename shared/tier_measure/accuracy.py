"""`python -m tier_measure.accuracy`: how good one model is on labelled data, through the pipeline that serves it.

A process of its own, so that what it needs in memory is nobody else's. Request and report are JSON on the pipes.
"""

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from inference_core.manifest import TABULAR_TASKS, ClassificationOutput, DetectionOutput, Manifest, read_manifest
from inference_core.session import Provider
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tier_planner.measurements import Accuracy
from training.scoring import SCORE_MIN, scale_key, score_detections

from tier_measure.block import open_pipeline
from tier_measure.errors import MeasureError
from tier_measure.labelled import read_labelled
from tier_measure.pipes import answer
from tier_measure.workload import Row, columns_of, read_rows

ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class AccuracyRequest:
    """What is judged, and by what."""

    folder: str
    data: str
    """A file or a folder."""
    target: str
    """Column of a CSV file that holds the right answer; empty: the one that the model does not take."""
    scale: float
    threads: int
    provider: Provider


def stated_accuracy(manifest: Manifest, scale: float | None) -> Accuracy | None:
    """What `model.toml` says of the model at `scale`; None where it says nothing."""
    stated = manifest.accuracy
    if stated is None:
        return None
    more = {name: value for name, value in stated.more if "_scale_" not in name}
    if scale is None or scale == 1.0:
        return Accuracy(stated.metric, stated.value, stated.data, stated.count, more)
    value = dict(stated.more).get(scale_key(scale))
    return None if value is None else Accuracy(stated.metric, value, stated.data, stated.count)


def measure_accuracy(request: AccuracyRequest) -> Accuracy:
    """The accuracy on labelled data. Raises MeasureError for data that does not fit the model."""
    manifest = read_manifest(Path(request.folder))
    if manifest.task in TABULAR_TASKS:
        return _rows_accuracy(manifest, request)
    return _detection_accuracy(manifest, request)


def _detection_accuracy(manifest: Manifest, request: AccuracyRequest) -> Accuracy:
    assert isinstance(manifest.output, DetectionOutput)
    labelled = read_labelled(Path(request.data), manifest.output.labels)
    eager = dataclasses.replace(manifest, output=dataclasses.replace(manifest.output, score_min=SCORE_MIN))
    pipeline = open_pipeline(eager, request.threads, request.provider)
    found = [
        pipeline.predict(picture.file.read_bytes(), scale=request.scale).fields["detections"]
        for picture in labelled.pictures
    ]
    truths = [picture.truth for picture in labelled.pictures]
    score = score_detections(truths, found, manifest.output.labels, manifest.output.score_min)
    if np.isnan(score.map_50):
        raise MeasureError(f"--data {request.data}: no picture holds an object; there is nothing to find.")
    return Accuracy("mAP@0.5", score.map_50, labelled.text, len(truths), score.more())


def _rows_accuracy(manifest: Manifest, request: AccuracyRequest) -> Accuracy:
    path = Path(request.data)
    rows, columns = read_rows(path), columns_of(manifest)
    target = request.target or target_column(rows[0], columns, path)
    if target not in rows[0]:
        raise MeasureError(f"{path} has no column {target!r}; it has {', '.join(rows[0])}.")
    try:
        asked = [{name: row[name] for name in columns} for row in rows]
    except KeyError as error:
        raise MeasureError(f"{path} has no column {error}, which {manifest.name} takes.") from None
    pipeline = open_pipeline(manifest, request.threads, request.provider)
    answers: list[dict[str, Any]] = []
    for first in range(0, len(asked), ROWS_AT_ONCE):
        body = json.dumps({"rows": asked[first : first + ROWS_AT_ONCE]}).encode()
        answers += pipeline.predict(body).fields["predictions"]
    wanted = [row[target] for row in rows]
    if isinstance(manifest.output, ClassificationOutput):
        return _classified(answers, [_label(value) for value in wanted], manifest.output.labels, path)
    return _regressed(answers, wanted, path)


def target_column(row: Row, columns: Sequence[str], path: Path) -> str:
    """The one column that the model does not take. Raises MeasureError when there is not exactly one."""
    others = [name for name in row if name not in columns]
    if len(others) != 1:
        found = f"has {', '.join(others)}" if others else "has none"
        raise MeasureError(
            f"{path}: which column holds the answer? Name it with --target; beside the model's it {found}."
        )
    return others[0]


def _label(value: float | str | None) -> str:
    """A class as labels name it: CSV has no types, and `1` was read as 1.0."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _classified(answers: list[dict[str, Any]], wanted: list[str], labels: Sequence[str], path: Path) -> Accuracy:
    if unknown := sorted(set(wanted) - set(labels)):
        raise MeasureError(f"{path} has the label {unknown[0]!r}, which the model does not: {', '.join(labels)}.")
    hits = [answer["label"] == label for answer, label in zip(answers, wanted, strict=True)]
    more = {}
    if set(wanted) == set(labels):  # otherwise no curve is defined
        more["roc_auc"] = _roc_auc([answer["probabilities"] for answer in answers], wanted, labels)
    return Accuracy("accuracy", float(np.mean(hits)), path.name, len(wanted), more)


def _roc_auc(probabilities: list[Mapping[str, float]], wanted: list[str], labels: Sequence[str]) -> float:
    """Area under the curve; of more than two classes the mean of each against the rest."""
    areas = [
        float(roc_auc_score([label == name for label in wanted], [row[name] for row in probabilities]))
        for name in (labels[1:] if len(labels) == 2 else labels)
    ]
    return float(np.mean(areas))


def _regressed(answers: list[dict[str, Any]], wanted: list[float | str | None], path: Path) -> Accuracy:
    if bad := [value for value in wanted if not isinstance(value, float)]:
        raise MeasureError(f"{path}: the answer {bad[0]!r} is not a number, which a regression needs.")
    errors: NDArray[np.float64] = np.array([a["value"] for a in answers]) - np.array(wanted, np.float64)
    more = {"mae": float(np.abs(errors).mean())}
    return Accuracy("RMSE", float(np.sqrt((errors**2).mean())), path.name, len(wanted), more)


def main() -> int:
    """One model at one scale; what does not fit is a sentence on standard error and exit status 2."""
    return answer(lambda request: measure_accuracy(AccuracyRequest(**request)))


if __name__ == "__main__":
    sys.exit(main())
