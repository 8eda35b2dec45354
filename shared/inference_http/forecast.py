"""How long a picture will take with each model and scale on this machine: by the tile, and mended by every answer."""

import math
from collections.abc import Callable, Mapping
from time import monotonic

from tier_planner.measurements import quantile

Kind = tuple[str, float]
"""The name of a model, and the scale at which it reads pictures."""

_OWN_WEIGHT_MIN, _PACE_WEIGHT = 0.1, 0.2
"""What the newest answer counts for in its own kind's time (more in the first ones), and in the pace of all kinds."""
_PACE_FORGOTTEN_S = 30.0
"""A pace that no answer confirms falls to a third in so many seconds: a slow minute must not refuse for ever."""
_SURPRISE_MAX = math.log(3)
"""One answer counts as three times too slow at most, however long its process stood still."""
_SURPRISES = 40
"""The newest answers, by which the spread is judged."""
_SPREAD_MIN, _SPREAD_AT_FIRST = math.log(1.1), math.log(1.4)
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
        self._pace, self._pace_at = 0.0, clock()
        self._surprises: list[float] = []

    def knows(self, kind: Kind) -> bool:
        """Whether `kind` is among those that are forecast and learnt from."""
        return kind in self._tile_s

    def usual_s(self, kind: Kind, tiles: int) -> float:
        """Seconds that a picture of `tiles` takes with `kind`, going by how fast the machine is of late."""
        return self._tile_s[self._nearest(kind)] * tiles * math.exp(self._pace_now())

    def most_s(self, kind: Kind, tiles: int) -> float:
        """Seconds within which nearly all such pictures are answered."""
        usual_s = self.usual_s(kind, tiles)
        return usual_s * math.exp(self._spread()) + _OVERHEAD_S if usual_s else 0.0

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
        surprise = max(-_SURPRISE_MAX, min(_SURPRISE_MAX, math.log(spent_s / usual_s)))
        own_weight = max(_OWN_WEIGHT_MIN, 1 / (1 + self._answers[kind]))
        self._tile_s[kind] *= math.exp(own_weight * surprise)
        self._pace, self._pace_at = self._pace_now() + _PACE_WEIGHT * surprise, self._clock()
        self._surprises = [*self._surprises[1 - _SURPRISES :], surprise]

    def _nearest(self, kind: Kind) -> Kind:
        """`kind`, or the nearest scale of the same model: a tile is a tile, decoding apart."""
        if self.knows(kind):
            return kind
        model, scale = kind
        return min((known for known in self._tile_s if known[0] == model), key=lambda known: abs(known[1] - scale))

    def _pace_now(self) -> float:
        return self._pace * math.exp((self._pace_at - self._clock()) / _PACE_FORGOTTEN_S)

    def _spread(self) -> float:
        """How much slower than usual nearly all of the newest answers were at most. As long as there are few, it is
        taken to be wider.
        """
        few = _SPREAD_AT_FIRST * max(0.0, 1 - len(self._surprises) / _SURPRISES)
        seen = quantile(self._surprises, _WITHIN) if self._surprises else 0.0
        return max(_SPREAD_MIN, few, seen)
