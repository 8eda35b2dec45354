"""Start the entry module of the container or the GPU tier as its image does, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.tiers import free_port

START_S = 60
Settings = Mapping[str, str | Path]


@dataclass(frozen=True)
class Tier:
    """A running tier: its process, a client of it, the file that holds its log."""

    process: "subprocess.Popen[bytes]"
    client: httpx.Client
    log: Path


@contextmanager
def started(module: str, log: Path, settings: Settings, *options: str) -> Iterator[Tier]:
    """`python -m module` with `options`, ready; ended by force when the block is left."""
    port = free_port()
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*_command(module, port), *options], env=_environ(settings), stdout=output, stderr=output
        ) as process,
    ):
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                wait_until_ready(client, process, log)
                yield Tier(process, client, log)
        finally:
            process.kill()


def ended(module: str, settings: Settings, *, port: int | None = None) -> "subprocess.CompletedProcess[str]":
    """`python -m module` in a case where it must end by itself."""
    command = _command(module, port or free_port())
    return subprocess.run(command, env=_environ(settings), capture_output=True, text=True, timeout=START_S, check=False)


def _command(module: str, port: int) -> list[str]:
    return [sys.executable, "-m", module, "--port", str(port)]


def _environ(settings: Settings) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("INFERENCE_")}
    return inherited | {key: str(value) for key, value in settings.items()}


def wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the process answers that it is ready; an assertion error with its log when it does not in time."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError(f"{process.args!r} did not become ready:\n{log.read_text()}")
