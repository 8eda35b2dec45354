"""Which variant of a family answers a picture, and at which scale: the most accurate that ends within the deadline.

A request is admitted when its fastest choice would end in time. The choice itself is made when the request gets its
slot, by the time that is left then, and leaves those who wait behind it as much time as it takes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from inference_core.errors import AccuracyUnmet, DeadlineUnmet
from inference_core.manifest import Accuracy, ImageInput, Manifest
from inference_core.registry import Pipeline
from inference_core.tiled import tiles_in

from inference_http.calls import Timings
from inference_http.forecast import Forecast, Kind
from inference_http.known_times import scales
from inference_http.query import Wish

_TRIED_WITHIN = 4.0
"""A refused option is tried when it was foretold to take so many times the deadline at most."""
Answer = tuple[Any, Timings]
Work = Callable[[Pipeline, float], Answer]
"""Answers by a pipeline at a scale; called on a slot's thread."""


@dataclass(frozen=True, slots=True)
class Option:
    """One variant at one scale, for one picture."""

    pipeline: Pipeline
    scale: float
    accuracy: float | None
    """None where it was not measured at this scale."""
    tiles: int

    @property
    def kind(self) -> Kind:
        """What its time is known by."""
        return self.pipeline.manifest.name, self.scale

    @property
    def rank(self) -> tuple[float, float]:
        """More is better. Where nothing was measured at a scale, the model's own accuracy tells."""
        own: Accuracy | None = self.pipeline.manifest.accuracy
        return (-math.inf if self.accuracy is None else self.accuracy), own.value if own else -math.inf

    def has(self, min_accuracy: float | None) -> bool:
        """Whether it is known to be as accurate as that."""
        return min_accuracy is None or (self.accuracy is not None and self.accuracy >= min_accuracy)


def options_for(variants: Sequence[Pipeline], scale: float | None, width: int, height: int) -> list[Option]:
    """Every variant at every scale whose accuracy is known, or at `scale` alone, for a picture of that size."""
    return [
        Option(
            variant, each, accuracy_at(variant.manifest, each), tiles_in(width, height, each, variant.manifest.input)
        )
        for variant in variants
        for each in ([scale] if scale else scales(variant.manifest))
        if isinstance(variant.manifest.input, ImageInput)
    ]


def accuracy_at(manifest: Manifest, scale: float) -> float | None:
    """The accuracy of a model that reads pictures at `scale`, None where it was not measured."""
    return manifest.accuracy.by_scale.get(scale) if manifest.accuracy else None


def require_accuracy(manifest: Manifest, scale: float, min_accuracy: float | None) -> None:
    """Raise AccuracyUnmet unless the model is known to be as accurate as that at `scale`."""
    if min_accuracy is None:
        return
    found = accuracy_at(manifest, scale)
    if found is None or found < min_accuracy:
        has = "an accuracy that was not measured" if found is None else f"{found:g}"
        raise AccuracyUnmet(f"{min_accuracy:g} was asked for; {manifest.name} has {has} at scale {scale:g}.")


class Choice:
    """The choice for one request (`Flexible`, for the slots), and what came of it."""

    def __init__(self, options: Sequence[Option], wish: Wish, forecast: Forecast, work: Work) -> None:
        """`options` are all that the family has for the picture. Raises AccuracyUnmet when none is accurate enough."""
        self._all, self._wish, self._forecast, self._work = options, wish, forecast, work
        good = [option for option in options if option.has(wish.min_accuracy)]
        self._options = sorted(good, key=lambda option: (*option.rank, -self._most_s(option)), reverse=True)
        if not good:
            raise AccuracyUnmet(f"{self._asked()} is not to be had here. {self._nearest(math.inf)}")
        if wish.deadline_s is None:
            self._options = self._options[:1]
        self.option = self._options[0]
        """What was chosen, once it has begun."""
        self._begun = self._predicted_s = 0.0

    @property
    def due(self) -> float | None:
        """When the answer is wanted."""
        return self._wish.due

    def least_s(self) -> float:
        """Seconds within which the fastest option nearly surely ends."""
        return min(map(self._most_s, self._options))

    def check(self, wait_s: float) -> None:
        """Raise AccuracyUnmet when no option would end in time even on a machine at rest, DeadlineUnmet when none does
        now, after a wait of `wait_s`.
        """
        if self.due is None or self._wish.deadline_s is None:
            return
        least_s, left_s = self.least_s(), self.due - perf_counter() - wait_s
        if min(self._forecast.calm_s(o.kind, o.tiles) for o in self._options) > self._wish.deadline_s:
            raise AccuracyUnmet(f"{self._asked()} is not to be had here. {self._nearest(self._wish.deadline_s)}")
        if least_s > left_s:
            ahead = f", with {_seconds(wait_s)} of work ahead" if wait_s else ""
            detail = f"{self._asked()} is not to be had now{ahead}. {self._nearest(left_s)}"
            raise DeadlineUnmet(detail, retry_after_s=max(1, math.ceil(least_s - left_s)))

    def begin(self, spares: Callable[[float], bool]) -> tuple[Callable[[], Answer], float]:
        """The most accurate option that ends in time and `spares` those behind it; else the fastest."""
        now = perf_counter()
        left_s = math.inf if self.due is None else self.due - now
        in_time = [o for o in self._options if self._most_s(o) <= left_s and spares(self._most_s(o))]
        self.option = in_time[0] if in_time else min(self._options, key=self._most_s)
        self._predicted_s = self._usual_s(self.option)
        if self._predicted_s > left_s:
            raise DeadlineUnmet(f"The deadline went by in the queue. {self._nearest(left_s)}", retry_after_s=1)
        self._begun = now
        return partial(self._work, self.option.pipeline, self.option.scale), self._most_s(self.option)

    def trial(self, work: Work) -> "Choice | None":
        """After a refusal: the fastest option by `work` that nobody waits for, to see whether the forecast was right.
        None where it is too far from the deadline to matter.
        """
        fastest = min(self._options, key=self._most_s)
        if self._most_s(fastest) > _TRIED_WITHIN * (self._wish.deadline_s or 0.0):
            return None
        return Choice([fastest], Wish(perf_counter(), None, None, None), self._forecast, work)

    def ended(self) -> dict[str, Any]:
        """The work has ended just now: the forecast learns from it. What the reply says of the choice; times count
        from the request's arrival, as its deadline does.
        """
        now, option = perf_counter(), self.option
        self._forecast.learn(option.kind, option.tiles, now - self._begun)
        return {
            "variant": option.pipeline.manifest.variant,
            "scale": option.scale,
            "expected_accuracy": option.accuracy,
            "predicted_ms": round((self._begun - self._wish.arrived + self._predicted_s) * 1e3, 1),
            "actual_ms": round((now - self._wish.arrived) * 1e3, 1),
        }

    def missed(self) -> None:
        """The answer is not to be had in time. Where the work had begun, the forecast learns that it takes longer than
        this: else the same would be promised again and again.
        """
        spent_s = perf_counter() - self._begun
        if self._begun and spent_s > self._usual_s(self.option):
            self._forecast.learn(self.option.kind, self.option.tiles, spent_s)

    def _usual_s(self, option: Option) -> float:
        return self._forecast.usual_s(option.kind, option.tiles)

    def _most_s(self, option: Option) -> float:
        return self._forecast.most_s(option.kind, option.tiles)

    def _asked(self) -> str:
        """The requirement in words."""
        accuracy, deadline_s = self._wish.min_accuracy, self._wish.deadline_s
        what = "An answer" if accuracy is None else f"An accuracy of {accuracy:g}"
        return what if deadline_s is None else f"{what} within {_seconds(deadline_s)}"

    def _nearest(self, left_s: float) -> str:
        """What can be had instead: the best of what ends in `left_s`, or the fastest where nothing does, and the
        fastest that is accurate enough.
        """
        in_time = [option for option in self._all if self._most_s(option) <= left_s]
        good = [option for option in self._all if option.has(self._wish.min_accuracy)]
        near = [max(in_time, key=lambda option: option.rank) if in_time else min(self._all, key=self._most_s)]
        near += [min(good, key=self._most_s)] if good else []
        return f"Nearest: {'; '.join(map(self._described, dict.fromkeys(near)))}."

    def _described(self, option: Option) -> str:
        accuracy = "an accuracy not measured" if option.accuracy is None else f"accuracy {option.accuracy:g}"
        return f"{option.kind[0]} at scale {option.scale:g} with {accuracy} in {_seconds(self._most_s(option))}"


def _seconds(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
