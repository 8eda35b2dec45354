"""A small target file, rows to send, and Locust as its own process: it patches the process that imports it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOAD_FILE = ROOT / "loadtest" / "function_load.py"
OBJECTIVE = """
[rules]
lag_share_max = 0.1
lag_floor_ms = {lag_floor_ms}
achieved_share_min = 0.95
"""
FUNCTION = """
[objective.function-row]
tier = "function"
hosting = "a practice function"
workload = "tabular-row"
model = "practice"
rate_per_s = {rate_per_s}
percentile = 95
bound_ms = {bound_ms}
error_share_max = 0.01
patience_s = {patience_s}
warmup_s = 0.3
duration_s = {duration_s}
samples_min = {samples_min}
seed = 20
short = {{ warmup_s = 0.2, duration_s = {duration_s}, samples_min = 1 }}
"""
DEFAULTS = {
    "rate_per_s": 30,
    "bound_ms": 400,
    "patience_s": 2,
    "duration_s": 2,
    "samples_min": 20,
    # These tests share two cores with whatever else runs: only a stall that is made on purpose may count.
    "lag_floor_ms": 150,
}
WriteSlo = Callable[..., Path]
StartLocust = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def write_slo(tmp_path: Path) -> WriteSlo:
    """Write a target file with one objective for each of the three tiers; keywords change its values."""

    def write(**changes: float) -> Path:
        values = DEFAULTS | changes
        function = FUNCTION.format(**values)
        tiers = [function, function.replace("function", "container"), function.replace("function", "gpu")]
        path = tmp_path / "slo.toml"
        path.write_text(OBJECTIVE.format(**values) + "".join(tiers), encoding="utf-8")
        return path

    return write


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder whose one model has two golden rows."""
    golden = tmp_path / "models" / "practice" / "golden.json"
    golden.parent.mkdir(parents=True)
    golden.write_text(json.dumps({"rows": [{"size": 1.0}, {"size": 2.0}]}), encoding="utf-8")
    return golden.parents[1]


@pytest.fixture
def start_locust(models: Path) -> StartLocust:
    """Start `locust -f loadtest/function_load.py --headless ...` as a user would."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "locust", "-f", LOAD_FILE, "--headless", "--only-summary", "--models", models]
        return subprocess.Popen(
            [str(part) for part in [*command, *arguments]],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start
