"""The GPU tier never runs on the CPU in silence."""

from pathlib import Path

import onnxruntime
import pytest

from tests.entry import ended, started
from tests.models import squares_picture

MODULE = "gpu_api.main"
PICTURE = squares_picture(64, 64, [(16, 32)])
HAS_CUDA_PROVIDER = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
needs_no_cuda = pytest.mark.skipif(HAS_CUDA_PROVIDER, reason="this machine has what the test wants missing")


@needs_no_cuda
def test_without_cuda_it_refuses_to_start_and_says_what_to_do(models_dir: Path) -> None:
    end = ended(MODULE, {"INFERENCE_MODELS_DIR": models_dir})
    assert end.returncode == 2
    assert end.stderr.startswith("error: ")
    assert len(end.stderr.splitlines()) == 1
    for advice in ("`gpu` requirements", "vm-gpu/README.md", "INFERENCE_ALLOW_CPU=1"):
        assert advice in end.stderr


@needs_no_cuda
def test_a_stand_in_says_so_in_health_replies_metadata_and_log(models_dir: Path, tmp_path: Path) -> None:
    settings: dict[str, str | Path] = {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_ALLOW_CPU": "1"}
    with started(MODULE, tmp_path / "log", settings) as tier:
        health = tier.client.get("/v2/health/ready")
        reply = tier.client.post("/v1/models/squares-n/predict", content=PICTURE)
        metadata = tier.client.get("/v2").json()
        log = tier.log.read_text()
    assert health.headers["inference-hosting"] == reply.headers["inference-hosting"] == "cpu-stand-in"
    assert reply.json()["hosting"] == metadata["hosting"] == "cpu-stand-in"
    assert [found["box"] for found in reply.json()["detections"]] == [[16, 32, 32, 48]]
    assert "WARNING inference.gpu CPU stand-in: " in log


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA_PROVIDER, reason="needs the CUDA build of ONNX Runtime and a GPU")
def test_with_cuda_it_serves_from_the_gpu(models_dir: Path, tmp_path: Path) -> None:
    with started(MODULE, tmp_path / "log", {"INFERENCE_MODELS_DIR": models_dir}) as tier:
        reply = tier.client.post("/v1/models/squares-n/predict", content=PICTURE)
    assert reply.json()["hosting"] == "cuda"
    assert [found["box"] for found in reply.json()["detections"]] == [[16, 32, 32, 48]]
