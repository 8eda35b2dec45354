"""Recognise a classifier or a regression of table rows, as converters of scikit-learn, XGBoost, LightGBM write them."""

import numpy as np
from inference_core.manifest import ClassificationOutput, RegressionOutput, TabularInputs
from inference_core.rows import TableReader
from inference_core.session import Session, TensorSpec
from numpy.typing import NDArray

from intake import trial_run
from intake.columns import Columns, Row, made_up_rows, scores_of, table_columns, with_nulls
from intake.errors import Refused
from intake.onnx_file import FileFacts
from intake.trial_run import Arrays, check_scores
from intake.wish import Found, Wish

_FLOATS = ("tensor(float)", "tensor(double)")
_LABELS = ("tensor(int64)", "tensor(int32)", "tensor(string)")
_SUM_SLACK = 1e-2
_TIE = 1e-6
_AGREEMENT_MIN = 0.5
"""Share of rows whose own label a list of classes must give, to be taken for the model's."""
_SHOWN = 6


def recognised_table(session: Session, wish: Wish, facts: FileFacts) -> Found | None:
    """The tabular model in `session`; None for a model of another kind. Raises Refused for one whose answers are not
    what a classifier or a regression says, or that `wish` contradicts.
    """
    outputs = _outputs(session, wish)
    tensors = table_columns(session, wish.columns) if outputs else None
    if tensors is None:
        return None
    warnings: list[str] = []
    rows = made_up_rows(tensors, facts)
    answers = _answers(session, tensors, rows, warnings)
    if answers is not None and facts.takes_missing:
        tensors = with_nulls(session, tensors, rows[0], outputs[-1].name)
    names = [column for tensor in tensors for column in tensor.columns]
    if not wish.columns and len(names) > len(tensors):
        warnings.append(f"Its columns have no names of their own ({names[0]} to {names[-1]}); give --columns FILE.")
    table = tensors[0] if len(tensors) == 1 else TabularInputs(tensors)
    nulls = ", nulls allowed" if any(tensor.missing for tensor in tensors) else ""
    if len(outputs) == 1 and wish.task != "classification":
        if answers is not None:
            _finite(scores_of(answers[outputs[0].name]), outputs[0].name)
        value = RegressionOutput(outputs[0].name)
        return Found("regression", table, value, f"{len(names)} columns{nulls}", warnings, rows[0])
    labels = _labels(outputs, answers, facts, wish, warnings)
    output = ClassificationOutput(outputs[-1].name, labels, outputs[0].name if len(outputs) == 2 else "")
    shown = ", ".join(labels[:_SHOWN]) + (", …" if len(labels) > _SHOWN else "")
    return Found("classification", table, output, f"{len(names)} columns{nulls}, labels {shown}", warnings, rows[0])


def _outputs(session: Session, wish: Wish) -> list[TensorSpec]:
    """The outputs that make a classification (label, then probabilities) or a regression (one value); else none."""
    scores = [spec for spec in session.outputs if spec.dtype in _FLOATS and len(spec.shape) in (1, 2)]
    zipped = [spec for spec in session.outputs if spec.dtype.startswith("seq(map(")]
    labels = [spec for spec in session.outputs if spec.dtype in _LABELS and len(spec.shape) in (1, 2)]
    if len(session.outputs) == 2 and len(labels) == 1 and len(scores + zipped) == 1:
        single = scores and (len(scores[0].shape) == 1 or scores[0].shape[1] == 1)
        return [] if single else [labels[0], *scores, *zipped]
    if len(session.outputs) == len(scores) == 1:
        single = len(scores[0].shape) == 1 or scores[0].shape[1] == 1
        return [] if single == (wish.task == "classification") else scores
    return []


def _answers(session: Session, tensors: Columns, rows: list[Row], warnings: list[str]) -> Arrays | None:
    """What the model answers to `rows`; None where it refuses them, as one may that knows its own categories alone."""
    try:
        return trial_run.run(session, TableReader(tensors).feeds(rows))
    except Refused as error:
        if all(tensor.dtype.startswith("float") for tensor in tensors):
            raise
        warnings.append(f"It refuses made-up rows, so its answers are unproven. {error}")
        return None


def _finite(values: NDArray[np.float64], name: str) -> NDArray[np.float64]:
    """The rows of `values` that are numbers: a good model may overflow on some made-up ones, but not on all."""
    finite = values[np.isfinite(values.reshape(len(values), -1)).all(axis=1)]
    if not len(finite):
        raise Refused(f"Output {name!r} holds no number for any of {len(values)} made-up rows, only NaN or infinity.")
    return finite


def _labels(
    outputs: list[TensorSpec], answers: Arrays | None, facts: FileFacts, wish: Wish, warnings: list[str]
) -> tuple[str, ...]:
    """The classes by name: those that `wish` gives, else the file's own. Raises Refused when neither fits."""
    classes, count = _classes(outputs, answers, facts, warnings)
    if wish.labels and count not in (None, len(wish.labels)):
        raise Refused(f"The model has {count} classes, but there are {len(wish.labels)} labels.")
    labels = wish.labels or classes
    if not labels:
        raise Refused("The file does not name its classes; give --labels FILE, one a line in the order of the scores.")
    if len(set(labels)) != len(labels):
        raise Refused("Two labels are the same; each class needs a name of its own.")
    return labels


def _classes(
    outputs: list[TensorSpec], answers: Arrays | None, facts: FileFacts, warnings: list[str]
) -> tuple[tuple[str, ...], int | None]:
    """The classes that the file names, and how many it scores. Raises Refused when its scores are no probabilities."""
    spec = outputs[-1]
    if answers is None:
        count = spec.shape[1] if len(spec.shape) == 2 and isinstance(spec.shape[1], int) else None
        return next((named for named in reversed(facts.classes) if count in (None, len(named))), ()), count
    answer = answers[spec.name]
    scores = scores_of(answer)
    _check_probabilities(_finite(scores, spec.name), spec.name)
    count = scores.shape[1]
    if isinstance(answer, list):
        return tuple(str(key) for key in answer[0]), count
    numbers = tuple(map(str, range(count)))
    if len(outputs) == 1:
        return numbers, count
    sound = np.isfinite(scores).all(axis=1)
    scores, own = scores[sound], np.asarray(answers[outputs[0].name]).reshape(-1).astype(str)[sound]
    agreement = {named: _agreement(named, scores, own) for named in (*facts.classes, numbers) if len(named) == count}
    classes, share = max(agreement.items(), key=lambda pair: pair[1])
    if share < _AGREEMENT_MIN:
        return (), count
    if share < 1:
        warnings.append(
            "Its own label is not always the class of the highest probability, but replies name that one "
            f"({1 - share:.0%} of made-up rows differ)."
        )
    return classes, count


def _check_probabilities(scores: NDArray[np.float64], name: str) -> None:
    check_scores(scores, f"Output {name!r}")
    sums = scores.sum(axis=1)
    if np.abs(sums - 1).max() > _SUM_SLACK:
        raise Refused(
            f"Output {name!r} holds rows that add up to {sums.min():.3g} to {sums.max():.3g}; the probabilities of "
            "classes that exclude each other add up to 1."
        )


def _agreement(classes: tuple[str, ...], scores: NDArray[np.float64], own: NDArray[np.str_]) -> float:
    """The share of rows, ties left out, whose `own` label is the class of the highest score."""
    first, second = np.sort(scores, axis=1)[:, -1], np.sort(scores, axis=1)[:, -2]
    clear = first - second > _TIE
    most = np.array(classes)[scores.argmax(axis=1)]
    return float((most == own)[clear].mean()) if clear.any() else 1.0
