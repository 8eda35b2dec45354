"""How long work takes of late, by model, and from that how long a newcomer must wait."""

import heapq
from collections.abc import Callable, Iterable
from time import perf_counter

Seconds = Callable[[], float]
"""As of now: estimates change with every answer."""
_NEWEST_SHARE = 0.2
"""Weight of the newest service time in the moving means."""
_SPREADS = 2.0
"""Nearly all work ends within the mean and so many mean deviations."""


class Estimates:
    """Moving means of service times, and what runs now. Touched from the event loop only."""

    def __init__(self) -> None:
        self._mean_s: dict[str, float] = {}
        self._spread_s: dict[str, float] = {}
        self._running: dict[object, tuple[Seconds, float]] = {}

    def begin(self, work: object, most_s: Seconds, started: float) -> None:
        """`work` runs since `started` (on the clock of `perf_counter`) and nearly surely ends within `most_s`."""
        self._running[work] = most_s, started

    def end(self, work: object) -> None:
        """`work` has ended."""
        del self._running[work]

    def learn(self, model: str, spent_s: float) -> None:
        """Work of `model` took `spent_s` seconds."""
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

    def wait_s(self, slots: int, queue: Iterable[float]) -> float:
        """Seconds until a newcomer behind `queue` (the seconds of those who wait, in order) gets one of `slots`, at the
        latest that is likely. Too long an estimate costs nothing as long as somebody waits; too short a one lets in
        who will be late.
        """
        free_s = self._free_s(slots)
        for most_s in queue:
            heapq.heapreplace(free_s, free_s[0] + most_s)
        return free_s[0]

    def leaves_time(self, slots: int, taken_s: float, queue: Iterable[tuple[float, float]]) -> bool:
        """Whether work that takes one of `slots` for `taken_s` from now lets everyone in `queue` (the seconds that
        each needs and has left, in order) take as long, or what it needs, and end in time.
        """
        free_s = self._free_s(slots - 1)
        heapq.heappush(free_s, taken_s)
        for most_s, left_s in queue:
            ends_s = free_s[0] + max(most_s, taken_s)
            if ends_s > left_s:
                return False
            heapq.heapreplace(free_s, ends_s)
        return True

    def _free_s(self, slots: int) -> list[float]:
        """Seconds until each of `slots` is free, as a heap."""
        now = perf_counter()
        free_s = [max(0.0, most_s() - (now - started)) for most_s, started in self._running.values()]
        free_s += [0.0] * (slots - len(free_s))
        heapq.heapify(free_s)
        return free_s
