"""A session whose input and output stay where the device has them: no allocation, one upload and one download a batch.

Batches have a few fixed shapes, each warmed before the first request (a new shape costs a search for algorithms) and
on CUDA replayed as one graph. Two lanes, each with memory of its own, let one batch be copied while another computes.
"""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference_core.device import Memory
from inference_core.errors import ManifestError
from inference_core.session import Place, Session

LANES = 2


def batch_shapes(batch_max: int) -> tuple[int, ...]:
    """1, 2, 3, 4, 6, 8, 12, 16, … up to `batch_max`: a batch is filled up to the next by at most half of itself."""
    steps = {batch_max}
    power = 1
    while power <= batch_max:
        steps |= {power, power * 3 // 2}
        power *= 2
    return tuple(sorted(step for step in steps if step <= batch_max))


class BoundRun:
    """Runs up to `batch_max` tiles at once. Safe to call from several threads: `LANES` copy, one computes."""

    def __init__(self, session: Session, memory: Memory, *, input_name: str, output_name: str,
                 tile_shape: tuple[int, ...], shapes: Sequence[int]) -> None:  # fmt: skip
        """`tile_shape` is one tile's as the graph takes it, `shapes` the batch sizes that are run. Raises ManifestError
        when the output does not hold one entry of fixed shape a tile, MemoryError when the device is too small.
        """
        self.session = session
        self.shapes = tuple(sorted(shapes))
        self.batch_max = self.shapes[-1]
        self._memory = memory
        source = _place(session, input_name, tile_shape, is_input=True)
        self._tile = source
        probe = np.zeros((self.shapes[0], *tile_shape), source.dtype)
        # The thread that captured a CUDA graph is the one that can replay it.
        self._compute = ThreadPoolExecutor(1, thread_name_prefix="compute")
        output = self._compute.submit(session.run, {input_name: probe}, [output_name]).result()[0]
        if output.shape[:1] != probe.shape[:1]:
            raise ManifestError(f"The output {output_name!r} has shape {output.shape}, not one entry a tile.")
        target = Place(output_name, output.dtype, output.shape[1:])
        self._lanes: queue.LifoQueue[_Lane] = queue.LifoQueue()
        for index in range(LANES):
            self._lanes.put(_Lane(session, memory, source, target, self.shapes, 1 + index * len(self.shapes)))

    def __call__(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """The output for the tiles of `parts`, [n, *tile_shape] each, in order: float32 [sum of n, ...]. Raises
        ValueError for more than `batch_max` tiles, what ONNX Runtime raises, and RuntimeError for a failed copy.
        """
        count = sum(len(part) for part in parts)
        if not 1 <= count <= self.batch_max:
            raise ValueError(f"A batch has 1 to {self.batch_max} tiles, not {count}.")
        shape = next(shape for shape in self.shapes if shape >= count)
        lane = self._lanes.get()
        try:
            lane.upload(parts, count)
            self._compute.submit(lane.runs[shape]).result()
            return lane.download(count)
        finally:
            self._lanes.put(lane)

    def takes(self, tiles: NDArray[Any]) -> bool:
        """Whether `tiles` have the shape and type of the graph's."""
        return tiles.shape[1:] == self._tile.shape and tiles.dtype == self._tile.dtype

    def padded(self, count: int) -> int:
        """How many tiles are computed for `count`."""
        return next(shape for shape in self.shapes if shape >= count)

    def warm(self) -> None:
        """Run every shape in every lane, which on CUDA also captures its graph. A CPU searches nothing and captures
        nothing: there it is one run of the largest, for its memory.
        """
        is_cpu = self._memory.kind == "cpu"
        lanes = [self._lanes.get() for _ in range(LANES)]
        try:
            for lane in lanes[:1] if is_cpu else lanes:
                tiles = np.zeros((self.batch_max, *self._tile.shape), self._tile.dtype)
                lane.upload([tiles], self.batch_max)
                # The largest first: the arena then holds room for all the others.
                for shape in self.shapes[-1:] if is_cpu else reversed(self.shapes):
                    self._compute.submit(lane.runs[shape]).result()
        finally:
            for lane in lanes:
                self._lanes.put(lane)

    def check(self) -> None:
        """Raise DeviceLost when the device is lost."""
        self._memory.check()

    def close(self) -> None:
        """Wait for the run at work, then give the memory back."""
        self._compute.shutdown()
        self._memory.close()


class _Lane:
    """One batch's memory on both sides, and a run a shape over it."""

    def __init__(self, session: Session, memory: Memory, tile: Place, entry: Place,
                 shapes: Sequence[int], first_graph: int) -> None:  # fmt: skip
        self._memory = memory
        self._tiles = memory.host_array((shapes[-1], *tile.shape), tile.dtype)
        self._entries = memory.host_array((shapes[-1], *entry.shape), entry.dtype)
        self._tiles_at, self._entries_at = memory.allocate(self._tiles.nbytes), memory.allocate(self._entries.nbytes)
        self._stream = memory.stream()
        self.runs: dict[int, Callable[[], None]] = {
            shape: session.bind(
                tile.of(shape, self._tiles_at),
                entry.of(shape, self._entries_at),
                device=(memory.kind, memory.device_id),
                graph=first_graph + index,
            )
            for index, shape in enumerate(shapes)
        }

    def upload(self, parts: Sequence[NDArray[Any]], count: int) -> None:
        """Tiles past `count` stay what they were: each entry of the output depends on its own tile alone."""
        np.concatenate(parts, out=self._tiles[:count], casting="no")
        self._memory.upload(self._tiles[:count], self._tiles_at, self._stream)

    def download(self, count: int) -> NDArray[np.float32]:
        self._memory.download(self._entries_at, self._entries[:count], self._stream)
        return self._entries[:count].astype(np.float32)


def _place(session: Session, name: str, shape: tuple[int, ...], *, is_input: bool) -> Place:
    specs = session.inputs if is_input else session.outputs + session.hidden
    spec = next(spec for spec in specs if spec.name == name)
    return Place(name, spec.numpy_dtype, shape)
