"""How long work takes of late, by model, and from that how long a newcomer must wait."""

import heapq
from collections.abc import Iterable
from time import perf_counter

_NEWEST_SHARE = 0.2
"""Weight of the newest service time in the moving means."""
_SPREADS = 2.0
"""Nearly all work ends within the mean and so many mean deviations."""


class Estimates:
    """Moving means of service times, and what runs now. Touched from the event loop only."""

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}
        self._spread_s: dict[str, float] = {}
        self._running: dict[object, tuple[str, float]] = {}

    def begin(self, work: object, model: str, started: float) -> None:
        """`work` runs since `started` (on the clock of `perf_counter`)."""
        self._running[work] = model, started

    def end(self, work: object, spent_s: float) -> None:
        """`work` has ended after `spent_s` seconds."""
        model, _ = self._running.pop(work)
        mean_s = self._mean_s.get(model, spent_s)
        spread_s = self._spread_s.get(model, 0.0)
        self._mean_s[model] = mean_s + _NEWEST_SHARE * (spent_s - mean_s)
        self._spread_s[model] = spread_s + _NEWEST_SHARE * (abs(spent_s - mean_s) - spread_s)

    def usual_s(self, model: str) -> float:
        """Seconds that work of `model` takes on average; 0 as long as nothing is known."""
        return self._mean_s.get(model, 0.0)

    def most_s(self, model: str) -> float:
        """Seconds within which nearly all of it ends."""
        return self.usual_s(model) + _SPREADS * self._spread_s.get(model, 0.0)

    def wait_s(self, slots: int, queue: Iterable[str]) -> float:
        """Seconds until a newcomer behind `queue` (the models of those who wait, in order) gets one of `slots`, at the
        latest that is likely. Too long an estimate costs nothing as long as somebody waits; too short a one lets in
        who will be late.
        """
        now = perf_counter()
        free_s = [max(0.0, self.most_s(model) - (now - started)) for model, started in self._running.values()]
        free_s += [0.0] * (slots - len(free_s))
        heapq.heapify(free_s)
        for model in queue:
            heapq.heapreplace(free_s, free_s[0] + self.most_s(model))
        return free_s[0]
