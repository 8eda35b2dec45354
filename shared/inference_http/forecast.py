"""How long a picture will take with each model and scale on this machine: by the tile, and mended by every answer."""

import math
from collections.abc import Callable, Mapping
from time import monotonic

from tier_planner.measurements import quantile

Kind = tuple[str, float]
"""The name of a model, and the scale at which it reads pictures."""

_OWN_WEIGHT_MIN, _PACE_WEIGHT = 0.1, 0.2
"""What the newest answer counts for in its own kind's time (more in the first ones), and in the pace of all kinds."""
_FIRST_ANSWERS = 3
"""Of a kind tell how wrong it was guessed, not how fast the machine is."""
_FORGOTTEN_S = 30.0
"""Pace and spread that no answer confirms fall to a third in so long: a slow minute must not refuse for ever."""
_SURPRISE_MAX, _FIRST_SURPRISE_MAX = math.log(3), math.log(10)
"""One answer counts as three times too slow at most, however long its process stood still; a first one as ten times."""
_SURPRISES = 40
"""The newest answers, by which the spread is judged."""
_SPREAD_MIN, _SPREAD_AT_FIRST = math.log(1.1), math.log(1.5)
"""How much slower than usual an answer may be: at least, and before a kind has answered at all."""
_ANSWERS_MIN = 8
"""After so many answers of a kind the first guess is forgotten."""
_WITHIN = 0.97
"""The share of answers that `most_s` is meant for."""
_OVERHEAD_S = 0.01
"""For what is no tile: handing over to the thread, the answer's way out."""


class Forecast:
    """Seconds by the tile. Times are kept as logarithms: twice as long and half as long weigh the same. Touched from
    one event loop only.
    """

    def __init__(self, tile_s: Mapping[Kind, float], clock: Callable[[], float] = monotonic) -> None:
        """`tile_s` is what is known at the start, in seconds; 0 where nothing is: the first answer then tells."""
        self._tile_s = dict(tile_s)
        self._answers = dict.fromkeys(tile_s, 0)
        self._clock = clock
        self._pace, self._seen_at = 0.0, clock()
        self._surprises: list[float] = []

    def knows(self, kind: Kind) -> bool:
        """Whether `kind` is among those that are forecast and learnt from."""
        return kind in self._tile_s

    def usual_s(self, kind: Kind, tiles: int) -> float:
        """Seconds that a picture of `tiles` takes with `kind`, going by how fast the machine is of late."""
        return self._tile_s[self._nearest(kind)] * tiles * math.exp(self._pace_now())

    def most_s(self, kind: Kind, tiles: int) -> float:
        """Seconds within which nearly all such pictures are answered."""
        return self._within_s(kind, self.usual_s(kind, tiles))

    def calm_s(self, kind: Kind, tiles: int) -> float:
        """The same for a machine that is as fast as it usually is."""
        return self._within_s(kind, self._tile_s[self._nearest(kind)] * tiles)

    def learn(self, kind: Kind, tiles: int, spent_s: float) -> None:
        """A picture of `tiles` took `spent_s` with `kind`. A scale that nobody asked to forecast is ignored: callers
        may send any.
        """
        if not self.knows(kind):
            return
        usual_s, self._answers[kind] = self.usual_s(kind, tiles), self._answers[kind] + 1
        if not usual_s:
            unknown = [known for known, tile_s in self._tile_s.items() if known[0] == kind[0] and not tile_s]
            self._tile_s |= dict.fromkeys(unknown, spent_s / tiles)
            return
        surprise, count = math.log(spent_s / usual_s), self._answers[kind]
        if count <= _FIRST_ANSWERS:
            self._tile_s[kind] *= math.exp(_clamped(surprise, _FIRST_SURPRISE_MAX) / count)
            return
        surprise = _clamped(surprise, _SURPRISE_MAX)
        self._tile_s[kind] *= math.exp(max(_OWN_WEIGHT_MIN, 1 / count) * surprise)
        self._pace, self._seen_at = self._pace_now() + _PACE_WEIGHT * surprise, self._clock()
        self._surprises = [*self._surprises[1 - _SURPRISES :], surprise]

    def _within_s(self, kind: Kind, usual_s: float) -> float:
        return usual_s * math.exp(self._spread(kind)) + _OVERHEAD_S if usual_s else 0.0

    def _nearest(self, kind: Kind) -> Kind:
        """`kind`, or the nearest scale of the same model: a tile is a tile, decoding apart."""
        if self.knows(kind):
            return kind
        model, scale = kind
        return min((known for known in self._tile_s if known[0] == model), key=lambda known: abs(known[1] - scale))

    def _pace_now(self) -> float:
        return self._pace * self._remembered()

    def _remembered(self) -> float:
        """How much of what was seen last still counts."""
        return math.exp((self._seen_at - self._clock()) / _FORGOTTEN_S)

    def _spread(self, kind: Kind) -> float:
        """How much slower than usual nearly all of the newest answers were at most; the fewer answers of `kind` there
        were, the wider it is taken to be.
        """
        unsure = _SPREAD_AT_FIRST * max(0.0, 1 - self._answers.get(kind, 0) / _ANSWERS_MIN)
        seen = quantile(self._surprises, _WITHIN) * self._remembered() if self._surprises else 0.0
        return max(_SPREAD_MIN, unsure, seen)


def _clamped(value: float, most: float) -> float:
    return max(-most, min(most, value))
