"""The GPU machine's first start: the scripts in cloud-init.yaml run here, against stand-ins."""

import base64
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import PROJECT

CLOUD_INIT = PROJECT / "vm-gpu" / "cloud-init.yaml"
UNIT = PROJECT / "vm-gpu" / "gpu-api.service"
MODULE = PROJECT / "infra" / "modules" / "gpu-vm.bicep"


def files() -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in yaml.safe_load(CLOUD_INIT.read_text())["write_files"]}


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def run(script: str, folder: Path, *, path: str = "/usr/bin:/bin") -> "subprocess.CompletedProcess[str]":
    text = files()[f"/usr/local/sbin/{script}"]["content"]
    for place, name in (("/etc/gpu-api/env", "env"), ("/proc/uptime", "uptime")):
        text = text.replace(place, str(folder / name))
    environ = {"PATH": f"{folder}{os.pathsep}{path}"}
    command = ["/bin/sh", "-c", text]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("driver", "status"),
    [("echo 580.95.05", 0), ("echo 590.1", 0), ("printf '580.1\\n580.1\\n'", 0), ("echo 570.211.01", 1), ("exit 9", 9)],
)
def test_the_driver_must_be_new_enough_for_the_image(tmp_path: Path, driver: str, status: int) -> None:
    program(tmp_path, "nvidia-smi", driver)
    (tmp_path / "uptime").write_text("100000.5 1.0\n")
    done = run("gpu-api-check-driver", tmp_path)
    assert done.returncode == status
    assert ("is older than 580" in done.stderr) == (status == 1)


@pytest.mark.parametrize(
    ("xid", "up_s", "restarts"),
    [("NVRM: Xid (PCI:0001:00:00): 79", 901, True), ("NVRM: Xid (PCI:0001:00:00): 79", 899, False), ("", 901, False)],
)
def test_a_gpu_that_was_lost_is_told_from_one_that_never_was(
    tmp_path: Path, xid: str, up_s: int, *, restarts: bool
) -> None:
    program(tmp_path, "nvidia-smi", "exit 15")
    program(tmp_path, "journalctl", f"echo '{xid}'" if xid else "exit 1")
    program(tmp_path, "systemctl", f'echo "$*" >> {tmp_path}/calls')
    (tmp_path / "uptime").write_text(f"{up_s}.51 3.2\n")
    done = run("gpu-api-check-driver", tmp_path)
    assert done.returncode == 15
    assert ("The kernel says of the GPU: NVRM: Xid" in done.stderr) == bool(xid)
    calls = tmp_path / "calls"
    assert (calls.read_text() if calls.exists() else "") == ("--no-block reboot\n" if restarts else "")


def test_what_the_driver_reported_before_stands_in_the_log_of_the_next_start(tmp_path: Path) -> None:
    program(tmp_path, "nvidia-smi", "echo 580.95.05")
    program(tmp_path, "journalctl", "echo 'NVRM: Xid (PCI:0001:00:00): 31'")
    done = run("gpu-api-check-driver", tmp_path)
    assert done.returncode == 0
    assert "NVRM: Xid (PCI:0001:00:00): 31" in done.stderr


def test_a_machine_without_a_driver_does_not_start(tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("100000.5 1.0\n")
    assert run("gpu-api-check-driver", tmp_path).returncode != 0


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "env").write_text(
        "GPU_API_IMAGE=crx.azurecr.io/gpu-api:latest\nGPU_API_REGISTRY=crx.azurecr.io\nGPU_API_CLIENT_ID=abc\n"
    )
    program(
        tmp_path, "docker", f'echo "docker $*" >> {tmp_path}/calls; case "$1" in login) cat >> {tmp_path}/stdin;; esac'
    )
    program(
        tmp_path,
        "curl",
        f'echo "curl $*" >> {tmp_path}/calls\n'
        'case "$*" in *169.254*) echo \'{"access_token": "t0ken"}\';; '
        f'*exchange*) cat >> {tmp_path}/posted; echo \'{{"refresh_token": "r3fresh"}}\';; esac',
    )
    return tmp_path


def test_the_image_is_pulled_as_the_machines_identity_and_no_token_is_an_argument(machine: Path) -> None:
    done = run("gpu-api-pull", machine)
    assert done.returncode == 0, done.stderr
    calls = (machine / "calls").read_text()
    assert "client_id=abc" in calls
    assert "https://crx.azurecr.io/oauth2/exchange" in calls
    assert calls.endswith("docker pull crx.azurecr.io/gpu-api:latest\n")
    assert (machine / "posted").read_text() == "grant_type=access_token&service=crx.azurecr.io&access_token=t0ken"
    assert (machine / "stdin").read_text() == "r3fresh"
    assert "t0ken" not in calls
    assert "r3fresh" not in calls


@pytest.mark.parametrize(("there", "status"), [("exit 0", 0), ("exit 1", 1)])
def test_without_the_registry_the_image_that_is_there_is_started(machine: Path, there: str, status: int) -> None:
    program(machine, "curl", "exit 22")
    program(machine, "docker", f'case "$1 $2" in "image inspect") {there};; esac')
    assert run("gpu-api-pull", machine).returncode == status


def test_a_pull_that_fails_is_not_taken_for_done(machine: Path) -> None:
    program(machine, "docker", 'case "$1" in pull|image) exit 1;; login) cat > /dev/null;; esac')
    assert run("gpu-api-pull", machine).returncode == 1


def test_what_bicep_fills_in_is_what_is_left_open() -> None:
    text = CLOUD_INIT.read_text()
    places = set(re.findall(r"@@\w+@@", text))
    assert places == set(re.findall(r"@@\w+@@", MODULE.read_text()))
    filled = re.sub(r"@@\w+@@", base64.b64encode(UNIT.read_bytes()).decode(), text)
    unit = next(e for e in yaml.safe_load(filled)["write_files"] if e["path"].endswith("gpu-api.service"))
    assert base64.b64decode(unit["content"]) == UNIT.read_bytes()
    assert len(filled) < 64 * 1024, "Azure takes no more"


def test_the_unit_reads_what_the_environment_file_gives() -> None:
    given = set(re.findall(r"'(GPU_API_\w+)=", MODULE.read_text()))
    read = set(re.findall(r"\$\{?(GPU_API_\w+)", UNIT.read_text() + CLOUD_INIT.read_text()))
    assert read == given


def test_the_machine_waits_for_requests_in_flight() -> None:
    """As long as the server lets them go on, docker and systemd must let the server."""
    grace = re.search(r"_GRACE_S = (\d+)", (PROJECT / "shared" / "inference_http" / "server.py").read_text())
    stop, unit = re.search(r"stop --time (\d+)", UNIT.read_text()), re.search(r"TimeoutStopSec=(\d+)", UNIT.read_text())
    assert grace
    assert stop
    assert unit
    assert int(grace[1]) < int(stop[1]) < int(unit[1])
    app = (PROJECT / "infra" / "modules" / "container-app.bicep").read_text()
    period = re.search(r"terminationGracePeriodSeconds: (\d+)", app)
    assert period
    assert int(grace[1]) < int(period[1]) <= 600
