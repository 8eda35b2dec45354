"""What a prediction is, and how long each of its steps took."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Any

Watch = Callable[[int, int], None]
"""Told between the steps of a long prediction how many of how many are done (tiles, for a picture), lastly that all
are. It ends the work by raising `errors.Stopped`; a cancelled job, a client that left and a progress bar all use it.
It may have a method `wanted` besides, see `still_wanted`.
"""


def unwatched(_done: int, _of: int) -> None:
    """The watch of a prediction that nobody follows."""


def still_wanted(watch: Watch, done: int, of: int) -> Callable[[], None]:
    """What to ask while a step waits in a queue: the watch's own `wanted`, where it has one, else the watch itself. A
    deadline that has passed ends a step that still waits, but none that computes.
    """
    wanted: Callable[[], None] = getattr(watch, "wanted", None) or partial(watch, done, of)
    return wanted


class StageClock:
    """Adds up the milliseconds spent in named steps, in the order in which they were first entered."""

    def __init__(self, spent_ms: Mapping[str, float] | None = None) -> None:
        """`spent_ms` was spent before, in another process for one."""
        self.timings_ms = dict(spent_ms or {})

    def stage(self, name: str) -> "_Stage":
        """A block whose time is added to step `name`, also when it raises."""
        return _Stage(self.timings_ms, name)


class _Stage:
    """A class, because a generator-made context manager takes 1.2 us, more than some of the steps it times."""

    __slots__ = ("_name", "_started", "_timings_ms")

    def __init__(self, timings_ms: dict[str, float], name: str) -> None:
        self._timings_ms = timings_ms
        self._name = name

    def __enter__(self) -> None:
        self._started = perf_counter()

    def __exit__(self, *_: object) -> None:
        spent_ms = (perf_counter() - self._started) * 1e3
        self._timings_ms[self._name] = self._timings_ms.get(self._name, 0.0) + spent_ms


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
