"""The container tier as a process: its start, its end, and starts that cannot succeed."""

import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.entry import ended, started
from tests.models import squares_picture

MODULE = "image_api.main"
PICTURE = squares_picture(64, 64, [(16, 32)])
DETECT = "/v1/models/squares-n/predict"


def test_it_serves_and_says_in_one_line_on_what_it_stands(models_dir: Path, tmp_path: Path) -> None:
    with started(MODULE, tmp_path / "log", {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_THREADS": "1"}) as tier:
        reply = tier.client.post(DETECT, content=PICTURE)
        assert [found["box"] for found in reply.json()["detections"]] == [[16, 32, 32, 48]]
        assert reply.json()["hosting"] == "cpu"
        lines = [line for line in tier.log.read_text().splitlines() if " hosting=cpu " in line]
    assert len(lines) == 1
    for fact in ("threads=1", "slots=1", "cores=", "quota_cores=", "onnxruntime=", "models=sizes-linear,squares-n"):
        assert fact in lines[0]


def test_sigterm_lets_the_requests_in_flight_and_in_the_queue_finish(models_dir: Path, tmp_path: Path) -> None:
    settings: dict[str, str | Path] = {"INFERENCE_MODELS_DIR": models_dir, "INFERENCE_FAULT_DELAY_S": "1"}
    with started(MODULE, tmp_path / "log", settings) as tier, ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(tier.client.post, DETECT, content=PICTURE) for _ in range(2)]
        deadline = time.monotonic() + 20
        while "inference_waiting 1.0" not in tier.client.get("/metrics").text:
            assert time.monotonic() < deadline
        tier.process.send_signal(signal.SIGTERM)
        assert [answer.result().status_code for answer in answers] == [200, 200]
        assert tier.process.wait(20) == 0
    assert "Traceback" not in tier.log.read_text()


def test_ctrl_c_ends_it_without_a_traceback(models_dir: Path, tmp_path: Path) -> None:
    with started(MODULE, tmp_path / "log", {"INFERENCE_MODELS_DIR": models_dir}) as tier:
        tier.process.send_signal(signal.SIGINT)
        tier.process.wait(20)
    assert "Traceback" not in tier.log.read_text()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"INFERENCE_SLOTS": "many"}, "INFERENCE_SLOTS='many' is not a whole number."),
        ({"INFERENCE_SLOTS": "0"}, "INFERENCE_SLOTS='0' must be "),
        ({"INFERENCE_MODELS": "cats"}, "INFERENCE_MODELS names 'cats'"),
        ({"INFERENCE_MODELS_DIR": "nowhere"}, "INFERENCE_MODELS_DIR='nowhere' holds no model"),
    ],
)
def test_a_start_that_cannot_succeed_is_one_sentence_and_status_2(
    models_dir: Path, settings: dict[str, str], sentence: str
) -> None:
    end = ended(MODULE, {"INFERENCE_MODELS_DIR": models_dir, **settings})
    assert end.returncode == 2
    assert end.stderr.startswith(f"error: {sentence}")
    assert len(end.stderr.splitlines()) == 1


def test_an_altered_model_stops_the_start(models_dir: Path) -> None:
    with (models_dir / "squares-n" / "model.onnx").open("ab") as file:
        file.write(b"x")
    end = ended(MODULE, {"INFERENCE_MODELS_DIR": models_dir})
    assert end.returncode == 2
    assert "the file was altered" in end.stderr
    assert "Traceback" not in end.stderr


def test_a_port_in_use_is_one_sentence_and_status_2(models_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        end = ended(MODULE, {"INFERENCE_MODELS_DIR": models_dir}, port=port)
    assert end.returncode == 2
    assert end.stderr.startswith(f"error: Cannot listen on 127.0.0.1:{port}: ")
    assert len(end.stderr.splitlines()) == 1


def test_importing_it_opens_no_model() -> None:
    code = "import image_api.main"
    environ = {"INFERENCE_MODELS_DIR": "nowhere", "INFERENCE_SLOTS": "many"}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)


def test_uvicorn_can_make_the_application_itself(models_dir: Path) -> None:
    code = "import image_api.main, fastapi; assert isinstance(image_api.main.app(), fastapi.FastAPI)"
    subprocess.run([sys.executable, "-c", code], env={"INFERENCE_MODELS_DIR": str(models_dir)}, check=True)
