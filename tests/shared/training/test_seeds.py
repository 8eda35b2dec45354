"""Training and evaluation never share a board."""

from __future__ import annotations

import pytest
from training.seeds import EVALUATION_START, TRAINING_END, require_evaluation, require_training


@pytest.mark.parametrize("seed", [0, TRAINING_END - 1])
def test_training_seeds(seed: int) -> None:
    assert require_training(seed) == seed
    with pytest.raises(ValueError, match="not an evaluation seed"):
        require_evaluation(seed)


@pytest.mark.parametrize("seed", [EVALUATION_START, EVALUATION_START + 900_000])
def test_evaluation_seeds(seed: int) -> None:
    assert require_evaluation(seed) == seed
    with pytest.raises(ValueError, match="not a training seed"):
        require_training(seed)


@pytest.mark.parametrize("seed", [-1, TRAINING_END, EVALUATION_START - 1])
def test_seeds_that_are_neither(seed: int) -> None:
    with pytest.raises(ValueError, match="seed"):
        require_training(seed)
    with pytest.raises(ValueError, match="seed"):
        require_evaluation(seed)
