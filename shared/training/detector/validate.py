"""How well a detector does on evaluation boards while it is being trained."""

from __future__ import annotations

from functools import lru_cache

from training.boards import LABELS, Board, Look, make_board
from training.detector.metric import Truth, mean_average_precision
from training.detector.network import Detector
from training.detector.reference import run
from training.seeds import EVALUATION_START, require_evaluation

# Apart from the seeds that the evaluation of the served model starts from.
FIRST_SEED = EVALUATION_START + 900_000
_LEAST_SCORE = 0.01  # the curve needs the weak answers too
_WIDTH, _HEIGHT, _DEFECTS = 1920, 1088, 48


@lru_cache(maxsize=64)
def _board(seed: int, look: Look) -> Board:
    return make_board(require_evaluation(seed), _WIDTH, _HEIGHT, look=look, defect_count=_DEFECTS)


def score_boards(model: Detector, look: Look, scale: float, count: int) -> tuple[float, list[float]]:
    """mAP@0.5 on `count` boards of one look seen at `scale`, and the value of each label."""
    boards = [_board(FIRST_SEED + number, look) for number in range(count)]
    found = [run(model, board.pixels, scale=scale, score_min=_LEAST_SCORE) for board in boards]
    truths = [Truth(board.boxes, board.labels) for board in boards]
    return mean_average_precision(found, truths, len(LABELS))
