"""The tiers in the containers of `make compose-trial`: power by the quota, nothing written, ended by SIGTERM."""

import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.conftest import PROJECT
from tests.tiers import ELSEWHERE, TIERS, elsewhere

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not elsewhere(), reason=f"{ELSEWHERE} names no containers; `make compose-trial` does"),
]
READY_S = 60


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def container_of(tier: str) -> str:
    port = elsewhere()[tier].rpartition(":")[2]
    (name,) = docker("ps", "--quiet", "--filter", f"publish={port}").split()
    return name


def quota_of(container: str) -> float:
    return int(docker("inspect", "--format", "{{.HostConfig.NanoCpus}}", container)) / 1e9


@contextmanager
def started(image: str, cpus: str) -> Iterator[tuple[str, httpx.Client]]:
    """A container of `image` under a quota, ready."""
    name = docker(
        "run", "--detach", "--read-only", "--cap-drop=ALL", f"--cpus={cpus}", "--publish=127.0.0.1::8000", image
    )
    try:
        address = docker("port", name, "8000").split()[0]
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            _wait_until_ready(client, name)
            yield name, client
    finally:
        docker("rm", "--force", name)


def _wait_until_ready(client: httpx.Client, name: str) -> None:
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(docker("logs", name))


@pytest.mark.parametrize("tier", ["container", "gpu"])
def test_a_tier_computes_with_the_cores_of_its_quota(tier: str) -> None:
    facts = httpx.get(f"{elsewhere()[tier]}/v2").json()
    if facts["hosting"] == "cuda":
        pytest.skip("the GPU computes; its cores are the machine's")
    quota = quota_of(container_of(tier))
    assert facts["quota_cores"] == quota
    assert facts["cores"] == min(math.ceil(quota), os.cpu_count() or 1)
    assert facts["threads"] == facts["cores"] // facts["slots"]


def test_the_function_has_one_core_and_one_thread() -> None:
    assert quota_of(container_of("function")) == 1
    facts = httpx.get(f"{elsewhere()['function']}/v2").json()
    assert (facts["threads"], facts["slots"]) == (1, 1)


@pytest.mark.parametrize(("cpus", "cores"), [("0.5", 1), ("1", 1), ("1.5", 2)])
def test_threads_follow_the_quota_and_not_the_machine(cpus: str, cores: int) -> None:
    with started("inference-container", cpus) as (_, client):
        facts = client.get("/v2").json()
    assert facts["quota_cores"] == float(cpus)
    assert facts["cores"] == facts["threads"] == min(cores, os.cpu_count() or 1)


@pytest.mark.parametrize("tier", TIERS)
def test_a_tier_has_written_nothing_and_is_not_root(tier: str) -> None:
    container = container_of(tier)
    assert docker("diff", container) == ""
    assert docker("exec", container, "id", "-u") == "10001"
    state = json.loads(docker("inspect", "--format", "{{json .State}}", container))
    assert state["Health"]["Status"] == "healthy"


def test_a_worker_in_a_container_of_its_own_computes_what_the_container_accepts() -> None:
    picture = (PROJECT / "shared" / "models" / "board-defects-n" / "golden.jpg").read_bytes()
    with httpx.Client(base_url=elsewhere()["container"], timeout=60) as client:
        asked = client.post("/v1/models/board-defects-n/predict", content=picture).json()
        accepted = client.post("/v1/jobs?model=board-defects-n", content=picture)
        assert accepted.status_code == 202
        deadline = time.monotonic() + READY_S
        while (job := client.get(accepted.headers["location"]).json())["status"] in ("queued", "running"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        assert job["status"] == "succeeded"
        assert client.get(job["links"]["result"]).json()["detections"] == asked["detections"]


@pytest.mark.parametrize("image", ["inference-container", "inference-function"])
def test_sigterm_ends_it_at_once_and_in_order(image: str) -> None:
    with started(image, "1") as (name, _):
        began = time.monotonic()
        docker("stop", "--time", "30", name)
        assert time.monotonic() - began < 20, "killed at the end of its grace"
        assert docker("inspect", "--format", "{{.State.ExitCode}}", name) == "0"


@pytest.mark.parametrize("tier", TIERS)
def test_every_module_was_compiled_with_the_image(tier: str) -> None:
    check = (
        "import pathlib, sys; roots = map(pathlib.Path, ('/opt/inference', '/opt/packages')); "
        "print([str(p) for r in roots for p in r.rglob('*.py') "
        "if not (p.parent / '__pycache__' / f'{p.stem}.{sys.implementation.cache_tag}.pyc').exists()])"
    )
    assert docker("exec", container_of(tier), "python", "-c", check) == "[]"
