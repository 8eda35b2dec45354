"""Workers as processes of their own, and the command for the poison list."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from inference_jobs.claims import Claims
from inference_jobs.jobs import Jobs

from tests.shared.inference_jobs.services import MODEL, finished, jobs_in, submitted, until
from tests.shared.inference_jobs.stores import sqlite_store


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    with sqlite_store(tmp_path / "store") as store:
        yield jobs_in(store)


@pytest.fixture
def environ(models_dir: Path, tmp_path: Path) -> dict[str, str]:
    return os.environ | {
        "INFERENCE_MODELS_DIR": str(models_dir),
        "INFERENCE_JOBS_DIR": str(tmp_path / "store"),
        "INFERENCE_THREADS": "1",
    }


@contextmanager
def worker(environ: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A worker of the container tier, killed at the end of the block unless it has ended by itself."""
    with (
        log.open("w") as output,
        subprocess.Popen([sys.executable, "-m", "image_api.worker"], env=environ, stderr=output) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_alone_computes_what_is_in_the_store(jobs: Jobs, environ: dict[str, str], tmp_path: Path) -> None:
    name = submitted(jobs)
    with worker(environ, tmp_path / "log") as process:
        assert finished(jobs, name) == "succeeded"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_sigterm_lets_the_job_at_work_finish(jobs: Jobs, environ: dict[str, str], tmp_path: Path) -> None:
    names = [submitted(jobs), submitted(jobs)]
    with worker(environ | {"INFERENCE_FAULT_DELAY_S": "2"}, tmp_path / "log") as process:
        until(lambda: jobs.find(names[0]).status, lambda status: status == "running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert [jobs.find(name).status for name in names] == ["succeeded", "queued"]


def test_a_worker_can_end_by_itself_when_the_queue_is_empty(jobs: Jobs, environ: dict[str, str]) -> None:
    names = [submitted(jobs) for _ in range(3)]
    command = [sys.executable, "-m", "image_api.worker", "--drain"]
    subprocess.run(command, env=environ, check=True, timeout=60)
    assert {jobs.find(name).status for name in names} == {"succeeded"}


def test_a_worker_without_a_store_is_one_sentence_and_status_2(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "image_api.worker"]
    ended = subprocess.run(
        command, env=environ | {"INFERENCE_JOBS_DIR": ""}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: INFERENCE_JOBS_DIR=''")


def test_the_poison_list_is_shown_with_reasons_and_requeued_by_a_command(jobs: Jobs, environ: dict[str, str]) -> None:
    name = submitted(jobs)
    claims = Claims(jobs, {MODEL})
    while jobs.find(name).status != "failed":
        if claim := claims.take():
            claims.fail(claim, {"detail": "the card fell out"}, may_retry=True)
        time.sleep(0.01)

    def inference_jobs(*arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "inference_jobs", *arguments]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)

    shown = inference_jobs("poison").stdout
    assert name in shown
    assert "attempts=3  the card fell out" in shown
    assert inference_jobs("requeue", "all").stdout == "1 requeued\n"
    assert (jobs.find(name).status, jobs.find(name).attempts) == ("queued", 0)
    assert inference_jobs("poison").stdout == "0 on the poison list, 1 in the queue\n"
    assert inference_jobs("requeue", name).returncode == 1
