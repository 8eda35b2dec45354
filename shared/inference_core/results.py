"""What a prediction is, and how long each of its steps took."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any


class StageClock:
    """Adds up the milliseconds spent in named steps, in the order in which they were first entered."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent inside the block to step `name`, also when the block raises."""
        started = perf_counter()
        try:
            yield
        finally:
            spent_ms = (perf_counter() - started) * 1e3
            self.timings_ms[name] = self.timings_ms.get(name, 0.0) + spent_ms


@dataclass(frozen=True, slots=True)
class Detection:
    """One object: its box is (x1, y1, x2, y2) in pixels of the picture as a person sees it."""

    label: str
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer to one request: `fields` is the JSON reply without timings; `timings_ms` one entry a step."""

    fields: dict[str, Any]
    timings_ms: dict[str, float] = field(default_factory=dict)

    def reply(self) -> dict[str, Any]:
        """The JSON object that every tier answers with; times in milliseconds, rounded to microseconds."""
        return self.fields | {"timings_ms": {stage: round(ms, 3) for stage, ms in self.timings_ms.items()}}
