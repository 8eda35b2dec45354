"""Tiles suppressed together give what each gives alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inference_core import candidates
from inference_core.candidates import chosen
from inference_core.tiling import Boxes, suppress
from numpy.typing import NDArray


def random_rows(seed: int, tiles: int, cells: int, labels: int = 3) -> NDArray[np.float32]:
    """Crowded boxes, best first."""
    random = np.random.default_rng(seed)
    corners = random.uniform(0, 60, (tiles, cells, 2))
    sides = random.uniform(5, 40, (tiles, cells, 2))
    scores = -np.sort(-random.uniform(0, 1, (tiles, cells, 1)), axis=1)
    labels_of = random.integers(0, labels, (tiles, cells, 1))
    return np.concatenate([corners, corners + sides, scores, labels_of], axis=2, dtype=np.float32)


def alone(rows: NDArray[np.float32], score_min: float, iou_max: float) -> Boxes:
    kept = rows[rows[:, 4] >= score_min]
    return suppress(Boxes(kept[:, :4], kept[:, 4], kept[:, 5].astype(np.int64)), iou_max=iou_max)


@given(
    seed=st.integers(0, 10_000),
    tiles=st.integers(1, 6),
    cells=st.integers(1, 30),
    score_min=st.sampled_from([0.0, 0.3, 0.8, 1.1]),
    iou_max=st.sampled_from([0.1, 0.3, 0.5, 0.9]),
)
def test_each_tile_gets_the_boxes_that_it_gets_alone(
    seed: int, tiles: int, cells: int, score_min: float, iou_max: float
) -> None:
    rows = random_rows(seed, tiles, cells)
    for tile, found in zip(rows, chosen(rows, score_min=score_min, iou_max=iou_max), strict=True):
        wanted = alone(tile, score_min, iou_max)
        assert np.array_equal(found.xyxy, wanted.xyxy)
        assert np.array_equal(found.scores, wanted.scores)
        assert np.array_equal(found.labels, wanted.labels)


def test_too_many_pairs_are_taken_tile_by_tile_to_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(1, 4, 50)
    together = chosen(rows, score_min=0.2, iou_max=0.4)
    monkeypatch.setattr(candidates, "_PAIRS_MAX", 0)
    one_by_one = chosen(rows, score_min=0.2, iou_max=0.4)
    assert [found.xyxy.tolist() for found in together] == [found.xyxy.tolist() for found in one_by_one]
    assert sum(map(len, together)) > 4
