"""A process that reads pictures for the service: it decodes, cuts and merges, and has the service run the tiles.

Python's interpreter lock lets one thread of a process work at a time, and a 4K picture holds it for 8.5 of 35 ms of
work (two-core AMD EPYC, 2026-11): a service on threads alone reads no more than about a hundred pictures a second,
however many cores it has. `picture_process.py` is the other side. Tiles and outputs go through shared memory, the words
of `talk.py` through a socket. It ends when its service does, whose end of the socket is then closed.
"""

import os
import signal
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from inference_core import images
from inference_core.errors import InferenceError, ManifestError, Stopped
from inference_core.heap import keep_freed
from inference_core.results import Prediction, StageClock
from inference_core.tiled import PictureModel, TiledDetection, Wanted
from numpy.typing import NDArray

from gpu_api.shared_memory import SharedMemory
from gpu_api.talk import Failed, Outputs, Picture, Pixels, Ready, Tiles

_NICE = 5
"""The threads that feed the GPU come first: while they wait for a core, it has nothing to do."""


class _Reader:
    """The process's side of the talk."""

    def __init__(self, talk: Connection, memory: SharedMemory) -> None:
        self._talk, self._memory = talk, memory
        self._models: dict[str, TiledDetection] = {}
        self._progress = (0, 0)

    def serve(self) -> None:
        """Answer until the service is gone."""
        while True:
            match self._talk.recv():
                case PictureModel() as model:
                    self._models[model.name] = TiledDetection(model, self._run, empty=self._memory.array)
                case Picture() | Pixels() as picture:
                    if (answer := self._answer(picture)) is not None:
                        self._talk.send(answer)

    def _answer(self, picture: Picture | Pixels) -> Prediction | Failed | None:
        try:
            return self._predict(picture)
        except Stopped:
            return None
        except (InferenceError, ManifestError, MemoryError) as error:
            return Failed(error)
        except Exception:  # an exception of any library may not be one that can be sent
            return Failed(RuntimeError(f"A picture's process failed:\n{traceback.format_exc()}"))

    def _predict(self, picture: Picture | Pixels) -> Prediction:
        detection = self._models[picture.model]
        match picture:  # out of the memory, where its tiles will lie
            case Picture(_, size, scale):
                body = self._memory.array((size,), np.uint8).tobytes()
                return detection.predict(body, scale=scale, watch=self._note)
            case Pixels(_, shape, width, height, scale, timings_ms):
                pixels = self._memory.array(shape, np.uint8).copy()
                clock = StageClock(timings_ms)
                return detection.found(
                    images.Picture(pixels, width, height), scale=scale, clock=clock, watch=self._note
                )

    def _note(self, done: int, of: int) -> None:
        self._progress = done, of

    def _run(self, tiles: NDArray[Any], _wanted: Wanted) -> NDArray[np.float32]:
        if not self._memory.holds(tiles):
            self._memory.put(tiles)
        self._talk.send(Tiles(tiles.shape, tiles.dtype.str, *self._progress))
        match self._talk.recv():
            case Outputs(shape):
                return self._memory.array(shape, np.float32).copy()
        raise Stopped


def main(talk_fd: int, memory_fd: int) -> None:
    """Read pictures until the service is gone."""
    # Whoever ends the service by a signal to all its processes lets it finish what it has first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    keep_freed()
    with suppress(OSError):  # where memory is short, a picture is lost and not the service
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    talk = Connection(talk_fd)
    with suppress(EOFError, ConnectionError):
        talk.send(Ready())
        _Reader(talk, SharedMemory(memory_fd)).serve()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
