"""How often each model answered and where its time went, in the form of Triton's statistics extension.

Clients such as perf_analyzer subtract two readings to split a request's time into queue, input, inference and output.
"""

from collections.abc import Mapping
from threading import Lock
from time import time
from typing import Any

_PARTS = {
    "queue": "queue",
    "inflate": "compute_input",
    "decode": "compute_input",
    "preprocess": "compute_input",
    "infer": "compute_infer",
    "postprocess": "compute_output",
    "encode": "compute_output",
}
"""Which of the extension's parts a stage of ours counts to; one of no part counts to the whole alone."""
_ANSWERED = ("queue", "compute_input", "compute_infer", "compute_output")


class ModelStats:
    """Counters of one model since the start; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._answered = self._failed = 0
        self._spent_ms: dict[str, float] = {}
        self._last_s = 0.0

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """Count one answered request by its stage times in milliseconds. Stages are added up as they come and sorted
        into parts only when someone asks: this is on the way of every request.
        """
        with self._lock:
            self._last_s = time()
            self._answered += 1
            spent_ms = self._spent_ms
            for stage, ms in timings_ms.items():
                spent_ms[stage] = spent_ms.get(stage, 0.0) + ms

    def add_failure(self) -> None:
        """Count one request that the model refused."""
        with self._lock:
            self._failed += 1

    def document(self, name: str, version: str) -> dict[str, Any]:
        """The model's entry of `GET /v2/models/{name}/stats`."""
        with self._lock:
            answered, failed, last_s, spent_ms = self._answered, self._failed, self._last_s, dict(self._spent_ms)
        parts_ms = dict.fromkeys(_ANSWERED, 0.0)
        for stage, ms in spent_ms.items():
            if part := _PARTS.get(stage):
                parts_ms[part] += ms
        none = {"count": 0, "ns": 0}
        return {
            "name": name,
            "version": version,
            "last_inference": int(last_s * 1e3),
            "inference_count": answered,
            "execution_count": answered,
            "inference_stats": {
                "success": {"count": answered, "ns": round(sum(spent_ms.values()) * 1e6)},
                "fail": {"count": failed, "ns": 0},
                **{part: {"count": answered, "ns": round(ms * 1e6)} for part, ms in parts_ms.items()},
                "cache_hit": none,
                "cache_miss": none,
            },
            "batch_stats": [],
        }
