"""Measures the two goals of the function tier: its cold start and what a warm call costs above bare ONNX Runtime.

`python functions/measure.py` prints medians. Runs alternate, so that what else the machine does falls on both alike.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import azure.functions as func
import function_app
import numpy as np

MODEL = "breast-cancer-boosted"
ROUNDS = 25
CALLS = 400
URL = f"http://localhost/v1/models/{MODEL}/predict"
_FLOOR = "import os; os.environ['ORT_DISABLE_TELEMETRY'] = '1'; import onnxruntime, azure.functions"
# Nothing of this file, whose own imports would count.
_FIRST_ANSWER = f"""
import sys
sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})
import azure.functions as func, function_app
request = func.HttpRequest("POST", {URL!r}, route_params={{"name": {MODEL!r}}}, body=sys.argv[1].encode())
sys.exit(function_app.predict(request).status_code != 200)
"""


def one_row() -> dict[str, Any]:
    """The first golden row of the model."""
    folder = function_app.MODELS.find(MODEL).manifest.folder
    row: dict[str, Any] = json.loads((folder / "golden.json").read_text())["rows"][0]
    return row


def cold_start() -> tuple[float, float, float]:
    """A fresh process that only imports onnxruntime and azure.functions, one that answers a request, both in ms, and
    their ratio: medians, the ratio's over neighbouring pairs.
    """
    pairs = [(_median_ms(lambda: _run(_FLOOR), 1), _median_ms(lambda: _run(_FIRST_ANSWER), 1)) for _ in range(ROUNDS)]
    floor_ms, answer_ms = (statistics.median(values) for values in zip(*pairs, strict=True))
    return floor_ms, answer_ms, statistics.median(answered / bare for bare, answered in pairs)


def warm_us() -> dict[str, float]:
    """Medians of one row: bare `session.run`, and the handler from JSON to JSON."""
    pipeline: Any = function_app.MODELS.find(MODEL)
    session = pipeline.session._session
    values = np.array([[one_row()[column] for column in pipeline.manifest.input.columns]], np.float32)
    req = func.HttpRequest("POST", URL, route_params={"name": MODEL}, body=json.dumps({"rows": [one_row()]}).encode())
    calls = {"session.run": lambda: session.run(None, {"input": values}), "handler": lambda: function_app.predict(req)}
    times_us: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times_us[name].append(_median_ms(call, CALLS) * 1e3)
    return {name: statistics.median(values) for name, values in times_us.items()}


def _median_ms(call: Callable[[], object], times: int) -> float:
    spent_ms = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        spent_ms.append((time.perf_counter() - started) * 1e3)
    return statistics.median(spent_ms)


def _run(code: str) -> None:
    body = json.dumps({"rows": [one_row()]})
    subprocess.run([sys.executable, "-c", code, body], check=True)  # noqa: S603 (code of this file)


def main() -> None:
    """Print both."""
    warm = warm_us()
    above_us = warm["handler"] - warm["session.run"]
    sys.stdout.write(f"warm, us: {warm['session.run']:.1f} bare, {warm['handler']:.1f} handler, {above_us:.1f} above\n")
    floor_ms, answer_ms, ratio = cold_start()
    sys.stdout.write(f"cold, ms: {floor_ms:.0f} floor, {answer_ms:.0f} first answer, {ratio:.2f} times\n")


if __name__ == "__main__":
    main()
