"""What a caller asks of a batcher, and its part in one batch."""

from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tiles = NDArray[Any]
Outputs = NDArray[np.float32]


class Work:
    """The tiles of one caller, and what has become of them. Touched under the batcher's lock, but for the end."""

    __slots__ = ("_given", "_left_to_give", "_taken", "arrived", "ended", "error", "tiles")

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles
        self.arrived = 0.0
        self.ended = Event()
        self.error: Exception | None = None
        self._taken, self._left_to_give = 0, len(tiles)
        self._given: dict[int, Outputs] = {}
        """Outputs by the first tile that they are of."""

    @property
    def left(self) -> int:
        """Tiles that no batch has taken."""
        return len(self.tiles) - self._taken

    def take(self, count: int) -> "Part":
        """The next `count` tiles, for a batch."""
        self._taken += count
        return Part(self, self._taken - count, count)

    def give(self, first: int, outputs: Outputs) -> None:
        """The outputs of the tiles from `first` on; the last of them ends the work."""
        is_whole = len(outputs) == len(self.tiles)
        # A copy: the batch that they are part of may be large, and is not kept.
        self._given[first] = outputs if is_whole else outputs.copy()
        self._left_to_give -= len(outputs)
        if not self._left_to_give:
            self.ended.set()

    def outputs(self) -> Outputs:
        """Those of all tiles, in order, once the work has ended well. Runs whose outputs are lists of boxes may have
        found different numbers of them at most: the shorter lists are filled up with boxes of score 0.
        """
        parts = [self._given[first] for first in sorted(self._given)]
        if len(parts) == 1:
            return parts[0]
        longest = max(part.shape[1] for part in parts)
        return np.concatenate([_filled(part, longest) for part in parts])

    def fail(self, error: Exception) -> None:
        """End the work without an answer."""
        self.error = error
        self.ended.set()


class Part:
    """A caller's tiles in one batch."""

    __slots__ = ("_first", "count", "work")

    def __init__(self, work: Work, first: int, count: int) -> None:
        self.work, self._first, self.count = work, first, count

    @property
    def tiles(self) -> Tiles:
        """As the caller gave them."""
        return self.work.tiles[self._first : self._first + self.count]

    def give(self, outputs: Outputs) -> None:
        """Their outputs."""
        self.work.give(self._first, outputs)


def _filled(outputs: Outputs, length: int) -> Outputs:
    """`outputs` with zeros added to its second axis, up to `length`."""
    missing = length - outputs.shape[1]
    return np.pad(outputs, [(0, 0), (0, missing), *[(0, 0)] * (outputs.ndim - 2)]) if missing else outputs
