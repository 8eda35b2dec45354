"""What counts as an answer: a 2xx reply that holds a prediction. Everything else is an error with a short cause."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

CAUSE_MAX = 120
"""Characters of a cause: enough to tell causes apart, few enough to count and print them."""


@dataclass(frozen=True)
class Answer:
    """A reply as the load test sees it."""

    error: str
    """Empty for a prediction."""
    stages_ms: Mapping[str, float] = field(default_factory=dict)


def read_answer(status: int, body: bytes, key: str) -> Answer:
    """Judge one reply. `key` is what a prediction of this workload carries (`predictions` or `detections`)."""
    document = _document(body)
    if not 200 <= status < 300:
        cause = document.get("code") or document.get("error") or ""
        return Answer(f"status {status} {cause}".strip()[:CAUSE_MAX])
    if not isinstance(document.get(key), list):
        return Answer(f"status {status} without {key}")
    return Answer("", _stages(document.get("timings_ms")))


def _document(body: bytes) -> dict[str, object]:
    try:
        document = json.loads(body)
    except ValueError:  # not JSON, or not UTF-8
        return {}
    return document if isinstance(document, dict) else {}


def _stages(timings_ms: object) -> dict[str, float]:
    """The stage times of a reply, less its own sum."""
    if not isinstance(timings_ms, dict):
        return {}
    return {
        stage: float(time_ms)
        for stage, time_ms in timings_ms.items()
        if stage != "total" and isinstance(time_ms, int | float) and not isinstance(time_ms, bool)
    }
