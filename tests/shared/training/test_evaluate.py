"""The accuracy that a manifest states is COCO's, over boards that training never saw."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_core.manifest import read_manifest
from training.boards import LABELS
from training.evaluate import Sample, make_samples, score, write_accuracy
from training.scoring import Score
from training.seeds import EVALUATION_START

from tests.models import detection_model

SERVING_SCORE_MIN = 0.25


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return make_samples(2, 1280, 960)


def perfect(sample: Sample, grow_px: float = 0.0, points: float = 0.9) -> list[dict[str, Any]]:
    """What a detector would report that sees every defect, its boxes `grow_px` too large on each side."""
    grow = np.array([-grow_px, -grow_px, grow_px, grow_px])
    return [
        {"label": LABELS[int(label)], "score": points, "box": (box + grow).tolist()}
        for box, label in zip(sample.board.boxes, sample.board.labels, strict=True)
    ]


def test_boards_come_from_evaluation_seeds_in_both_looks(samples: list[Sample]) -> None:
    assert {sample.board.look for sample in samples} == {"thresholded", "lit"}
    assert all(len(sample.board.boxes) for sample in samples)
    with pytest.raises(ValueError, match="not an evaluation seed"):
        make_samples(1, 640, 480, first_seed=EVALUATION_START - 1)


def test_a_detector_that_sees_all_scores_one(samples: list[Sample]) -> None:
    result = score(samples, [perfect(sample) for sample in samples], SERVING_SCORE_MIN)
    assert result.map_50 == pytest.approx(1.0)
    assert result.map_50_95 == pytest.approx(1.0)
    assert result.recall_small == 1.0
    assert result.precision == 1.0


def test_loose_boxes_cost_at_high_overlaps_only(samples: list[Sample]) -> None:
    result = score(samples, [perfect(sample, grow_px=1.0) for sample in samples], SERVING_SCORE_MIN)
    assert result.map_50 == pytest.approx(1.0)
    assert result.map_50_95 < 0.95


def test_what_is_missed_lowers_recall_and_precision(samples: list[Sample]) -> None:
    result = score(samples, [perfect(sample)[::2] for sample in samples], SERVING_SCORE_MIN)
    assert 0.3 < result.map_50 < 0.8
    assert result.recall_small < 0.9


def test_wrong_labels_are_no_hits(samples: list[Sample]) -> None:
    wrong = [[d | {"label": LABELS[LABELS.index(d["label"]) - 1]} for d in perfect(sample)] for sample in samples]
    result = score(samples, wrong, SERVING_SCORE_MIN)
    assert result.map_50 < 0.1
    assert result.recall_small == 0.0
    assert result.precision < 0.2


def test_boxes_below_the_serving_threshold_count_for_precision_but_not_for_recall(samples: list[Sample]) -> None:
    result = score(samples, [perfect(sample, points=0.1) for sample in samples], SERVING_SCORE_MIN)
    assert result.map_50 == pytest.approx(1.0)
    assert result.recall_small == 0.0


def test_a_detector_that_sees_nothing_scores_zero(samples: list[Sample]) -> None:
    assert score(samples, [[] for _ in samples], SERVING_SCORE_MIN).map_50 == 0.0


def test_the_figures_replace_those_of_the_manifest(tmp_path: Path) -> None:
    folder = detection_model(tmp_path)
    for value in (0.5, 0.875):
        scores = {1.0: Score(value, 0.4, 0.95, 0.8, 0.9), 0.5: Score(0.25, 0.1, 0.9, 0.2, 0.3)}
        write_accuracy(folder, scores, "boards", 7, "a command")
    accuracy = read_manifest(folder).accuracy
    assert accuracy is not None
    assert (accuracy.metric, accuracy.value, accuracy.count) == ("mAP@0.5", 0.875, 7)
    assert dict(accuracy.more)["map_50_scale_0_5"] == 0.25
    assert (folder / "model.toml").read_text().count("[accuracy]") == 1
