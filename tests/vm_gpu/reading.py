"""Pictures read by processes, and what can happen to these."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gpu_api.pictures import PictureProcesses
from inference_core.detection import DetectionPipeline
from inference_core.manifest import Manifest
from inference_core.session import Session
from inference_core.tiled import Run, Wanted
from numpy.typing import NDArray
from PIL import Image

from tests.models import encoded, squares_picture

PICTURE = squares_picture(160, 112, [(0, 0), (96, 48), (48, 64)])
NOISE = encoded(Image.fromarray(np.random.default_rng(3).integers(0, 256, (800, 1200), np.uint8)), "JPEG")
PIXELS_MAX = 1_000_000
WAIT_S = 30


def through(
    processes: PictureProcesses, manifest: Manifest, session: Session, run: Run | None = None
) -> DetectionPipeline:
    return DetectionPipeline(manifest, session, pixels_max=PIXELS_MAX, run=run, predict=processes.predict)


class Interrupted:
    """A run that does something before it answers."""

    def __init__(self, session: Session, act: Any) -> None:
        self._session, self._act = session, act

    def __call__(self, tiles: NDArray[Any], _wanted: Wanted) -> NDArray[np.float32]:
        """Act once, then run."""
        act, self._act = self._act, None
        if act:
            act()
        output: NDArray[np.float32] = self._session.run({"images": tiles})[0]
        return output


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def are_alive(processes: PictureProcesses, count: int) -> bool:
    return sum(map(is_alive, processes.pids)) == count


@contextmanager
def held(processes: PictureProcesses) -> Iterator[None]:
    """Its processes do nothing for as long as the block lasts."""
    pids = processes.pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in filter(is_alive, pids):
            os.kill(pid, signal.SIGCONT)


def killed(processes: PictureProcesses, number: int) -> None:
    """End all processes by a signal, and wait until they are gone."""
    for pid in filter(is_alive, processes.pids):
        os.kill(pid, number)
    until(lambda: not any(map(is_alive, processes.pids)))


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another process or thread is about to do."""
    ends = time.monotonic() + WAIT_S
    while not is_so():
        assert time.monotonic() < ends
        time.sleep(0.01)
