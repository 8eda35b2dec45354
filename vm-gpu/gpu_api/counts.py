"""What a batcher has done, for the metrics: plain numbers, written by its threads and read by scrapes."""

from bisect import bisect_left

SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
WAITS_S = (1e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class BatchCounts:
    """Sizes of the batches, and how long each request's next tiles waited for theirs."""

    def __init__(self) -> None:
        self.sizes = [0] * (len(SIZES) + 1)
        self.waits = [0] * (len(WAITS_S) + 1)
        self.waited_s = 0.0
        self.tiles = 0
        """Tiles computed for somebody."""
        self.padding = 0
        """Tiles computed for nobody, to fill a batch up to a shape that was warmed."""
        self.dropped = 0
        """Tiles that nobody wanted any more when their turn came."""

    def ran(self, tiles: int, padded: int) -> None:
        """A batch of `tiles` was computed as one of `padded`."""
        self.sizes[bisect_left(SIZES, tiles)] += 1
        self.tiles += tiles
        self.padding += padded - tiles

    def waited(self, seconds: float) -> None:
        """A request's tiles waited so long since it came."""
        self.waits[bisect_left(WAITS_S, seconds)] += 1
        self.waited_s += seconds
