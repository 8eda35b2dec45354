"""The machine that this process runs on, as a record states it."""

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from inference_core.cpu import quota_cores
from tier_planner.records import Machine

PACKAGES = ("onnxruntime", "onnxruntime-gpu", "numpy", "pillow", "fastapi", "uvicorn", "azure-functions", "locust")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")


def this_machine() -> Machine:
    """CPU, cores, quota, memory and package versions here."""
    return Machine(
        cpu=_field(CPUINFO, "model name") or platform.processor() or platform.machine(),
        cores_visible=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        quota_cores=quota_cores(),
        memory_mib=int(_field(MEMINFO, "MemTotal").removesuffix("kB") or 0) // 1024 or None,
        system=f"{platform.system()} {platform.release()}",
        versions={"python": platform.python_version(), **_package_versions()},
        gpu=_gpu(),
    )


def _gpu() -> str | None:
    """Name and driver of the first GPU, as the driver's own tool says them."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603 - ours
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = [] if done.returncode else done.stdout.splitlines()
    return ", driver ".join(lines[0].split(", ")) if lines else None


def git_commit(folder: Path) -> str:
    """The commit of `folder`, with `+` where tracked files differ from it; empty outside a repository."""
    commit = _git(folder, "rev-parse", "--short=12", "HEAD")
    changed = commit and _git(folder, "status", "--porcelain", "--untracked-files=no")
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607 - git is looked up on the path, its arguments are ours
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def _package_versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _field(path: Path, name: str) -> str:
    """The value of the first `name : value` line of a /proc file; empty where there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
