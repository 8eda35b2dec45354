"""Which seeds may be trained on and which are kept for evaluation.

Boards are drawn from a seed, so two boards are different exactly when their seeds are.
Training draws below `TRAINING_END`, evaluation from `EVALUATION_START` on; nothing draws
from the gap between them, so that a slip in arithmetic cannot cross over.
"""

from __future__ import annotations

TRAINING_END = 1_000_000
EVALUATION_START = 9_000_000


def require_training(seed: int) -> int:
    """Return `seed` when it may be trained on; raise `ValueError` otherwise."""
    if not 0 <= seed < TRAINING_END:
        raise ValueError(f"seed {seed} is not a training seed (0 to {TRAINING_END - 1})")
    return seed


def require_evaluation(seed: int) -> int:
    """Return `seed` when it is kept for evaluation; raise `ValueError` otherwise."""
    if seed < EVALUATION_START:
        raise ValueError(f"seed {seed} is not an evaluation seed ({EVALUATION_START} and above)")
    return seed
