"""How often each model answered and where its time went, in the form of Triton's statistics extension.

Clients such as perf_analyzer subtract two readings to split a request's time into queue, input, inference and output.
"""

from collections.abc import Mapping
from threading import Lock
from time import time
from typing import Any

_PARTS = {
    "queue": "queue",
    "decode": "compute_input",
    "preprocess": "compute_input",
    "infer": "compute_infer",
    "postprocess": "compute_output",
    "encode": "compute_output",
}
"""Which of the extension's parts a stage of ours counts to."""
_COUNTERS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


class ModelStats:
    """Counters of one model since the start; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = dict.fromkeys(_COUNTERS, 0)
        self._spent_ns = dict.fromkeys(_COUNTERS, 0)
        self._last_ms = 0

    def add(self, timings_ms: Mapping[str, float]) -> None:
        """Count one answered request by its stage times in milliseconds."""
        spent_ns = dict.fromkeys(("queue", "compute_input", "compute_infer", "compute_output"), 0)
        for stage, ms in timings_ms.items():
            if part := _PARTS.get(stage):
                spent_ns[part] += round(ms * 1e6)
        spent_ns["success"] = round(sum(timings_ms.values()) * 1e6)
        with self._lock:
            self._last_ms = int(time() * 1e3)
            for part, ns in spent_ns.items():
                self._count[part] += 1
                self._spent_ns[part] += ns

    def add_failure(self) -> None:
        """Count one request that the model refused."""
        with self._lock:
            self._count["fail"] += 1

    def document(self, name: str, version: str) -> dict[str, Any]:
        """The model's entry of `GET /v2/models/{name}/stats`."""
        with self._lock:
            return {
                "name": name,
                "version": version,
                "last_inference": self._last_ms,
                "inference_count": self._count["success"],
                "execution_count": self._count["success"],
                "inference_stats": {
                    part: {"count": self._count[part], "ns": self._spent_ns[part]} for part in _COUNTERS
                },
                "batch_stats": [],
            }
