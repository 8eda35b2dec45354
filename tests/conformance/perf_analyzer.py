"""Triton's load generator, perf_analyzer, against a tier.

The binary is not in the package index under its own name (that package is an empty placeholder): the wheels of
tritonclient up to 2.60 carry it, 2.46's for Debian 12. It is linked with two libraries that are fetched beside it.
`python -m tests.conformance.perf_analyzer` fetches all three into build/.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PROJECT

FOLDER = PROJECT / "build" / "perf_analyzer"
_WHEELS = ("tritonclient==2.46.0", "nvidia-cuda-runtime-cu12==12.*")
_LIBRARY = "libb64-0d"
_LINE = re.compile(r"^Concurrency: (\d+), throughput: ([\d.]+) infer/sec", re.MULTILINE)
_SERVER = re.compile(
    r"Server: *\n *Inference count: (\d+).*?queue (\d+) usec \+ compute input (\d+) usec "
    r"\+ compute infer (\d+) usec \+ compute output (\d+) usec",
    re.DOTALL,
)


@dataclass(frozen=True)
class Load:
    """What it saw at one concurrency, and what the server's statistics told it."""

    concurrency: int
    throughput_per_s: float
    server_count: int
    compute_infer_us: int


def find() -> str | None:
    """A binary that runs here, None where there is none."""
    for binary in (shutil.which("perf_analyzer"), str(FOLDER / "perf_analyzer")):
        if binary and Path(binary).exists() and _run([binary, "--version"]).returncode == 0:
            return binary
    return None


def measure(binary: str, url: str, model: str, shape: str) -> list[Load]:
    """Load `model` with one and with two requests at a time. Raises AssertionError with its output when it fails."""
    options = ["--concurrency-range", "1:2", "--measurement-interval", "700", "--max-trials", "3"]
    # Its own verdict on whether figures are stable would depend on what else this machine does.
    options += ["--stability-percentage", "999", "--shape", shape]
    done = _run([binary, "-m", model, "-u", url.removeprefix("http://"), "-i", "http", *options])
    assert done.returncode == 0, done.stdout + done.stderr
    lines, servers = _LINE.findall(done.stdout), _SERVER.findall(done.stdout)
    return [
        Load(int(concurrency), float(rate), int(server[0]), int(server[3]))
        for (concurrency, rate), server in zip(lines, servers, strict=True)
    ]


def _run(command: list[str]) -> "subprocess.CompletedProcess[str]":
    environ = os.environ | {"LD_LIBRARY_PATH": f"{FOLDER}:{os.environ.get('LD_LIBRARY_PATH', '')}"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def fetch() -> None:
    """Put the binary and its libraries into build/. Raises what pip, apt-get or dpkg end with."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(FOLDER)]
    for platform, package in zip(("manylinux1_x86_64", "manylinux2014_x86_64"), _WHEELS, strict=True):
        command = [sys.executable, "-m", "pip", "download", *options, "--platform", platform, package]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    for wheel in FOLDER.glob("*.whl"):
        _unpack(wheel)
    if not list(FOLDER.glob("libb64.so*")):
        subprocess.run(["apt-get", "download", "-qq", _LIBRARY], cwd=FOLDER, check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["dpkg", "-x", *map(str, FOLDER.glob("*.deb")), str(FOLDER / "debian")], check=True)
        for library in (FOLDER / "debian").rglob("libb64.so*"):
            shutil.copy(library, FOLDER)


def _unpack(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if Path(name).name in ("perf_analyzer", "libcudart.so.12"):
                target = FOLDER / Path(name).name
                target.write_bytes(archive.read(name))
                target.chmod(0o755)


if __name__ == "__main__":
    fetch()
