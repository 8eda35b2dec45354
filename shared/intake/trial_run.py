"""One run of a model on made-up values, and what its answer gives away."""

from typing import Any

import numpy as np
from inference_core.refusals import explained
from inference_core.session import Session
from numpy.typing import NDArray

from intake.errors import Refused

Arrays = dict[str, Any]
"""What each output answered, by its name."""
_SCORE_SLACK = 1e-3
"""How far float16 may carry a score past its bounds."""
_REASON_CHARS_MAX = 300
SEED = 20_261_126


def run(session: Session, feeds: dict[str, NDArray[Any]]) -> Arrays:
    """The values of all outputs. Raises Refused when the model does not run on `feeds`."""
    try:
        values = session.run(feeds)
    except Exception as error:  # onnxruntime raises a dozen unrelated classes here
        shapes = ", ".join(f"{name} {list(value.shape)}" for name, value in feeds.items())
        raise Refused(f"The model does not run on {shapes}: {reason(error)}") from error
    return {spec.name: value for spec, value in zip(session.outputs, values, strict=True)}


def reason(error: Exception) -> str:
    """The runtime's own words, without its source paths where there are any."""
    refusal = explained(error)
    return refusal.detail if refusal else str(error)[-_REASON_CHARS_MAX:]


def check_scores(scores: NDArray[Any], where: str) -> None:
    """Raise Refused when `scores` cannot be probabilities, or are all zero, which no working model says."""
    if not np.isfinite(scores).all():
        raise Refused(f"{where} holds values that are no numbers (NaN or infinite): the file is damaged or overflows.")
    if scores.size == 0:
        return
    low, high = float(scores.min()), float(scores.max())
    if high > 1 + _SCORE_SLACK or low < -_SCORE_SLACK:
        raise Refused(
            f"{where} holds scores from {low:.3g} to {high:.3g}; they must lie within 0 to 1. Export the model with "
            "its sigmoid or softmax inside."
        )
    if high == 0:
        raise Refused(
            f"{where} holds scores that are all exactly 0. An int8 export does this when boxes and scores share one "
            "scale: quantize without the last concatenation, or export it again in float."
        )
