"""Which driver fits which CUDA is said in a sentence; the host's memory stands in for a GPU's."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
from inference_core import device
from inference_core.device import CudaMemory, HostMemory, check_driver, driver_version, gpu_name
from inference_core.errors import ProviderError


def has_library(name: str) -> bool:
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def test_the_grid_driver_of_the_a10_is_told_from_one_that_runs_cuda_13() -> None:
    with pytest.raises(ProviderError) as refusal:
        check_driver("13.0", "1.31.1", driver_cuda=12080, driver="570.211.01")
    for fact in ("570.211.01", "CUDA 12.8 at most", "onnxruntime-gpu 1.31.1", "CUDA 13", "580 or newer", "1.26"):
        assert fact in str(refusal.value)


@pytest.mark.parametrize(("wheel", "driver_cuda"), [("13.0", 13000), ("13.2", 13000), ("13.0", 14000), ("12.8", 13000)])
def test_a_driver_of_the_same_or_a_newer_major_version_will_do(wheel: str, driver_cuda: int) -> None:
    check_driver(wheel, "1.31.1", driver_cuda=driver_cuda, driver="any")


def test_no_driver_at_all_is_said_as_such() -> None:
    with pytest.raises(ProviderError, match=r"no NVIDIA driver here.*580 or newer.*--gpus all"):
        check_driver("13.0", "1.31.1", driver_cuda=0, driver="unknown")


def test_a_cuda_newer_than_this_code_knows_still_gets_its_sentence() -> None:
    with pytest.raises(ProviderError, match="CUDA 14 and needs driver a newer one"):
        check_driver("14.0", "2.0.0", driver_cuda=13000, driver="580.1")


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("580.95.05\n", "580.95.05"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.211.01  Sat May 2 12:00:00 UTC 2026\n", "570.211.01"),
        ("no numbers", "unknown"),
    ],
)
def test_the_driver_says_its_version_in_the_kernels_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, version: str
) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(device, "DRIVER_FILES", (tmp_path / "missing", tmp_path / "version"))
    assert driver_version() == version


@pytest.mark.skipif(has_library("libcuda.so.1"), reason="this machine has a driver")
def test_without_a_driver_the_gpu_has_no_name() -> None:
    assert gpu_name(0) == "unknown"


@pytest.mark.skipif(has_library("libcudart.so.99"), reason="the future")
def test_a_missing_cuda_runtime_is_a_sentence() -> None:
    with pytest.raises(ProviderError, match="`gpu` requirements"):
        CudaMemory(0, "99.1")


def test_host_memory_keeps_what_is_uploaded_until_it_is_closed() -> None:
    memory = HostMemory()
    source = memory.host_array((2, 3), np.float32)
    source[:] = np.arange(6).reshape(2, 3)
    address = memory.allocate(source.nbytes)
    memory.upload(source, address, memory.stream())
    target = memory.host_array((2, 3), np.float32)
    memory.download(address, target, memory.stream())
    assert np.array_equal(source, target)
    memory.check()
    memory.close()


@pytest.mark.gpu
@pytest.mark.skipif(not has_library("libcuda.so.1"), reason="needs a GPU")
def test_cuda_memory_keeps_what_is_uploaded() -> None:
    from inference_core.session import cuda_version, require_cuda  # noqa: PLC0415

    require_cuda()
    memory = CudaMemory(0, cuda_version())
    source, target = memory.host_array((1000,), np.float32), memory.host_array((1000,), np.float32)
    source[:] = np.arange(1000)
    address, stream = memory.allocate(source.nbytes), memory.stream()
    memory.upload(source, address, stream)
    memory.download(address, target, stream)
    memory.check()
    assert np.array_equal(source, target)
    with pytest.raises(MemoryError):
        memory.allocate(1 << 50)
    memory.check()
    memory.close()
