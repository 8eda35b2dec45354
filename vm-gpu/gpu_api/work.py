"""What a caller asks of a batcher, and its part in one batch."""

from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

Tiles = NDArray[Any]
Outputs = NDArray[np.float32]


class Work:
    """The tiles of one caller, and what has become of them. Touched under the batcher's lock, but for the end."""

    __slots__ = ("_given", "_taken", "arrived", "ended", "error", "outputs", "tiles")

    def __init__(self, tiles: Tiles) -> None:
        self.tiles = tiles
        self.arrived = 0.0
        self.ended = Event()
        self.outputs: Outputs | None = None
        self.error: Exception | None = None
        self._taken = self._given = 0

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
        if len(outputs) == len(self.tiles):
            self.outputs = outputs
        else:
            if self.outputs is None:
                self.outputs = np.empty((len(self.tiles), *outputs.shape[1:]), np.float32)
            self.outputs[first : first + len(outputs)] = outputs
        self._given += len(outputs)
        if self._given == len(self.tiles):
            self.ended.set()

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
