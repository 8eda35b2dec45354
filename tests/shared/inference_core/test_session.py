"""Sessions are opened with the threads asked for, without telemetry, and never on the CPU when CUDA was asked for."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from inference_core.errors import ManifestError, ProviderError
from inference_core.manifest import read_manifest
from inference_core.session import Session, require_cuda, runtime_version

from tests.models import tabular_model


def test_a_session_runs_and_describes_its_tensors(tmp_path: Path) -> None:
    session = Session(read_manifest(tabular_model(tmp_path)).model_bytes, threads=1)
    label, probabilities = session.run({"input": np.full((2, 3), 5, np.float32)})
    assert label.tolist() == [1, 1]
    assert probabilities.shape == (2, 2)
    assert [spec.name for spec in session.outputs] == ["label", "probabilities"]
    assert session.inputs[0].shape == ("rows", 3)


def test_a_file_that_is_no_model_is_refused_with_a_sentence() -> None:
    with pytest.raises(ManifestError, match=f"ONNX Runtime {runtime_version()} cannot open the model"):
        Session(b"not a model", threads=1)


def test_cuda_without_a_cuda_build_is_refused(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    with pytest.raises(ProviderError, match="no CUDA provider"):
        require_cuda()
    with pytest.raises(ProviderError, match="no CUDA provider"):
        Session(read_manifest(tabular_model(tmp_path)).model_bytes, threads=1, provider="cuda")


def test_opening_a_session_writes_no_device_id_and_starts_no_thread(tmp_path: Path) -> None:
    """Telemetry is on in the Linux wheel: without the switch the import writes under the home folder."""
    folder = tabular_model(tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import pathlib, os\n"
        "from inference_core.manifest import read_manifest\n"
        "from inference_core.session import Session\n"
        f"Session(read_manifest(pathlib.Path({str(folder)!r})).model_bytes, threads=1)\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("ORT_", "XDG_"))}
    environ |= {"HOME": str(home), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, check=True, capture_output=True, text=True)
    assert list(home.rglob("*")) == []
    assert int(done.stdout) == 1


def test_a_hidden_output_can_be_asked_for_but_does_not_show(tmp_path: Path) -> None:
    model = read_manifest(tabular_model(tmp_path)).model_bytes
    session = Session(model, threads=1, hidden=("probabilities",))
    feeds = {"input": np.full((2, 3), 5, np.float32)}
    assert [spec.name for spec in session.outputs] == ["label"]
    assert [spec.name for spec in session.hidden] == ["probabilities"]
    assert len(session.run(feeds)) == 1
    assert session.run(feeds, ["probabilities"])[0].shape == (2, 2)
    session.require("sizes-linear", inputs=["input"], outputs=["label", "probabilities"])
