"""The proof that CUDA graphs are replayed: ONNX Runtime's log, read by a sentence that its library really holds."""

import sys
from pathlib import Path

import onnxruntime
import pytest
from gpu_bench.replay import NOT_HERE, OFF, log_of_runtime, replayed, verdict
from inference_core.manifest import read_manifest
from inference_core.session import LOG_INFO, Session
from inference_core.settings import GpuSettings

from tests.conftest import PROJECT
from tests.vm_gpu.runs import squares_manifest

LINE = (
    "2026-11-26 20:00:00.1 [I:onnxruntime:, inference_session.cc:3200 RunImpl] Replaying the captured "
    "CUDAExecutionProvider CUDA Graph for this model with tag:  with graph annotation id: 1\n"
)
OTHER = "2026-11-26 20:00:00.1 [I:onnxruntime:, sequential_executor.cc:600 Execute] Begin execution\n"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (LINE * 3, "replayed"),
        (OTHER + LINE + OTHER + LINE * 2, "replayed"),
        (LINE * 2, "not: the log names 2 replays in 3 runs"),
        (OTHER * 3, "not: the log names 0 replays in 3 runs"),
        ("", "not: the log names 0 replays in 3 runs"),
    ],
)
def test_only_a_replay_in_each_run_is_one(log: str, found: str) -> None:
    assert verdict(log) == found


def test_the_installed_runtime_knows_the_sentence_that_is_looked_for() -> None:
    """The part of ONNX Runtime that says it is the same in the wheels with and without CUDA."""
    (library,) = Path(onnxruntime.__file__).parent.glob("capi/onnxruntime_pybind11_state*.so")
    assert b"Replaying the captured " in library.read_bytes()


def test_the_log_of_the_runtime_is_caught_and_stderr_given_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest = squares_manifest(tmp_path)
    with log_of_runtime() as log:
        Session(manifest.model_bytes, threads=1, log_severity=LOG_INFO)
    assert any("inference_session.cc" in line for line in log)
    with log_of_runtime() as log:
        Session(manifest.model_bytes, threads=1)
    assert log == []
    sys.stderr.write("ours\n")
    assert capfd.readouterr().err == "ours\n"


def test_without_a_gpu_or_graphs_nothing_is_claimed() -> None:
    manifest = read_manifest(PROJECT / "shared" / "models" / "board-defects-n")
    assert replayed(manifest, "cpu", GpuSettings()) == NOT_HERE
    assert replayed(manifest, "cuda", GpuSettings(gpu_graphs=False)) == OFF
    assert replayed(manifest, "cuda", GpuSettings()).startswith("not: The installed ONNX Runtime")
