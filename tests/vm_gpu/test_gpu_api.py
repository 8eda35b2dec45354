"""The GPU tier never runs on the CPU in silence."""

import re
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import onnxruntime
import pytest
from gpu_api.lost import EXIT_STATUS
from gpu_api.main import service_of
from inference_core.errors import ProviderError
from inference_core.settings import Settings

from tests.entry import START_S, ended, started
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


@needs_no_cuda
def test_a_gpu_that_cannot_be_used_is_not_replaced_by_a_stand_in(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where TensorRT was asked for and is not installed: the session says so, later than CUDA itself is found."""
    monkeypatch.setattr("gpu_api.main.require_cuda", lambda: None)
    monkeypatch.setattr(sys, "setswitchinterval", lambda _: None)
    with pytest.raises(ProviderError):
        service_of(Settings(models_dir=models_dir, allow_cpu=True), {})


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA_PROVIDER, reason="needs the CUDA build of ONNX Runtime and a GPU")
def test_with_cuda_it_serves_from_the_gpu(models_dir: Path, tmp_path: Path) -> None:
    with started(MODULE, tmp_path / "log", {"INFERENCE_MODELS_DIR": models_dir}) as tier:
        reply = tier.client.post("/v1/models/squares-n/predict", content=PICTURE)
    assert reply.json()["hosting"] == "cuda"
    assert [found["box"] for found in reply.json()["detections"]] == [[16, 32, 32, 48]]


@needs_no_cuda
def test_a_lost_gpu_ends_the_process_and_readiness_before_it(models_dir: Path, tmp_path: Path) -> None:
    settings: dict[str, str | Path] = {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_ALLOW_CPU": "1"}
    with started("tests.vm_gpu.lost_tier", tmp_path / "log", settings) as tier:
        reply = tier.client.post("/v1/models/squares-n/predict", content=PICTURE)
        ready = tier.client.get("/v2/health/ready").status_code
        live = tier.client.get("/v2/health/live").status_code
        status = tier.process.wait(START_S)
        log = tier.log.read_text()
    assert (reply.status_code, reply.json()["code"]) == (503, "device_lost")
    assert int(reply.headers["retry-after"]) > 0
    assert (ready, live) == (503, 200)
    assert status == EXIT_STATUS
    assert "CRITICAL inference.gpu The GPU is lost" in log
    assert "CUDA error 719" in log


@needs_no_cuda
def test_pictures_of_several_clients_are_all_answered_and_counted(models_dir: Path, tmp_path: Path) -> None:
    settings: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": models_dir,
        "INFERENCE_ALLOW_CPU": "1",
        "INFERENCE_SLOTS": "4",
    }
    with started(MODULE, tmp_path / "log", settings) as tier, ThreadPoolExecutor(8) as pool:
        ask = partial(tier.client.post, "/v1/models/squares-n/predict", content=PICTURE)
        replies = list(pool.map(lambda _: ask(), range(24)))
        metrics = tier.client.get("/metrics").text
        described = tier.client.get("/v2").json()["engines"]["squares-n"]
    assert {reply.status_code for reply in replies} == {200}
    assert all(reply.json()["detections"][0]["box"] == [16, 32, 32, 48] for reply in replies)
    (tiles,) = re.findall(r'inference_batch_tiles_sum\{model="squares-n"\} ([\d.]+)', metrics)
    # And those of the warm-up: a tile alone and a full batch.
    assert float(tiles) >= 24 + 5
    assert described["bound"]


@needs_no_cuda
def test_sigterm_answers_what_waits_for_the_batcher(models_dir: Path, tmp_path: Path) -> None:
    settings: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": models_dir,
        "INFERENCE_ALLOW_CPU": "1",
        "INFERENCE_GPU_WAIT_MS": "1500",
    }
    with started(MODULE, tmp_path / "log", settings) as tier, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(tier.client.post, "/v1/models/squares-n/predict", content=PICTURE)
        while "inference_in_flight 1.0" not in httpx.get(f"{tier.client.base_url}/metrics").text:
            assert not answer.done()
        tier.process.terminate()
        assert answer.result().status_code == 200
        assert tier.process.wait(START_S) in (0, -signal.SIGTERM)


@needs_no_cuda
def test_a_deadline_that_passes_in_the_batcher_is_a_refusal_and_its_tiles_are_dropped(
    models_dir: Path, tmp_path: Path
) -> None:
    settings: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": models_dir,
        "INFERENCE_ALLOW_CPU": "1",
        "INFERENCE_GPU_WAIT_MS": "3000",
    }
    with started(MODULE, tmp_path / "log", settings) as tier:
        reply = tier.client.post("/v1/models/squares-n/predict?deadline_ms=300", content=PICTURE)
        metrics = tier.client.get("/metrics").text
    assert (reply.status_code, reply.json()["code"]) == (503, "deadline_unmet")
    assert 'inference_batch_dropped_tiles_total{model="squares-n"} 1.0' in metrics


@needs_no_cuda
def test_a_background_job_that_rests_for_requests_holds_none_of_them_up(models_dir: Path, tmp_path: Path) -> None:
    """It keeps the process that reads its picture, while a request has its slot."""
    settings: dict[str, str | Path] = {
        "INFERENCE_MODELS_DIR": models_dir,
        "INFERENCE_ALLOW_CPU": "1",
        "INFERENCE_JOBS_DIR": tmp_path / "jobs",
        "INFERENCE_GPU_WAIT_MS": "100",
    }
    large = squares_picture(64 * 30, 64 * 10, [(16, 32)])
    with started(MODULE, tmp_path / "log", settings) as tier:
        job = tier.client.post("/v1/jobs?model=squares-n", content=large).headers["location"]
        asked = 0
        while (state := tier.client.get(job).json())["status"] in ("queued", "running"):
            if state["status"] == "running":
                reply = tier.client.post("/v1/models/squares-n/predict", content=PICTURE, timeout=START_S)
                assert reply.status_code == 200
                asked += 1
        assert state["status"] == "succeeded"
    assert asked
