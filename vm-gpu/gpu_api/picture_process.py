"""One process that reads pictures, as the service sees it. `picture_reader.py` is what runs in it, `talk.py` what they
say to each other; `pictures.py` has as many as the service needs.
"""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from inference_core.errors import OutOfMemory, UnreadableImage
from inference_core.images import Decode
from inference_core.results import Prediction, StageClock, Watch, still_wanted
from inference_core.tiled import PictureModel, Run, TiledDetection

from gpu_api.shared_memory import new_memory
from gpu_api.talk import Dropped, Failed, Outputs, Picture, Pixels, Tiles

_PATIENCE_S = 120.0
"""Longer than any picture within the limits takes between two words, on a machine that is much too busy."""
_DAMAGE = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""What ends a process whose decoder a picture leads astray."""
_ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    # Of 16 MB each: Pillow keeps them from one picture for the next, as heap.py says of other memory.
    "PILLOW_BLOCKS_MAX": "4",
}


class Decoder(Decode, Protocol):
    """Decodes some pictures in the service, and not in the processes: where the GPU does it, for one."""

    def takes(self, body: bytes, scale: float) -> bool:
        """Whether `body`, read at `scale`, is one of them."""
        ...


class Ended(Exception):
    """The process is no more."""


class Silent(Ended):
    """The process says nothing."""


def cause(ended: Ended, status: int) -> Exception:
    """What it means for the picture at hand that its process `ended`, with exit status `status`."""
    if isinstance(ended, Silent):
        return UnreadableImage(f"This picture takes longer than {_PATIENCE_S:g} s to read.")
    if status == -signal.SIGKILL:
        return OutOfMemory("The process that read this picture was ended, as the system does when memory is short.")
    if -status in _DAMAGE:
        return UnreadableImage(f"This picture ends the process that reads it (signal {-status}); it may be damaged.")
    return RuntimeError(f"A process ended with status {status} while it read a picture; the lines above say why.")


class PictureProcess:
    """One, which has one picture at a time."""

    def __init__(self) -> None:
        """Starts it; `wait_ready` comes before the first picture. Raises OSError where the system starts no more."""
        with ExitStack() as undone:
            self._memory = new_memory()
            undone.callback(self._memory.close)
            self._ours, theirs = socket.socketpair()
            undone.callback(self._ours.close)
            with theirs:
                self._talk = Connection(os.dup(self._ours.fileno()))
                undone.callback(self._talk.close)
                self._process = _start(theirs.fileno(), self._memory.fd)
            undone.pop_all()
        self._is_at_work = False
        self._known: dict[str, PictureModel] = {}

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def is_free(self) -> bool:
        """Whether it can take a picture: one whose talk was broken off would answer with the last one's words."""
        return self.is_alive and not self._is_at_work

    def wait_ready(self) -> None:
        """Until it takes pictures. Raises Ended where it cannot start."""
        self._hear()

    def predict(
        self, detection: TiledDetection, body: bytes, scale: float, watch: Watch, decoder: Decoder | None
    ) -> Prediction:
        """As `detection.predict`, which it does but for the runs. Raises Ended too."""
        given = self._given(detection, body, scale, decoder)
        self._is_at_work = True
        model = detection.model
        if self._known.get(model.name) is not model:
            self._say(model)
            self._known[model.name] = model
        self._say(given)
        tiles_of = 0
        while True:
            match self._hear():
                case Tiles() as tiles:
                    tiles_of = tiles.of
                    self._run(tiles, detection.run, watch)
                case Failed(error):
                    self._is_at_work = False
                    raise error
                case Prediction() as prediction:
                    self._is_at_work = False
                    watch(tiles_of, tiles_of)
                    return prediction

    def _given(self, detection: TiledDetection, body: bytes, scale: float, decoder: Decoder | None) -> Picture | Pixels:
        """The picture in the memory: as it came, or decoded where that is not the process's part."""
        if decoder is None or not decoder.takes(body, scale):
            self._memory.put_bytes(body)
            return Picture(detection.model.name, len(body), scale)
        clock = StageClock()
        picture = detection.decoded(body, scale, clock)
        self._memory.put(picture.pixels)
        shape = picture.pixels.shape
        return Pixels(detection.model.name, shape, picture.width, picture.height, scale, clock.timings_ms)

    def _run(self, tiles: Tiles, run: Run, watch: Watch) -> None:
        try:
            watch(tiles.done, tiles.of)
            outputs = run(self._memory.array(tiles.shape, tiles.dtype), still_wanted(watch, tiles.done, tiles.of))
            self._memory.put(outputs)
        except BaseException:
            self._say(Dropped())
            self._is_at_work = False
            raise
        self._say(Outputs(outputs.shape))

    def _say(self, word: Any) -> None:
        try:
            self._talk.send(word)
        except OSError:
            raise Ended from None

    def _hear(self) -> Any:
        try:
            if self._talk.poll(_PATIENCE_S):
                return self._talk.recv()
        except (OSError, EOFError):
            raise Ended from None
        raise Silent

    def hang_up(self) -> None:
        """Have both sides hear no more; it then ends by itself."""
        with suppress(OSError):  # where it was done before
            self._ours.shutdown(socket.SHUT_RDWR)

    def end(self, wait_s: float) -> int:
        """Have it end, by force after `wait_s`; its exit status, negative for a signal."""
        self.hang_up()
        try:
            status = self._process.wait(wait_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._ours.close()
        self._memory.close()
        return status


def _start(talk_fd: int, memory_fd: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603 - this interpreter, our own module
        [sys.executable, "-P", "-m", "gpu_api.picture_reader", str(talk_fd), str(memory_fd)],
        env=_environment(),
        pass_fds=(talk_fd, memory_fd),
        stdin=subprocess.DEVNULL,
        process_group=0,  # the terminal's Ctrl-C is the service's to handle
    )


def _environment() -> dict[str, str]:
    """Ours less what is nobody else's business: pictures come from strangers, settings hold keys."""
    own = {key: value for key, value in os.environ.items() if not key.startswith("INFERENCE_")}
    path = os.pathsep.join(os.fspath(entry) or str(Path.cwd()) for entry in sys.path)
    return {**_ENVIRONMENT, **own, "PYTHONPATH": path}
