"""The figures of a deadline sweep, one step a deadline."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from loadtest.steady import Hit

REFUSED = (422, 503)
"""Not to be had within the deadline, or not now."""


@dataclass(frozen=True)
class Chosen:
    """How often one variant at one scale answered."""

    variant: str
    scale: float
    accuracy: float
    count: int


@dataclass(frozen=True)
class Step:
    """What became of the requests of one deadline. Latencies count from when a request was due."""

    deadline_s: float
    sent: int
    refused: int
    failed: int
    in_time: int
    accuracy_mean: float | None
    """Expected accuracy over the answers."""
    latencies_ms: tuple[float, ...]
    predicted_ms: tuple[float, ...]
    """By the tier, for each of `latencies_ms`."""
    chosen: tuple[Chosen, ...]

    @property
    def in_time_share(self) -> float:
        """Of the answers; 0 where there were none."""
        return self.in_time / len(self.latencies_ms) if self.latencies_ms else 0.0

    def line(self) -> str:
        """The figures in words."""
        accuracy = "-" if self.accuracy_mean is None else f"{self.accuracy_mean:.3f}"
        choices = ", ".join(f"{c.count} x {c.variant} at {c.scale:g}" for c in self.chosen)
        answers = f"{self.in_time} of {len(self.latencies_ms)} answers in time"
        return (
            f"{self.deadline_s:>5g} s: accuracy {accuracy}, {answers}, {self.refused} refused, "
            f"{self.failed} failed; {choices}"
        )


def step(deadline_s: float, hits: Sequence[Hit]) -> Step:
    """The figures of `hits`, whose replies were kept."""
    right = [hit for hit in hits if hit.is_right]
    choices = [json.loads(hit.reply)["choice"] for hit in right]
    counts = Counter((c["variant"], c["scale"], c["expected_accuracy"]) for c in choices)
    refused = sum(hit.status in REFUSED for hit in hits)
    return Step(
        deadline_s=deadline_s,
        sent=len(hits),
        refused=refused,
        failed=len(hits) - len(right) - refused,
        in_time=sum(hit.latency_ms <= deadline_s * 1e3 for hit in right),
        accuracy_mean=sum(c["expected_accuracy"] for c in choices) / len(choices) if choices else None,
        latencies_ms=tuple(round(hit.latency_ms, 1) for hit in right),
        predicted_ms=tuple(c["predicted_ms"] for c in choices),
        chosen=tuple(Chosen(*kind, count) for kind, count in sorted(counts.items(), key=lambda item: -item[1])),
    )
