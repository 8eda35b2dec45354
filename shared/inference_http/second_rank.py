"""Work of second rank: background jobs, which compute in what requests leave free of the slots, and in a stated share
of the slots' time where requests leave nothing.
"""

import asyncio

_SAVED_S_MAX = 1.0
"""Nobody waits longer than this for work of second rank that had saved its share up."""
_OWED_S_MAX = 60.0


class SecondRank:
    """Who waits for a slot in second rank, and how much of their share they have had. Touched from one event loop."""

    def __init__(self, share: float = 0.0) -> None:
        self.share = share
        """Of the slots' time while requests wait, from 0 to 1."""
        self.places: dict[asyncio.Future[None], None] = {}
        self._saved_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether second rank has had less than its share of late."""
        return self.share >= 1 or self._saved_s > 0

    def count_first(self, spent_s: float) -> None:
        """A request took `spent_s` seconds of a slot: second rank may take its share of as much."""
        if self.share < 1:
            self._saved_s = min(_SAVED_S_MAX, self._saved_s + spent_s * self.share / (1 - self.share))

    def count_second(self, spent_s: float) -> None:
        """Second rank took `spent_s` seconds of a slot while requests waited."""
        self._saved_s = max(-_OWED_S_MAX, self._saved_s - spent_s)

    def next(self, *, requests_wait: bool) -> bool:
        """Whether a slot that has become free went to second rank."""
        if requests_wait and not self.is_due:
            return False
        while self.places:
            place = next(iter(self.places))
            del self.places[place]
            if not place.done():
                place.set_result(None)
                return True
        return False
