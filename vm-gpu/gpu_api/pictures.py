"""The processes that read pictures, as the service sees them: a picture goes out, its tiles come in to be run, the
answer follows. `picture_process.py` is their side.
"""

import logging
import os
import queue
import signal
import socket
import subprocess
import sys
from multiprocessing.connection import Connection

from inference_core import images
from inference_core.errors import OutOfMemory, Overloaded, StartupError, UnreadableImage
from inference_core.results import Prediction, StageClock, Watch, still_wanted
from inference_core.tiled import Run, TiledDetection

from gpu_api.shared_memory import new_memory
from gpu_api.talk import Dropped, Failed, Model, Outputs, Picture, Pixels, Ready, Tiles

_LOG = logging.getLogger("inference.gpu")
_FAREWELL_S = 5.0
_START_S = 60.0
_KEPT_BYTES = str(1 << 25)  # the most that glibc takes
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    # What one picture needed is kept for the next: memory fresh from the system costs a fault a page.
    "PILLOW_BLOCKS_MAX": "4",
    "MALLOC_MMAP_THRESHOLD_": _KEPT_BYTES,
    "MALLOC_TRIM_THRESHOLD_": _KEPT_BYTES,
}


class PictureProcess:
    """One of them, which has one picture at a time."""

    def __init__(self) -> None:
        """Starts it; `wait_ready` waits until it takes pictures."""
        self._memory = new_memory()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, our own module
                [sys.executable, "-m", "gpu_api.picture_process", str(theirs.fileno()), str(self._memory.fd)],
                env=os.environ | _ENVIRONMENT | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=(theirs.fileno(), self._memory.fd),
                stdin=subprocess.DEVNULL,
            )
            self._talk = Connection(ours.detach())
        self._is_ready = False
        self._known: dict[str, TiledDetection] = {}

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it can still take a picture."""
        return self._process.poll() is None

    def wait_ready(self) -> None:
        """Raises EOFError where it cannot start."""
        if not self._is_ready:
            if not self._talk.poll(_START_S):
                raise EOFError
            assert isinstance(self._talk.recv(), Ready)
            self._is_ready = True

    def predict(self, detection: TiledDetection, body: bytes, scale: float, watch: Watch) -> Prediction:
        """As `detection.predict`, which it does but for the runs. Raises EOFError or ConnectionError when it ends."""
        self.wait_ready()
        if self._known.get(detection.model) is not detection:
            self._talk.send(_model(detection))
            self._known[detection.model] = detection
        self._talk.send(self._given(detection, body, scale))
        tiles_of = 0
        while True:
            match self._talk.recv():
                case Tiles() as tiles:
                    tiles_of = tiles.of
                    self._run(tiles, detection.run, watch)
                case Failed(error):
                    raise error
                case Prediction() as prediction:
                    watch(tiles_of, tiles_of)
                    return prediction

    def _given(self, detection: TiledDetection, body: bytes, scale: float) -> Picture | Pixels:
        """The picture in the memory: as it came, or decoded where that is not the process's part."""
        if detection.decode is images.decode:
            self._memory.put_bytes(body)
            return Picture(detection.model, len(body), scale)
        clock = StageClock()
        picture = detection.decoded(body, scale, clock)
        self._memory.put(picture.pixels)
        shape = picture.pixels.shape
        return Pixels(detection.model, shape, picture.width, picture.height, scale, clock.timings_ms)

    def _run(self, tiles: Tiles, run: Run, watch: Watch) -> None:
        try:
            watch(tiles.done, tiles.of)
            outputs = run(self._memory.array(tiles.shape, tiles.dtype), still_wanted(watch, tiles.done, tiles.of))
            self._memory.put(outputs)
        except BaseException:
            self._talk.send(Dropped())
            raise
        self._talk.send(Outputs(outputs.shape))

    def hang_up(self) -> None:
        """Let it end by itself."""
        self._talk.close()

    def end(self) -> int:
        """Have it end, if it has not; its exit status, negative for a signal."""
        self.hang_up()
        self._memory.close()
        try:
            return self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class PictureProcesses:
    """`count` of them. One that ends is replaced."""

    def __init__(self, count: int) -> None:
        """Raises StartupError when they cannot start."""
        self._all = [PictureProcess() for _ in range(count)]
        self._free: queue.LifoQueue[PictureProcess] = queue.LifoQueue()
        self._is_closed = False
        try:
            for process in self._all:
                process.wait_ready()
                self._free.put(process)
        except EOFError:
            self.close()
            raise StartupError("The processes that read pictures do not start; the lines above say why.") from None

    @property
    def pids(self) -> list[int]:
        """Their numbers."""
        return [process.pid for process in self._all]

    def predict(self, detection: TiledDetection, body: bytes, *, scale: float, watch: Watch) -> Prediction:
        """As `detection.predict`, by the next process that is free. Raises UnreadableImage when the picture ends its
        process, OutOfMemory when the system does, Overloaded once closed.
        """
        process = self._free.get()
        try:
            if self._is_closed:
                raise Overloaded("The service is stopping.", retry_after_s=15)
            if not process.is_alive:  # it ended between two pictures, which neither is to blame for
                process = self._replaced(process)
            try:
                return process.predict(detection, body, scale, watch)
            except (EOFError, ConnectionError):
                status = process.end()
                process = self._replaced(process)
                raise _cause(status) from None
        finally:
            self._free.put(process)

    def close(self) -> None:
        """Take no more, and end them all."""
        self._is_closed = True
        for process in self._all:
            process.hang_up()
        for process in self._all:
            process.end()

    def _replaced(self, ended: PictureProcess) -> PictureProcess:
        _LOG.error("process %d, which read pictures, ended with status %d and is replaced", ended.pid, ended.end())
        process = PictureProcess()
        try:
            process.wait_ready()
        except EOFError:
            process.end()
            raise OutOfMemory("No process that reads pictures can be started here any more.") from None
        self._all[self._all.index(ended)] = process
        return process


def _model(of: TiledDetection) -> Model:
    return Model(of.model, of.variant, of.input, of.output, of.pixels_max, of.side_max)


def _cause(status: int) -> OutOfMemory | UnreadableImage:
    if status == -signal.SIGKILL:
        return OutOfMemory("The process that read this picture was ended, as the system does when memory is short.")
    return UnreadableImage(f"This picture ends the process that reads it (status {status}); it is most likely damaged.")
