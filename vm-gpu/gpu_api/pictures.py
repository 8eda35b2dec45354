"""The processes that read the service's pictures: enough of them, and none that has ended."""

import logging
from threading import Lock
from time import monotonic

from inference_core.errors import OutOfMemory, Overloaded, StartupError
from inference_core.results import Prediction, Watch
from inference_core.tiled import TiledDetection

from gpu_api.picture_process import Decoder, Ended, PictureProcess, cause

_LOG = logging.getLogger("inference.gpu")
_FAREWELL_S = 5.0
"""For processes that are told to end. One whose talk has ended is about to be gone, or is ended by force."""
_LAST_S = 0.5


class PictureProcesses:
    """As many as there are pictures at a time: `count` from the start, one more where all have a picture (that of a
    background job may rest for a request), and a new one in the place of one that ended.
    """

    def __init__(self, count: int, decoder: Decoder | None = None) -> None:
        """Raises StartupError when they cannot start."""
        self._decoder = decoder
        self._lock = Lock()
        self._all: set[PictureProcess] = set()
        self._free: list[PictureProcess] = []
        """The last one first: a few that are warm do what there is to do."""
        self._is_closed = False
        try:
            for process in [self._new() for _ in range(count)]:
                process.wait_ready()
                self._free.append(process)
        except (OSError, Ended) as error:
            self.close()
            raise StartupError(
                f"The processes that read pictures do not start ({str(error) or 'the lines above say why'}). "
                "INFERENCE_GPU_PROCESSES=0 reads them in threads."
            ) from None

    @property
    def pids(self) -> list[int]:
        """Their numbers."""
        with self._lock:
            return [process.pid for process in self._all]

    def predict(self, detection: TiledDetection, body: bytes, *, scale: float, watch: Watch) -> Prediction:
        """As `detection.predict`, in a process. Raises UnreadableImage when the picture ends it, OutOfMemory when the
        system does or starts none, Overloaded once closed, RuntimeError when it ends for a reason of its own.
        """
        process = self._taken()
        try:
            return process.predict(detection, body, scale, watch, self._decoder)
        except Ended as ended:
            if self._is_closed:
                raise _stopping() from None
            raise cause(ended, self._dropped(process)) from None
        finally:
            self._give_back(process)

    def check(self) -> None:
        """Raise OutOfMemory when none is there and none can be started."""
        with self._lock:
            is_any = any(process.is_alive for process in self._all)
        if not is_any:
            self._give_back(self._taken())

    def close(self) -> None:
        """Take no more, and end them all."""
        with self._lock:
            self._is_closed = True
            processes = list(self._all)
        for process in processes:
            process.hang_up()
        ends = monotonic() + _FAREWELL_S
        for process in processes:
            process.end(max(0.0, ends - monotonic()))

    def _taken(self) -> PictureProcess:
        """One that is free, or new."""
        while not self._is_closed:
            try:
                process = self._free.pop()
            except IndexError:
                return self._started()
            if process.is_alive:
                return process
            self._dropped(process)
        raise _stopping()

    def _started(self) -> PictureProcess:
        try:
            process = self._new()
        except OSError as error:
            raise OutOfMemory(f"No further process that reads pictures starts: {error}.") from None
        try:
            process.wait_ready()
        except Ended:
            status = self._dropped(process)
            raise OutOfMemory(f"No process that reads pictures starts; one ended with status {status}.") from None
        return process

    def _new(self) -> PictureProcess:
        with self._lock:
            if self._is_closed:
                raise _stopping()
            process = PictureProcess()
            self._all.add(process)
            return process

    def _give_back(self, process: PictureProcess) -> None:
        if process.is_free:
            self._free.append(process)
        elif process in self._all:
            self._dropped(process)

    def _dropped(self, process: PictureProcess) -> int:
        """Its exit status, now that it is none of them any more."""
        status = process.end(_LAST_S)
        with self._lock:
            self._all.discard(process)
        if not self._is_closed:
            _LOG.error("process %d, which read pictures, ended with status %d", process.pid, status)
        return status


def _stopping() -> Overloaded:
    return Overloaded("The service is stopping.", retry_after_s=15)
