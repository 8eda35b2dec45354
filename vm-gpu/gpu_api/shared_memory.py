"""Memory that two processes see. It has no name, so that nothing is left behind when they end; and it is no file of
`/dev/shm`, of which a container has 64 MB unless it is told otherwise.
"""

import mmap
import os
import tempfile
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class SharedMemory:
    """One side's view of it. Holds one array at a time, grows to the largest there was and stays so."""

    def __init__(self, fd: int) -> None:
        """`fd` is that of `new_memory`, or what the other process got of it."""
        self._file = os.fdopen(fd, "r+b", buffering=0)
        self._map = mmap.mmap(-1, 1)

    @property
    def fd(self) -> int:
        """Its number in this process, to be passed on."""
        return self._file.fileno()

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """The array at its start, whose content is what either side wrote last. Raises MemoryError where the system
        refuses so much at once; it takes the memory only as it is written.
        """
        wanted = np.dtype(dtype)
        count = int(np.prod(shape))
        self._grow(max(1, count * wanted.itemsize))
        return np.frombuffer(self._map, wanted, count).reshape(shape)

    def put(self, values: NDArray[Any]) -> None:
        """Write `values`. Other threads of this process run meanwhile: numpy copies without the interpreter's lock."""
        np.copyto(self.array(values.shape, values.dtype), values)

    def holds(self, values: NDArray[Any]) -> bool:
        """Whether `values` are what lies at its start, so that they need not be put."""
        start = np.frombuffer(self._map, np.uint8, 1)
        return values.flags.c_contiguous and values.ctypes.data == start.ctypes.data

    def put_bytes(self, body: bytes) -> None:
        """Write `body`, to be read as an array of uint8."""
        self.put(np.frombuffer(body, np.uint8))

    def close(self) -> None:
        """Let go of it; arrays that were given out stay good."""
        self._file.close()

    def _grow(self, size: int) -> None:
        if len(self._map) >= size:
            return
        try:
            if os.fstat(self.fd).st_size < size:
                os.ftruncate(self.fd, size)
            # Arrays that were given out still need the old one: it goes with the last of them.
            self._map = mmap.mmap(self.fd, os.fstat(self.fd).st_size)
        except OSError as error:
            raise MemoryError(f"No memory of {size} bytes to share with another process: {error}") from error


def new_memory() -> SharedMemory:
    """Some that no other process sees yet: it gets `fd`."""
    if hasattr(os, "memfd_create"):
        return SharedMemory(os.memfd_create("pictures"))
    with tempfile.TemporaryFile() as file:  # systems other than Linux
        return SharedMemory(os.dup(file.fileno()))
