"""Start a tier as a user would, on a free loopback port, and stop it again."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

START_S = 60
TIERS = ("function", "container", "gpu")
ELSEWHERE = "INFERENCE_TEST_TIERS"
"""The environment variable that names tiers which run already, `function=http://127.0.0.1:8100,container=…`."""


@contextmanager
def running(tier: str, log: Path, **settings: str) -> Iterator[httpx.Client]:
    """A client of `tier`, ready. The GPU tier runs as the CPU stand-in. `log` receives what the tier prints.

    Where the tier runs elsewhere already, it is that one; but a test that brings `settings` always starts its own.
    """
    if not settings and (url := elsewhere().get(tier)):
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
        return
    port = free_port()
    environ = os.environ | {"INFERENCE_ALLOW_CPU": "1"} | settings
    command = [sys.executable, "-m", "tiers", "serve", tier, "--port", str(port)]
    with log.open("w") as output, subprocess.Popen(command, env=environ, stdout=output, stderr=output) as process:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                _wait_until_ready(client, process, log)
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def elsewhere() -> dict[str, str]:
    """URLs of the tiers that run already, by tier."""
    return dict(pair.split("=", 1) for pair in os.environ.get(ELSEWHERE, "").split(",") if pair)


def free_port() -> int:
    """A loopback port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            if client.get("/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the tier did not become ready:\n{log.read_text()}")
