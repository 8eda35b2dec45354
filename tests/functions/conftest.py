"""The function tier as a process of its own, over real HTTP."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func
import httpx
import pytest

from tests.conftest import PROJECT

LOCAL_HOST = PROJECT / "functions" / "local_host.py"
GOLDEN = PROJECT / "shared" / "models" / "breast-cancer-boosted" / "golden.json"
PREDICT = "/v1/models/breast-cancer-boosted/predict"
START_S = 30


@dataclass(frozen=True)
class Host:
    """A running local host."""

    client: httpx.Client
    process: "subprocess.Popen[bytes]"
    log: Path


@contextmanager
def hosting(log: Path, **settings: str) -> Iterator[Host]:
    """A local host on a free port with `settings` in its environment."""
    command = [sys.executable, str(LOCAL_HOST), "--port", "0"]
    with log.open("wb") as output, subprocess.Popen(command, env=os.environ | settings, stderr=output) as process:
        try:
            with httpx.Client(base_url=_address(process, log), timeout=30) as client:
                yield Host(client, process, log)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(10)


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if "serving" in (text := log.read_text()):
            return text.split()[-1]
        time.sleep(0.05)
    raise AssertionError(f"the local host did not start:\n{log.read_text()}")


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    with hosting(tmp_path_factory.mktemp("function") / "log") as running:
        yield running


@pytest.fixture
def client(host: Host) -> httpx.Client:
    return host.client


@pytest.fixture(scope="session")
def golden() -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(GOLDEN.read_text())
    return fields


@pytest.fixture
def row(golden: dict[str, Any]) -> dict[str, Any]:
    return dict(golden["rows"][0])


@pytest.fixture(scope="session")
def functions() -> list[func.Function]:
    """The app's functions, of a copy of its own: an app can be asked for them only once."""
    spec = importlib.util.spec_from_file_location("function_app_copy", PROJECT / "functions" / "function_app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    listed: list[func.Function] = module.app.get_functions()
    return listed
