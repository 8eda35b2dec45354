"""compose.yaml: what each container may do, and that nothing but loopback reaches it."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

COMPOSE: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"].startswith("inference-")]
LOCKS = {
    "container/Dockerfile": ("container.txt", "container-azure.txt"),
    "vm-gpu/Dockerfile": ("gpu.txt", "container.txt"),
}
DOCKERFILES = sorted({SERVICES[name]["build"]["dockerfile"] for name in OURS if "build" in SERVICES[name]})


def has_compose() -> bool:
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0


def test_every_tier_is_there_and_the_gpu_tier_has_a_stand_in() -> None:
    assert {"function", "container", "gpu", "gpu-stand-in"} <= set(OURS)
    assert [name for name in SERVICES if "profiles" not in SERVICES[name]] == ["function", "container"]


@pytest.mark.parametrize("name", OURS)
def test_a_tier_has_no_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]  # noqa: S108 (a mount inside the container)
    assert not {"privileged", "network_mode", "pid", "user"} & set(service)
    assert service.get("volumes", []) in ([], ["jobs:/var/lib/inference"])


@pytest.mark.parametrize("name", SERVICES)
def test_only_loopback_reaches_it(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


def test_a_worker_computes_the_jobs_that_the_container_takes() -> None:
    container, worker = SERVICES["container"], SERVICES["worker"]
    assert worker["image"] == container["image"]
    assert worker["volumes"] == container["volumes"]
    folder = worker["environment"]["INFERENCE_JOBS_DIR"]
    assert container["environment"]["INFERENCE_JOBS_DIR"] == folder == worker["volumes"][0].split(":")[1]
    assert "ports" not in worker


def test_the_function_has_one_core_and_the_stand_in_the_power_of_the_container() -> None:
    assert SERVICES["function"]["cpus"] == 1
    assert SERVICES["gpu-stand-in"]["cpus"] == SERVICES["container"]["cpus"] == "${INFERENCE_CONTAINER_CPUS:-2}"


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in OURS])
def test_an_image_of_others_is_pinned(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert tag.strip("v").replace(".", "").isdigit()


@pytest.mark.skipif(not has_compose(), reason="Docker Compose is not here")
def test_compose_reads_it_and_every_port_is_its_own() -> None:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("INFERENCE_", "COMPOSE_"))}
    profiles = [option for profile in ("cpu", "jobs", "azurite", "monitoring") for option in ("--profile", profile)]
    command = ["docker", "compose", *profiles, "config", "--format", "json"]
    read = subprocess.run(command, cwd=PROJECT, env=environ, capture_output=True, text=True, check=True)
    services = json.loads(read.stdout)["services"]
    assert set(services) == set(SERVICES) - {"gpu"}
    published = [port["published"] for service in services.values() for port in service.get("ports", [])]
    assert len(published) == len(set(published))
    assert not set(published) & {"8000", "8001", "8002"}, "the trial's own, which may run beside it"


@pytest.mark.parametrize("path", DOCKERFILES)
def test_an_image_is_locked_small_and_without_root(path: str) -> None:
    text = (PROJECT / path).read_text(encoding="utf-8")
    stages = [line for line in text.splitlines() if line.startswith("FROM ")]
    assert [stage.split()[1] for stage in stages] == ["python:3.13-slim-trixie"] * 2
    assert "--require-hashes" in text
    assert "--invalidation-mode unchecked-hash" in text
    assert "USER 10001:10001" in text
    assert "HEALTHCHECK" in text
    assert "--mount=type=secret,id=pip,target=/etc/pip.conf" in text, "an index of one's own stays out of the image"
    command = text.splitlines()[-1]
    assert command.startswith("CMD ["), "without a shell before it, which would keep SIGTERM to itself"


def test_what_the_images_hold_is_let_into_the_build() -> None:
    lines = (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert "*" in lines
    for path in DOCKERFILES:
        lines = (PROJECT / path).read_text(encoding="utf-8").splitlines()
        copied = [line for line in lines if line.startswith("COPY ") and "--from=" not in line]
        for lock in LOCKS.get(path, ("",)):
            for source in " ".join(line.removeprefix("COPY ").rpartition(" ")[0] for line in copied).split():
                name = source.replace("${LOCK}", lock)
                assert name in allowed, f"{path}: {name}"
                assert list(PROJECT.glob(name)), f"{path}: there is no {name}"


def test_the_trial_in_containers_removes_them_whatever_happens() -> None:
    script = (PROJECT / "loadtest" / "compose_trial.sh").read_text(encoding="utf-8")
    assert script.index("trap finish EXIT") < script.index("docker compose build")
    assert os.access(Path(PROJECT, "loadtest", "compose_trial.sh"), os.X_OK)
