"""Batches computed by a real session on the host's memory, with a gate and faults that a test can set."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gpu_api.batcher import Batcher
from gpu_api.engine import Engine, open_engine
from inference_core.errors import DeviceLost
from inference_core.manifest import ImageInput, Manifest, read_manifest
from inference_core.settings import GpuSettings
from numpy.typing import NDArray

from tests.models import CELL_PX, TILE_PX, detection_model

Tiles = NDArray[np.uint8]
WAIT_S = 30
SLOW_MS = 60_000.0
"""A batch that is not full does not leave by itself within a test."""


def squares_manifest(folder: Path) -> Manifest:
    """The tiny detector's."""
    return read_manifest(detection_model(folder))


def squares_engine(folder: Path, *, batch_max: int = 4) -> Engine:
    """The tiny detector bound to the host's memory."""
    manifest = squares_manifest(folder)
    assert isinstance(manifest.input, ImageInput)
    manifest = replace(manifest, input=replace(manifest.input, tile_batch=batch_max))
    return open_engine(manifest, GpuSettings(gpu_batch_max=batch_max), "cpu", threads=1)


def numbered(*numbers: int) -> Tiles:
    """A tile a number: the score of its first cell is the number / 255."""
    tiles = np.zeros((len(numbers), 1, TILE_PX, TILE_PX), np.uint8)
    tiles[:, :, :CELL_PX, :CELL_PX] = np.array(numbers, np.uint8)[:, None, None, None]
    return tiles


def read(outputs: NDArray[np.float32]) -> list[int]:
    """The numbers of the tiles, from their best boxes."""
    return [round(float(score) * 255) for score in outputs[:, 0, 4]]


class GatedRuns:
    """An engine's runs behind a gate. Each batch is noted as the numbers of its tiles, part by part."""

    def __init__(self, engine: Engine, *, is_open: bool = True) -> None:
        self.inner = engine.runs
        self.batch_max = engine.runs.batch_max
        self.batches: list[list[list[int]]] = []
        self.gate = threading.Event()
        self.started = threading.Semaphore(0)
        """Released once a batch."""
        self.bad: int | None = None
        """A tile of this number fails its run."""
        self.is_lost = False
        if is_open:
            self.gate.set()

    def __call__(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """One batch."""
        self.batches.append([part[:, 0, 0, 0].tolist() for part in parts])
        self.started.release()
        assert self.gate.wait(WAIT_S)
        if self.is_lost or any(self.bad in part for part in self.batches[-1]):
            raise RuntimeError("CUDA error 700, an illegal memory access was encountered")
        return self.inner(parts)

    def takes(self, tiles: NDArray[Any]) -> bool:
        """As the engine's."""
        return self.inner.takes(tiles)

    def padded(self, count: int) -> int:
        """As the engine's."""
        return self.inner.padded(count)

    def check(self) -> None:
        """The host is never lost, unless a test says so."""
        if self.is_lost:
            raise DeviceLost("The GPU failed and stays so.")


@contextmanager
def batching(runs: GatedRuns, *, wait_ms: float = 0, tiles_max: int = 1000, lost: Any = None) -> Iterator[Batcher]:
    """A batcher over `runs`, closed at the end of the block."""
    batcher = Batcher(runs, wait_ms=wait_ms, tiles_max=tiles_max, lost=lost)
    try:
        yield batcher
    finally:
        runs.gate.set()
        batcher.close()


class Caller:
    """A request: tiles handed to a batcher on a thread of its own."""

    def __init__(self, batcher: Batcher, *numbers: int, wanted: Callable[[], None] | None = None) -> None:
        self.answer: list[int] | None = None
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._ask, args=(batcher, numbered(*numbers), wanted))
        self._thread.start()

    def _ask(self, batcher: Batcher, tiles: Tiles, wanted: Callable[[], None] | None) -> None:
        try:
            self.answer = read(batcher(tiles, wanted))
        except BaseException as error:
            self.error = error

    def end(self) -> "Caller":
        """Wait for the answer or the error."""
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self

    @property
    def is_waiting(self) -> bool:
        """Whether it has neither yet."""
        return self._thread.is_alive()
