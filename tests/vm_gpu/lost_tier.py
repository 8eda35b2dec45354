"""The GPU tier as a stand-in whose device is lost at the first picture: `python -m tests.vm_gpu.lost_tier --port N`."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI
from gpu_api.engines import Engines
from gpu_api.main import open_app
from inference_core.errors import DeviceLost
from inference_http.app import TierApp
from inference_http.server import read_address, run
from numpy.typing import NDArray


class LostRuns:
    """Runs that fail, on a device that stays so."""

    @property
    def batch_max(self) -> int:
        """Tiles of one run."""
        return 4

    def __call__(self, parts: Sequence[NDArray[Any]]) -> NDArray[np.float32]:
        """Every run fails."""
        del parts
        raise RuntimeError("CUDA error 719, unspecified launch failure")

    def takes(self, tiles: NDArray[Any]) -> bool:
        """All tiles."""
        del tiles
        return True

    def padded(self, count: int) -> int:
        """As many."""
        return count

    def check(self) -> None:
        """Lost."""
        raise DeviceLost("The GPU failed and stays so.")


def app() -> FastAPI:
    """The tier, ready, and then without its device."""
    opened = open_app(os.environ)
    assert isinstance(opened, TierApp)
    engines = opened.service.engines
    assert isinstance(engines, Engines)
    for _, batcher in engines.by_name.values():
        batcher._runs = LostRuns()
    return opened


if __name__ == "__main__":
    run(app, *read_address())
