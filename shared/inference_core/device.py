"""The memory that a bound run computes in: the host's, or a GPU's, reached through the CUDA runtime library that ONNX
Runtime itself has loaded. A dozen calls by ctypes, which lets other threads run meanwhile, need no further package.
"""

import ctypes
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from inference_core.errors import DeviceLost, ProviderError

DRIVER_FILES = (Path("/sys/module/nvidia/version"), Path("/proc/driver/nvidia/version"))
DRIVER_LEAST = {12: "525", 13: "580"}
"""The first driver branch for each CUDA major version (NVIDIA's compatibility table)."""
LAST_WHEEL = {12: "1.26"}
"""The last onnxruntime-gpu wheel for an older CUDA major version."""
_PINNED_FOR_ALL_CONTEXTS = 1
_NON_BLOCKING = 1
_HOST_TO_DEVICE, _DEVICE_TO_HOST = 1, 2


class Memory(Protocol):
    """Where a session's input and output lie. Addresses are plain numbers, streams order copies among themselves."""

    kind: str
    """The device as ONNX Runtime names it."""
    device_id: int

    def host_array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """Zeros in host memory that the device copies from and to at full speed; kept until `close`."""
        ...

    def allocate(self, size_bytes: int) -> int:
        """The address of `size_bytes` of the device's memory, kept until `close`. Raises MemoryError."""
        ...

    def stream(self) -> int:
        """A new stream for `upload` and `download`."""
        ...

    def upload(self, source: NDArray[Any], address: int, stream: int) -> None:
        """Copy a contiguous `source` to `address`; done when it returns."""
        ...

    def download(self, address: int, target: NDArray[Any], stream: int) -> None:
        """Fill a contiguous `target` from `address`; done when it returns."""
        ...

    def check(self) -> None:
        """Raise DeviceLost when the device has failed in a way that no later call heals."""
        ...

    def close(self) -> None:
        """Give all memory back; none of it may be in use."""
        ...


class HostMemory:
    """The host's own memory in the GPU's place: the stand-in, and every test without a GPU."""

    kind = "cpu"
    device_id = 0

    def __init__(self) -> None:
        self._blocks: list[NDArray[np.uint8]] = []

    def host_array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """As the protocol says."""
        return np.zeros(shape, dtype)

    def allocate(self, size_bytes: int) -> int:
        """As the protocol says."""
        self._blocks.append(np.zeros(size_bytes, np.uint8))
        return self._blocks[-1].ctypes.data

    def stream(self) -> int:
        """As the protocol says."""
        return 0

    def upload(self, source: NDArray[Any], address: int, stream: int) -> None:
        """As the protocol says."""
        del stream
        ctypes.memmove(address, source.ctypes.data, source.nbytes)

    def download(self, address: int, target: NDArray[Any], stream: int) -> None:
        """As the protocol says."""
        del stream
        ctypes.memmove(target.ctypes.data, address, target.nbytes)

    def check(self) -> None:
        """The host is there as long as the process is."""

    def close(self) -> None:
        """As the protocol says."""
        self._blocks.clear()


class CudaMemory:
    """A GPU's memory and page-locked host memory. Raises ProviderError when there is no CUDA runtime to call."""

    kind = "cuda"

    def __init__(self, device_id: int, cuda_version: str) -> None:
        """`cuda_version` is the one that ONNX Runtime was built with: its libraries are in the process already."""
        self.device_id = device_id
        self._runtime = _library(cuda_version)
        self._device_blocks: list[ctypes.c_void_p] = []
        self._host_blocks: list[ctypes.c_void_p] = []

    def host_array(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """As the protocol says; page-locked."""
        kind = np.dtype(dtype)
        size_bytes = int(np.prod(shape)) * kind.itemsize
        block = ctypes.c_void_p()
        self._call("cudaHostAlloc", ctypes.byref(block), ctypes.c_size_t(size_bytes), _PINNED_FOR_ALL_CONTEXTS)
        self._host_blocks.append(block)
        assert block.value is not None
        memory = (ctypes.c_uint8 * size_bytes).from_address(block.value)
        array: NDArray[Any] = np.ctypeslib.as_array(memory).view(kind).reshape(shape)
        array[...] = 0
        return array

    def allocate(self, size_bytes: int) -> int:
        """As the protocol says."""
        block = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(block), ctypes.c_size_t(size_bytes))
        self._device_blocks.append(block)
        assert block.value is not None
        return block.value

    def stream(self) -> int:
        """As the protocol says: it runs beside ONNX Runtime's own."""
        stream = ctypes.c_void_p()
        self._call("cudaStreamCreateWithFlags", ctypes.byref(stream), _NON_BLOCKING)
        return stream.value or 0

    def upload(self, source: NDArray[Any], address: int, stream: int) -> None:
        """As the protocol says."""
        self._copy(address, source.ctypes.data, source.nbytes, _HOST_TO_DEVICE, stream)

    def download(self, address: int, target: NDArray[Any], stream: int) -> None:
        """As the protocol says."""
        self._copy(target.ctypes.data, address, target.nbytes, _DEVICE_TO_HOST, stream)

    def check(self) -> None:
        """As the protocol says: after an illegal access, a hang that was killed (Xid) or a GPU that fell off the bus,
        every later call of the process gives that error.
        """
        try:
            self._call("cudaDeviceSynchronize")
        except RuntimeError as error:
            raise DeviceLost(f"The GPU failed and stays so: {error}") from None

    def close(self) -> None:
        """As the protocol says."""
        with suppress(RuntimeError):  # a lost device gives nothing back
            for block in self._device_blocks:
                self._call("cudaFree", block)
            for block in self._host_blocks:
                self._call("cudaFreeHost", block)
        self._device_blocks.clear()
        self._host_blocks.clear()

    def _copy(self, target: int, source: int, size_bytes: int, direction: int, stream: int) -> None:
        self._call(
            "cudaMemcpyAsync",
            ctypes.c_void_p(target),
            ctypes.c_void_p(source),
            ctypes.c_size_t(size_bytes),
            direction,
            ctypes.c_void_p(stream),
        )
        self._call("cudaStreamSynchronize", ctypes.c_void_p(stream))

    def _call(self, name: str, *arguments: Any) -> None:
        # The device is a property of the calling thread.
        for function, given in (("cudaSetDevice", (self.device_id,)), (name, arguments)):
            if status := getattr(self._runtime, function)(*given):
                self._runtime.cudaGetErrorString.restype = ctypes.c_char_p
                text = (self._runtime.cudaGetErrorString(status) or b"").decode()
                kind = MemoryError if status == 2 else RuntimeError
                raise kind(f"{name}: CUDA error {status}, {text}.")


def require_driver(cuda_version: str, runtime_version: str) -> None:
    """Raise ProviderError when there is no NVIDIA driver, or one too old for the CUDA that the installed ONNX Runtime
    was built with.
    """
    version = ctypes.c_int()
    runtime = _library(cuda_version)
    runtime.cudaDriverGetVersion(ctypes.byref(version))
    check_driver(cuda_version, runtime_version, driver_cuda=version.value, driver=driver_version())


def check_driver(cuda_version: str, runtime_version: str, *, driver_cuda: int, driver: str) -> None:
    """The rule behind `require_driver`. `driver_cuda` is the newest CUDA that the driver runs, as 1000 times the major
    version and 10 times the minor; 0: there is no driver.
    """
    wanted = int(cuda_version.partition(".")[0])
    least = f"{DRIVER_LEAST[wanted]} or newer" if wanted in DRIVER_LEAST else "a newer one"
    if not driver_cuda:
        raise ProviderError(
            f"There is no NVIDIA driver here; onnxruntime-gpu {runtime_version} needs {least} "
            "(in a container: start it with --gpus all)."
        )
    major, minor = driver_cuda // 1000, driver_cuda % 1000 // 10
    if major < wanted:
        older = LAST_WHEEL.get(major)
        instead = f"onnxruntime-gpu {older}, the last wheel for CUDA {major}" if older else "an older onnxruntime-gpu"
        raise ProviderError(
            f"The NVIDIA driver {driver} runs CUDA {major}.{minor} at most; onnxruntime-gpu {runtime_version} is built "
            f"for CUDA {wanted} and needs driver {least}. Update the driver, or, where the platform fixes it "
            f"(Azure's GRID driver for A10 v5), install {instead}."
        )


def driver_version() -> str:
    """The NVIDIA driver's version as the kernel says it, `unknown` where it says none."""
    for path in DRIVER_FILES:
        with suppress(OSError):
            words = path.read_text().split()
            numbers = [word for word in words if word[:1].isdigit() and "." in word]
            if numbers:
                return numbers[0]
    return "unknown"


def gpu_name(device_id: int) -> str:
    """The GPU's name as its driver says it, for caches and records; `unknown` without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "unknown"
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetName(name, len(name), device_id):
        return "unknown"
    return name.value.decode(errors="replace")


def _library(cuda_version: str) -> ctypes.CDLL:
    name = f"libcudart.so.{cuda_version.partition('.')[0]}"
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise ProviderError(
            f"The CUDA runtime that ONNX Runtime needs is not there ({error}); install the `gpu` requirements, which "
            "bring it as wheels."
        ) from None
